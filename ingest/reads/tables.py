"""The sinks' tables, wherever they are: products and orders in the one database, order lines there or spread over shards."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from ingest.errors import ConfigError, StoreError
from ingest.reads.database import TIMEOUT_S, Database, Query, Rows
from ingest.reads.fields import LINE_FIELDS, Fields, datetime_of, fields_of_row, ms_of
from schemas import views
from schemas.shards import shard_of, shard_urls

WHOLE: Final = frozenset({"CONFIRMED", "PAYMENT_FAILED", "SHIPPED", "RETURNED"})
"""An order of another status may have been decided before all its lines were known."""
PAUSES_S: Final = (0.01, 0.03, 0.1)
"""An order's row follows its lines within one batch of the sink; after these it is not a matter of moments."""
_LINE_COLUMNS: Final = ("order_id", "version", *LINE_FIELDS)
_PAGE: Final = f"SELECT placed_at, order_id FROM {views.ORDERS} WHERE user_id = %s"  # noqa: S608 (names of schemas/views.py)
_BEFORE: Final = " AND placed_at <= %s AND (placed_at < %s OR order_id < %s)"
_NEWEST: Final = " ORDER BY placed_at DESC, order_id DESC LIMIT %s"


def _in(table: str, columns: Sequence[str], key: str, wanted: Sequence[Any]) -> Query:
    return f"SELECT {', '.join(columns)} FROM {table} WHERE {key} IN ({', '.join(['%s'] * len(wanted))})", wanted  # noqa: S608


class Tables:
    """Answers by many IDs at once; for any number of threads. `shards` as in HOLDFAST_MYSQL_SHARDS; raises ConfigError for what is none."""

    def __init__(self, mysql_url: str, shards: str = "", timeout_s: float = TIMEOUT_S, threads: int = 1) -> None:
        try:
            urls = shard_urls(shards)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        self.main = Database(mysql_url, timeout_s)
        self.shards = [Database(url, timeout_s) for url in urls]
        self._fan = ThreadPoolExecutor(threads * len(urls), thread_name_prefix="shards") if urls else None

    def products(self, product_ids: Sequence[str]) -> dict[str, Fields]:
        """Return views.PRODUCT_COLUMNS of those that are known, by ID; raises StoreError."""
        (rows,) = self.main.select(_in(views.PRODUCTS, views.PRODUCT_COLUMNS, "product_id", product_ids))
        found = [fields_of_row(views.PRODUCT_COLUMNS, row) for row in rows]
        return {fields["product_id"]: fields for fields in found}

    def orders(self, order_ids: Sequence[int]) -> dict[int, Fields]:
        """Return views.ORDER_COLUMNS and `lines` of those that are known, by ID; raises StoreError, also where a shard does not answer."""
        orders = _in(views.ORDERS, views.ORDER_COLUMNS, "order_id", order_ids)
        lines = _in(views.ORDER_LINES, _LINE_COLUMNS, "order_id", order_ids)
        if self._fan is None:
            return joined(*self.main.select(orders, lines))
        for pause_s in PAUSES_S:
            # The sink writes the lines first: an order seen before them has lines that are as new as it is, or newer.
            rows = self.main.select(orders)[0]
            parts = self._lines(lines) if rows else []
            found = joined(rows, parts)
            if are_whole(found, parts):
                return found
            time.sleep(pause_s)
        raise StoreError("an order's rows are being written: a shard is behind the others, or ahead of them")

    def page(self, user: str, limit: int, before: tuple[int, int] | None) -> list[tuple[int, int]]:
        """Return (placed_at in ms, order ID) of a user's orders, newest first, those behind `before`; raises StoreError."""
        if before is None:
            rows = self.main.select((_PAGE + _NEWEST, (user, limit)))[0]
        else:
            at = datetime_of(before[0])
            rows = self.main.select((_PAGE + _BEFORE + _NEWEST, (user, at, at, before[1], limit)))[0]
        return [(ms_of(placed_at), order_id) for placed_at, order_id in rows]

    def close(self) -> None:
        """Let go of connections and threads."""
        if self._fan is not None:
            self._fan.shutdown()
        for database in (self.main, *self.shards):
            database.close()

    def _lines(self, query: Query) -> Rows:
        """Ask all shards at once. A row that lies in another's shard is left from another number of shards."""
        assert self._fan is not None
        asked = [self._fan.submit(shard.select, query) for shard in self.shards]
        place = _LINE_COLUMNS.index("product_id")
        return [row for number, answer in enumerate(asked) for row in answer.result()[0] if shard_of(row[place], len(asked)) == number]


def joined(orders: Rows, lines: Rows) -> dict[int, Fields]:
    """Return each order with its lines in their order, by ID."""
    found = {row[0]: fields_of_row(views.ORDER_COLUMNS, row) | {"lines": []} for row in orders}
    for order_id, _, *line in sorted(lines, key=lambda row: (row[0], row[2])):
        if order_id in found:
            found[order_id]["lines"].append(fields_of_row(LINE_FIELDS, line))
    return found


def are_whole(orders: Mapping[int, Fields], lines: Rows) -> bool:
    """Say whether each order's rows are of one version, and all there."""
    if any(version != orders[order_id]["version"] for order_id, version, *_ in lines if order_id in orders):
        return False
    return all(order["status"] not in WHOLE or len(order["lines"]) == order["line_count"] for order in orders.values())
