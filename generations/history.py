"""What the records of the topic `generations` add up to. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Step(StrEnum):
    """How far the change to a generation is; the words are those of schemas/avro/Generation.avsc."""

    BARRIER = "BARRIER"
    CLOSED = "CLOSED"
    CURRENT = "CURRENT"
    CANCELLED = "CANCELLED"


class Change(NamedTuple):
    """The last record of a generation."""

    generation: int
    partitions: int
    step: Step


def prefix_of(root: str, generation: int) -> str:
    """Return what goes before the topics, the workers' group and the transactional IDs of a generation; `root` is HOLDFAST_TOPIC_PREFIX."""
    return root if generation == 1 else f"{root}g{generation}."


@dataclass(frozen=True)
class History:
    """Every change, by generation. `root` is HOLDFAST_TOPIC_PREFIX."""

    root: str = ""
    changes: tuple[Change, ...] = ()

    @classmethod
    def of(cls, root: str, records: Iterable[Change]) -> History:
        """Return what the records say, in their order: the last one of a generation counts."""
        last = {record.generation: record for record in records}
        return cls(root, tuple(change for _, change in sorted(last.items())))

    @property
    def number(self) -> int:
        """The generation in use."""
        return max((change.generation for change in self.changes if change.step is Step.CURRENT), default=1)

    @property
    def partitions(self) -> int | None:
        """Its partition count; None for the first generation, whose topics alone say it."""
        return next((change.partitions for change in self.changes if change.generation == self.number), None)

    @property
    def prefix(self) -> str:
        """What goes before the names of its topics."""
        return prefix_of(self.root, self.number)

    @property
    def prefixes(self) -> tuple[str, ...]:
        """Those of every generation that ever was in use, the oldest first."""
        used = (change.generation for change in self.changes if change.step is Step.CURRENT)
        return (self.root, *(prefix_of(self.root, number) for number in used))

    @property
    def abandoned(self) -> tuple[str, ...]:
        """Those of generations that never were in use and never will be: changes that were cancelled, or begun again."""
        return tuple(prefix_of(self.root, change.generation) for change in self.changes if change.step is Step.CANCELLED)

    @property
    def next(self) -> int:
        """A number that no generation has had yet."""
        return max((change.generation for change in self.changes), default=1) + 1

    @property
    def moving(self) -> Change | None:
        """The change under way, if any; the last one, where it was begun again."""
        return next((change for change in reversed(self.changes) if change.generation > self.number and change.step in (Step.BARRIER, Step.CLOSED)), None)

    def is_closed(self, generation: int) -> bool:
        """Whether no task may write to this generation any more."""
        return any(change.generation > generation and change.step in (Step.CLOSED, Step.CURRENT) for change in self.changes)
