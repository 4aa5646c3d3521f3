"""What the orders stage decided, for Prometheus: added up while a batch is decided, counted once it is committed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any, Final

from schemas.outcomes import OutcomeChange, Refusal
from telemetry import figures

DECIDED: Final = OutcomeChange.DECIDED.name
HELD: Final = "HELD"
NONE: Final = "NONE"
_REFUSALS: Final = {int(refusal): refusal.name for refusal in Refusal}


class Tally:
    """Of one task."""

    def __init__(self) -> None:
        self.lines: Counter[int] = Counter()
        self.decisions: defaultdict[tuple[str, str], int] = defaultdict(int)
        self.refused: Counter[str] = Counter()

    def answered(self, refusals: bytes) -> None:
        """Answers to lines, each a refusal's number. Most are 0: held."""
        held = refusals.count(0)
        self.lines[0] += held
        if held < len(refusals):
            self.lines.update(filter(None, refusals))

    def moved(self, refusals: bytes) -> None:
        """Answers to commands about stock."""
        for refusal in filter(None, refusals):
            self.refused[_REFUSALS.get(refusal, str(refusal))] += 1

    def decided(self, outcome: Mapping[str, Any]) -> None:
        """An order's first outcome: its decision."""
        self.decisions[outcome["status"], outcome["refusal"]] += 1

    def count(self) -> None:
        """It is committed, so it counts."""
        for refusal, lines in self.lines.items():
            figures.LINES.labels(_REFUSALS.get(refusal, str(refusal)) if refusal else HELD).inc(lines)
        for (status, why), orders in self.decisions.items():
            figures.DECISIONS.labels(status, why or NONE).inc(orders)
        for why, commands in self.refused.items():
            figures.COMMANDS_REFUSED.labels(why).inc(commands)
        self.lines.clear()
        self.decisions.clear()
        self.refused.clear()
