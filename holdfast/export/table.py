"""Orders and their lines as rows of one flat table (pure)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

ORDER: Final = (
    *("order_id", "user_id", "status", "refusal", "version", "currency", "amount", "charged", "refunded", "line_count"),
    *("placed_at", "decided_at", "changed_at", "imported"),
)
"""Columns of an order as it stands; money in minor units; `imported`: decided by another system."""
LINE: Final = ("line", "product_id", "quantity", "unit_price", "line_status", "line_refusal", "returned")
"""Columns of its lines."""
TABLES: Final = {"orders": ORDER, "lines": (*ORDER, *LINE)}
"""orders: a row for each order. lines: a row for each line, the order's columns in each; an order that names no line has one row."""
TIMES: Final = frozenset({"placed_at", "decided_at", "changed_at"})
TEXTS: Final = frozenset({"user_id", "status", "refusal", "currency", "product_id", "line_status", "line_refusal"})


def is_within(outcome: Mapping[str, Any], start: int, end: int) -> bool:
    """Say whether an order was decided in a window: from `start` to before `end`, ms."""
    return bool(start <= outcome["decided_at"] < end)


def rows_of(outcome: Mapping[str, Any], table: str) -> Iterator[tuple[Any, ...]]:
    """Yield an OrderOutcome's rows, values in the order of the table's columns; times in ms."""
    order = (*(outcome[name] for name in ORDER[:-1]), outcome["change"] == "IMPORTED")
    if table == "orders":
        yield order
        return
    for line in outcome["lines"] or [dict.fromkeys(("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned"))]:
        yield (*order, *(line[name] for name in ("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned")))
