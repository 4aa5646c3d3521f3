"""What a run of the fault suite found."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.faults.failpoint_drill import Drill


@dataclass
class Struck:
    """One fault as it went. Times are seconds of the machine's monotonic clock. `single`: nothing else was. `error`: why it could not be done."""

    kind: str
    at: float
    healed: float = 0.0
    until: float = 0.0
    """Up to when its harm was looked for: the next strike, or the end of the load."""
    single: bool = False
    error: str = ""
    in_flight: int = 0
    """Orders sent and not yet decided while it lasted; 0: it did not meet the load."""
    silence: dict[str, float] = field(default_factory=dict)
    """Of a single fault: place -> the longest that a probe order had to wait there, in seconds, from the strike; from the fault's end where it `withholds`."""
    silence_since_strike: float = 0.0


@dataclass
class RoundResult:
    """One round: its faults, its load, and what was found wrong. `violations` name promise, kind and where; `problems` are the run's own."""

    number: int
    struck: list[Struck] = field(default_factory=list)
    orders: int = 0
    lines: int = 0
    commands: int = 0
    probes: int = 0
    decided: int = 0
    load_s: float = 0.0
    longest_silence_s: float = 0.0
    median_answer_s: float = 0.0
    drained_s: float = 0.0
    restarts: dict[str, int] = field(default_factory=dict)
    violations: list[dict[str, Any]] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    checked: dict[str, Any] = field(default_factory=dict)
    folder: Path = Path()

    @property
    def ok(self) -> bool:
        return not self.violations and not self.problems


@dataclass
class Result:
    """A whole run. `drill`: the kills at every failpoint, if they were part of it."""

    seed: int
    seconds: float
    rounds: list[RoundResult] = field(default_factory=list)
    drill: Drill | None = None
    interrupted: bool = False

    @property
    def ok(self) -> bool:
        """Whether nothing was found, and there was something to find."""
        return bool(self.rounds) and not self.interrupted and all(r.ok for r in self.rounds) and (self.drill is None or self.drill.ok)

    @property
    def struck(self) -> list[Struck]:
        return [struck for r in self.rounds for struck in r.struck if not struck.error]
