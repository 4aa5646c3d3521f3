"""What the audit checked and what it found."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from holdfast.audit.kinds import KINDS, MEANINGS, PROMISES
from holdfast.audit.table import Place


class Violation(NamedTuple):
    """One breach: where it shows, which IDs it concerns, and what was found instead of what."""

    kind: str
    place: Place
    ids: dict[str, int | str]
    detail: str

    @property
    def promise(self) -> str:
        return KINDS[self.kind]

    def to_json(self) -> dict[str, Any]:
        """Return the violation for machines; order IDs are strings, as in all our JSON."""
        ids = {name: str(value) if name == "order_id" else value for name, value in self.ids.items()}
        topic, partition, offset, index = self.place
        where = {"topic": topic, "partition": partition, "offset": offset, "index": index}
        return {"promise": self.promise, "kind": self.kind, **where, "ids": ids, "detail": self.detail}

    def __str__(self) -> str:
        where = self.place.topic + "".join(f" {name} {n}" for name, n in zip(("partition", "offset", "index"), self.place[1:], strict=True) if n >= 0)
        ids = " ".join(f"{name}={value}" for name, value in self.ids.items())
        return "; ".join(part for part in (where, ids, self.detail) if part)


def _as_it_is(place: Place) -> Place:
    return place


@dataclass
class Report:
    """The result of one audit. `checked`: promise -> what -> how many."""

    checked: dict[str, dict[str, int]] = field(default_factory=lambda: {promise: {} for promise in PROMISES})
    violations: list[Violation] = field(default_factory=list)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)
    shown: Callable[[Place], Place] = field(default=_as_it_is, repr=False, compare=False)
    """Turns a place into what it is called on the brokers."""

    @property
    def ok(self) -> bool:
        return not self.violations

    def add(self, kind: str, place: Place, detail: str = "", /, **ids: int | str) -> None:
        """Note a violation."""
        assert kind in KINDS, kind
        self.violations.append(Violation(kind, self.shown(place), ids, detail))

    def count(self, promise: str, **numbers: int) -> None:
        """Note how much of something was checked."""
        for what, number in numbers.items():
            self.checked[promise][what] = self.checked[promise].get(what, 0) + number

    def kinds(self) -> Counter[str]:
        """Return how often each kind was found."""
        return Counter(violation.kind for violation in self.violations)

    def of(self, promise: str) -> list[Violation]:
        """Return the violations of one promise."""
        return [violation for violation in self.violations if violation.promise == promise]

    def to_json(self) -> dict[str, Any]:
        """Return {"ok", "promises": {promise: {"checked", "violations"}}, "violations", "seconds", "notes"}."""
        promises = {p: {"checked": self.checked[p], "violations": [v.to_json() for v in self.of(p)]} for p in PROMISES}
        return {"ok": self.ok, "promises": promises, "violations": len(self.violations), "seconds": round(self.seconds, 2), "notes": self.notes}

    def text(self, shown: int = 20) -> str:
        """Return the report for people: a line per promise, then at most `shown` violations of each kind."""
        return "\n".join([*(self._line(promise) for promise in PROMISES), *self._details(shown), *self.notes, self._verdict()])

    def _line(self, promise: str) -> str:
        found = len(self.of(promise))
        verdict = f"{found:,} VIOLATIONS" if found else "ok" if self.checked[promise] else "not checked"
        checked = ", ".join(f"{number:,} {what.replace('_', ' ')}" for what, number in self.checked[promise].items())
        return f"{promise} {PROMISES[promise]:<24} {verdict:<14} {checked}".rstrip()

    def _details(self, shown: int) -> Iterator[str]:
        by_kind: defaultdict[str, list[Violation]] = defaultdict(list)
        for violation in self.violations:
            by_kind[violation.kind].append(violation)
        for kind, found in by_kind.items():
            yield f"\n{KINDS[kind]} {kind}: {MEANINGS[kind]} ({len(found):,})"
            yield from (f"  {violation}" for violation in found[:shown])
            if len(found) > shown:
                yield f"  ... and {len(found) - shown:,} more (--json names all)"

    def _verdict(self) -> str:
        if self.ok:
            return f"clean: no violation ({self.seconds:.1f} s)"
        return f"\n{len(self.violations):,} violations ({self.seconds:.1f} s)"
