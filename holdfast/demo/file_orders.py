"""What became of one file's orders, from the log alone: a fold over order.outcomes and dead-letters, pure."""

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from typing import NamedTuple

from schemas.codec import Decoded
from schemas.outcomes import DECISIONS, OutcomeChange


class _Order(NamedTuple):
    """An order as of its latest version: how many lines it names, and of how many units came back."""

    version: int
    lines: int
    returned_lines: int


class _Decision(NamedTuple):
    status: str
    decided_at: int


_DIED = ("stage", "topic", "partition", "offset", "index")
"""Where a dead letter came from. A record that died twice (a load sent it again after a kill) is one."""


@dataclass(frozen=True)
class FileCounts:
    """Counts over a file's orders; `decisions` has every way to be decided, also with 0."""

    orders: int
    lines: int
    decisions: dict[str, int]
    returned_lines: int
    dead_letters: int


class FileOrders:
    """The orders of one file: `order_ids` are those bound to its invoices, `name` is the file's."""

    def __init__(self, order_ids: Collection[int], name: str) -> None:
        self._ids = frozenset(order_ids)
        self._origin = f"file:{name}"
        self._orders: dict[int, _Order] = {}
        self._decisions: dict[int, _Decision] = {}
        self._died: set[tuple[str | int, ...]] = set()

    @property
    def decided(self) -> int:
        """Orders that have their answer."""
        return len(self._decisions)

    def add(self, record: Decoded) -> None:
        """Take in a record of order.outcomes or dead-letters."""
        if record.name == "OrderOutcome" and record.value["order_id"] in self._ids:
            self._add_outcome(record)
        elif record.name == "DeadLetter" and self._is_ours(record):
            self._died.add(tuple(record.value[name] for name in _DIED))

    def _add_outcome(self, record: Decoded) -> None:
        value = record.value
        order_id, version = value["order_id"], value["version"]
        if value["change"] == OutcomeChange.DECIDED.name:
            self._decisions[order_id] = _Decision(value["status"], value["decided_at"])
        if order_id not in self._orders or version > self._orders[order_id].version:
            returned = sum(line["returned"] > 0 for line in value["lines"])
            self._orders[order_id] = _Order(version, len(value["lines"]), returned)

    def _is_ours(self, record: Decoded) -> bool:
        """A row of the file, or a record of the pipeline that is not known to be about somebody else's order."""
        if record.value["topic"].startswith("file:"):
            return bool(record.value["topic"] == self._origin)
        return record.value["order_id"] is None or record.value["order_id"] in self._ids

    def lines_decided_since(self, ms: int) -> int:
        """Return how many lines the orders have that were decided at or after that time."""
        return sum(self._orders[order_id].lines for order_id, decision in self._decisions.items() if decision.decided_at >= ms)

    def counts(self) -> FileCounts:
        """Return everything counted so far."""
        found = Counter(decision.status for decision in self._decisions.values())
        return FileCounts(
            orders=len(self._decisions),
            lines=sum(order.lines for order in self._orders.values()),
            decisions={status.name.lower(): found[status.name] for status in sorted(DECISIONS)},
            returned_lines=sum(order.returned_lines for order in self._orders.values()),
            dead_letters=len(self._died),
        )
