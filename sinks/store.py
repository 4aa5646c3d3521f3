"""What a store has to be for the one loop of worker.py."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Protocol

from sinks.batch import Batch, Move
from sinks.rows import Partition


class Store(Protocol):
    """A place where batches are kept, with the position of each partition. Every call raises NotNowError while it cannot work."""

    @property
    def name(self) -> str:
        """What the sink, its group and its dead letters are called."""

    def open(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """Return where each partition stands: the next offset to read. One never heard of stands at 0 from now on."""

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """Keep the rows and move the positions, all or (as far as can be seen by position) nothing.

        Raises PositionMovedError, with no position moved, unless every partition stands where `moves` expects it. A row
        with a version that is not higher than the one held changes nothing, so a batch may be written any number of times.
        """

    def check(self, positions: Mapping[Partition, int]) -> None:
        """Raise PositionMovedError unless the partitions stand there."""

    def close(self) -> None:
        """Let go of the connection. The store may be used again: it connects anew."""


def compare(expected: Mapping[Partition, int], found: Mapping[Partition, int | None]) -> str:
    """Return how the positions found differ from those expected, for people; empty if they do not."""
    wrong = [(partition, at) for partition, at in expected.items() if found.get(partition) != at]
    return ", ".join(f"{topic}[{number}] at {found.get((topic, number))}, not {at}" for (topic, number), at in wrong)
