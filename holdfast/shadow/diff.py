"""Pure: how orders ended, and how they would have ended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.outcomes import OutcomeChange

KEPT: Final = frozenset({"HELD", "SHIPPED", "RETURNED"})
NAMED: Final = 100
NOTHING: Final = "(none)"
"""In the place of a decision: the order has none."""


class End(NamedTuple):
    """How an order stands: its one decision, its status now, the units it has (without what came back), the money kept of it (minor units)."""

    decision: str
    status: str
    units: int
    revenue: int
    currency: str


ABSENT: Final = End(NOTHING, NOTHING, 0, 0, "")


class Ends:
    """The ends of orders, from the records of order.outcomes in any order."""

    def __init__(self) -> None:
        self._newest: dict[int, tuple[int, End]] = {}
        """Order ID -> the newest version seen, and how it stands."""
        self._decided: dict[int, str] = {}

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        """Take a decoded record."""
        if name != "OrderOutcome":
            return
        order_id = value["order_id"]
        if value["change"] == OutcomeChange.DECIDED.name:
            self._decided[order_id] = value["status"]
        if order_id not in self._newest or self._newest[order_id][0] < value["version"]:
            self._newest[order_id] = value["version"], _end(value)

    def all(self) -> dict[int, End]:
        """Return each order's end."""
        return {order_id: end._replace(decision=self._decided.get(order_id, NOTHING)) for order_id, (_, end) in self._newest.items()}


def _end(value: Mapping[str, Any]) -> End:
    units = sum(line["quantity"] - line["returned"] for line in value["lines"] if line["status"] in KEPT)
    return End(NOTHING, value["status"], units, value["charged"] - value["refunded"], value["currency"])


@dataclass
class Diff:
    """Both worlds side by side. `moves`: (decision, decision it would have been) -> orders. Units and revenue: [was, would have been]."""

    orders: int = 0
    different: int = 0
    moves: Counter[tuple[str, str]] = field(default_factory=Counter)
    units: list[int] = field(default_factory=lambda: [0, 0])
    revenue: dict[str, list[int]] = field(default_factory=dict)
    named: list[tuple[int, End, End]] = field(default_factory=list)

    def add(self, order_id: int, was: End, would: End) -> None:
        """Take one order."""
        self.orders += 1
        self.moves[was.decision, would.decision] += 1
        for side, end in enumerate((was, would)):
            self.units[side] += end.units
            if end.currency:
                self.revenue.setdefault(end.currency, [0, 0])[side] += end.revenue
        if was != would:
            self.different += 1
            if len(self.named) < NAMED:
                self.named.append((order_id, was, would))

    def decisions(self) -> dict[str, tuple[int, int]]:
        """Return decision -> how many orders had it, and would have had it."""
        was, would = Counter[str](), Counter[str]()
        for (before, after), orders in self.moves.items():
            was[before] += orders
            would[after] += orders
        return {name: (was[name], would[name]) for name in sorted(was | would)}

    def document(self) -> dict[str, Any]:
        """Return it for programs; IDs are strings, money is in minor units."""
        both = ("was", "would")
        return {
            "orders": self.orders,
            "different": self.different,
            "decisions": {name: dict(zip(both, counts, strict=True)) for name, counts in self.decisions().items()},
            "moves": [{"was": a, "would": b, "orders": n} for (a, b), n in sorted(self.moves.items()) if a != b],
            "units": dict(zip(both, self.units, strict=True)),
            "revenue": {currency: dict(zip(both, sums, strict=True)) for currency, sums in sorted(self.revenue.items())},
            "named": [{"order_id": str(i), "was": a._asdict(), "would": b._asdict()} for i, a, b in self.named],
        }


def compare(was: Mapping[int, End], would: Mapping[int, End]) -> Diff:
    """Compare order by order; one that only one side knows is different."""
    diff = Diff()
    for order_id in sorted(was.keys() | would.keys()):
        diff.add(order_id, was.get(order_id, ABSENT), would.get(order_id, ABSENT))
    return diff
