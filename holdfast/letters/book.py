"""The topic dead-letters, folded: every letter once, with what was done about it. Pure."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from schemas.codec import UndecodableError, decode

OPEN: Final = "OPEN"
STATES: Final = (OPEN, "REDRIVEN", "DISCARDED")
_ID: Final = re.compile(r"(\d{1,9})-(\d{1,18})")
_SAME: Final = ("stage", "topic", "partition", "offset", "index", "reason")


class LetterId(NamedTuple):
    """Where a letter stands on dead-letters; people write it 3-17."""

    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.partition}-{self.offset}"

    @classmethod
    def parse(cls, text: str) -> LetterId:
        """Return the ID that a text says; raises ValueError."""
        found = _ID.fullmatch(text)
        if not found:
            raise ValueError(f"{text!r} is no dead letter's ID: they look like 3-17, `holdfast dead-letters list` shows them")
        return cls(int(found[1]), int(found[2]))


@dataclass
class Letter:
    """One dead letter. `fields` are the DeadLetter's; `settled` the DeadLetterSettled's, None while nothing was done.

    `repeats`: how often the same was said again, by a sink that crashed before it had noted it.
    """

    id: LetterId
    fields: dict[str, Any]
    settled: dict[str, Any] | None = None
    repeats: int = 0

    @property
    def state(self) -> str:
        """OPEN, REDRIVEN or DISCARDED."""
        return str(self.settled["action"]) if self.settled else OPEN


@dataclass
class Book:
    """All letters in the order in which they are read. `strangers`: records that are none of ours; `open`: letters by reason.

    `with_bytes`: whether the letters keep what they carry; who only counts them has no need of it.
    """

    with_bytes: bool = True
    letters: dict[LetterId, Letter] = field(default_factory=dict)
    strangers: int = 0
    open: Counter[str] = field(default_factory=Counter)
    _first: dict[bytes, LetterId] = field(default_factory=dict)
    _known_as: dict[LetterId, LetterId] = field(default_factory=dict)

    def add(self, partition: int, offset: int, value: bytes | None) -> None:
        """Take one record of dead-letters; a partition's come in the order of their offsets."""
        try:
            name, fields, _ = decode(value)
        except UndecodableError:
            self.strangers += 1
            return
        if name == "DeadLetter":
            self._letter(LetterId(partition, offset), fields)
        elif name == "DeadLetterSettled":
            self._settle(LetterId(fields["partition"], fields["offset"]), fields)
        else:
            self.strangers += 1

    def find(self, letter_id: LetterId) -> Letter | None:
        """Return a letter, also by the ID of one of its repeats."""
        return self.letters.get(self._known_as.get(letter_id, letter_id))

    def __iter__(self) -> Iterator[Letter]:
        return iter(self.letters.values())

    def _letter(self, letter_id: LetterId, fields: dict[str, Any]) -> None:
        first = self._first.setdefault(_identity(fields), letter_id)
        if first == letter_id:
            self.letters[letter_id] = Letter(letter_id, fields if self.with_bytes else {**fields, "value": b"", "key": None})
            self.open[fields["reason"]] += 1
        else:
            self._known_as[letter_id] = first
            self.letters[first].repeats += 1

    def _settle(self, letter_id: LetterId, fields: dict[str, Any]) -> None:
        letter = self.find(letter_id)
        if letter is None:
            self.strangers += 1
        elif letter.settled is None:
            letter.settled = fields
            self.open[letter.fields["reason"]] -= 1


def _identity(fields: dict[str, Any]) -> bytes:
    said = hashlib.blake2b(repr([fields[name] for name in _SAME]).encode(), digest_size=16)
    said.update(fields["value"])
    return said.digest()


@dataclass(frozen=True)
class Choice:
    """Which letters are meant; what is empty or None says nothing. `since` and `until` in ms, of when they died; until is left out."""

    ids: frozenset[LetterId] = frozenset()
    reasons: frozenset[str] = frozenset()
    stages: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    partitions: frozenset[int] = frozenset()
    orders: frozenset[int] = frozenset()
    since: int | None = None
    until: int | None = None
    state: str | None = None

    @property
    def is_narrow(self) -> bool:
        """Whether it says anything but the state."""
        return self != Choice(state=self.state)

    def holds(self, letter: Letter, prefixes: Sequence[str] = ("",)) -> bool:
        """Return whether a letter is meant; topics match with and without their prefix, of whatever generation."""
        x = letter.fields
        sets = ((self.ids, letter.id), (self.reasons, x["reason"]), (self.stages, x["stage"]), (self.partitions, x["partition"]), (self.orders, x["order_id"]))
        if any(wanted and said not in wanted for wanted, said in sets):
            return False
        if self.topics and not self.topics & {x["topic"], *(x["topic"].removeprefix(prefix) for prefix in prefixes)}:
            return False
        return (self.state in (None, letter.state)) and (self.since or 0) <= x["died_at"] and (self.until is None or x["died_at"] < self.until)
