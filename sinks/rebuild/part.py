"""What a rebuild needs of a database, whichever it is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeAlias

from schemas import views
from sinks.batch import Batch, Move
from sinks.rebuild.selection import Chosen, Selection
from sinks.rows import Partition, Record

Listener: TypeAlias = Callable[[str, int, int], None]
"""Hears of a phase by name, how much of it is done, and of how much (0: not known)."""

SHOWN: Final = 100
"""Differences that are named; all are counted."""


@dataclass
class Differences:
    """How the live rows differ from the rebuilt ones. `counts`: (what, table or kind of hash) -> how many; `named`: the first of them, (what, where, key)."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)
    named: list[tuple[str, str, str]] = field(default_factory=list)

    def add(self, what: str, where: str, key: str) -> None:
        """Count one: `what` is "changed", "missing" (in the live store) or "extra" (there, but not in the log)."""
        self.counts[what, _kind(where, key)] += 1
        if len(self.named) < SHOWN:
            self.named.append((what, where, key))

    def of(self, what: str) -> int:
        """Return how many rows are changed, missing or extra."""
        return sum(number for (said, _), number in self.counts.items() if said == what)

    @property
    def total(self) -> int:
        return self.counts.total()

    def and_those_of(self, other: Differences) -> Differences:
        """Return both together."""
        return Differences(self.counts + other.counts, (self.named + other.named)[:SHOWN])

    def without_older(self) -> tuple[Differences, int]:
        """Where the beginning of order.outcomes was deleted: return what is a difference all the same, and how many rows hang on what is gone."""
        counts = Counter({key: number for key, number in self.counts.items() if key not in _HANG_ON_ALL})
        named = [each for each in self.named if (each[0], _kind(each[1], each[2])) not in _HANG_ON_ALL]
        return Differences(counts, named), self.total - counts.total()


def _kind(where: str, key: str) -> str:
    """Return the table of a difference in MySQL, and of one in Redis what its key begins with."""
    return where.partition(":")[2] or key.partition(":")[0]


_ORDER_HASH: Final = views.order_key(0).partition(":")[0]
_HANG_ON_ALL: Final = frozenset(
    {("extra", views.ORDERS), ("extra", views.ORDER_LINES), ("extra", _ORDER_HASH), ("extra", views.USERS), ("changed", views.USERS)},
)


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
