"""What a rebuild needs of a database, whichever it is."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from sinks.batch import Batch, Move
from sinks.rebuild.selection import Chosen, Selection
from sinks.rows import Partition, Record

Listener: TypeAlias = Callable[[str, int, int], None]
"""Hears of a phase by name, how much of it is done, and of how much (0: not known)."""

SHOWN: Final = 100
"""Differences that are named; all are counted."""


@dataclass
class Differences:
    """How the live rows differ from the rebuilt ones. `named`: the first of them, (what, where, key)."""

    changed: int = 0
    missing: int = 0
    extra: int = 0
    named: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, what: str, where: str, key: str) -> None:
        """Count one: `what` is "changed", "missing" (in the live store) or "extra" (there, but not in the log)."""
        setattr(self, what, getattr(self, what) + 1)
        if len(self.named) < SHOWN:
            self.named.append((what, where, key))

    @property
    def total(self) -> int:
        return self.changed + self.missing + self.extra

    def and_those_of(self, other: Differences) -> Differences:
        """Return both together."""
        return Differences(self.changed + other.changed, self.missing + other.missing, self.extra + other.extra, (self.named + other.named)[:SHOWN])


class CatchUp(Protocol):
    """Brings the rebuilt rows of every part up to these offsets, or to the log's end; `watch` hears each record on the way."""

    def __call__(self, ends: Mapping[Partition, int] | None = None, watch: Callable[[Record], None] | None = None) -> None: ...


class Part(Protocol):
    """One database: its rebuilt rows lie beside the live ones until they take their place. Raises what a Store raises."""

    @property
    def name(self) -> str:
        """What it is called: mysql, redis, or the name of a shard's positions."""

    def begin(self, selection: Selection, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Make room beside the live rows, or find what an earlier run of the same selection left; return where that stands."""

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Store: into the rebuilt rows."""

    def finish_bulk(self) -> None:
        """Nearly everything is read: make of the rebuilt rows what the live ones are (indexes)."""

    def live_positions(self) -> dict[Partition, int]:
        """Return where the live rows stand; a partition that is missing was never begun."""

    def rows(self) -> int:
        """Return how many rows were rebuilt."""

    def compare(self, chosen: Chosen, catch_up: CatchUp) -> Differences:
        """Compare row by row. The live store is used and written meanwhile; what is compared is of one moment all the same."""

    def swap(self, chosen: Chosen, catch_up: CatchUp, listen: Listener) -> None:
        """Put the rebuilt rows in the place of the live ones; no row goes backwards, and sinks go on where they stand."""

    def clean(self) -> None:
        """Remove what lies beside the live rows."""

    def close(self) -> None:
        """Let go of the connections."""
