"""Counts what passes on the topics: a fold over decoded records, pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.codec import Decoded
from schemas.outcomes import DECISIONS, OutcomeChange


@dataclass
class Tally:
    """What has been seen. `outcomes`: orders by decision; `shipped`, `returned`: outcome records of that change;
    `refused`: order commands that changed nothing; `dead_letters`: by reason."""

    order_lines: int = 0
    line_decisions: int = 0
    commands: int = 0
    outcomes: Counter[str] = field(default_factory=Counter)
    shipped: int = 0
    returned: int = 0
    refused: int = 0
    dead_letters: Counter[str] = field(default_factory=Counter)
    unreadable: int = 0

    def add(self, record: Decoded) -> None:
        """Count one record; a kind that is of no interest here counts nothing."""
        count = _COUNTS.get(record.name)
        if count:
            count(self, record)

    @property
    def orders_decided(self) -> int:
        """Orders that have their one answer."""
        return self.outcomes.total()

    def figures(self) -> dict[str, int]:
        """Everything as one flat mapping; every decision is there, also with 0."""
        decisions = {status.name.lower(): self.outcomes[status.name] for status in sorted(DECISIONS)}
        return {
            "order_lines": self.order_lines,
            "line_decisions": self.line_decisions,
            "stock_commands": self.commands,
            "orders_decided": self.orders_decided,
            **decisions,
            "shipped": self.shipped,
            "returned": self.returned,
            "commands_refused": self.refused,
            "dead_letters": self.dead_letters.total(),
            "unreadable": self.unreadable,
        }


def rates(before: Mapping[str, int], after: Mapping[str, int], seconds: float) -> dict[str, float]:
    """Return how much each figure grew a second."""
    return {name: round((count - before.get(name, 0)) / seconds, 1) for name, count in after.items()}


def _order_lines(tally: Tally, record: Decoded) -> None:
    tally.order_lines += record.size


def _decisions(tally: Tally, record: Decoded) -> None:
    tally.line_decisions += record.size


def _movements(tally: Tally, record: Decoded) -> None:
    tally.commands += record.size


def _outcome(tally: Tally, record: Decoded) -> None:
    change: Any = record.value["change"]
    if change == OutcomeChange.DECIDED.name:
        tally.outcomes[record.value["status"]] += 1
    tally.shipped += change == OutcomeChange.SHIPPED.name
    tally.returned += change == OutcomeChange.RETURNED.name


def _refused(tally: Tally, _record: Decoded) -> None:
    tally.refused += 1


def _dead_letter(tally: Tally, record: Decoded) -> None:
    tally.dead_letters[record.value["reason"]] += 1


_COUNTS: Mapping[str, Callable[[Tally, Decoded], None]] = {
    "OrderLine": _order_lines,
    "OrderLines": _order_lines,
    "StockDecisions": _decisions,
    "StockMovements": _movements,
    "OrderOutcome": _outcome,
    "OrderCommandRefused": _refused,
    "DeadLetter": _dead_letter,
}
