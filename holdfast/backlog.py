"""What the warehouse has read and not yet shipped: pure, time is an argument."""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiting:
    """An order to ship: the record that confirmed it, and when (ms) it is due."""

    partition: int
    offset: int
    order_id: int
    due_ms: int


class Backlog:
    """Orders in the order of their records, by partition; knows up to where each partition is done."""

    def __init__(self) -> None:
        self._queues: dict[int, deque[Waiting]] = {}
        self._read: dict[int, int] = {}

    def __len__(self) -> int:
        """Orders that wait."""
        return sum(map(len, self._queues.values()))

    def saw(self, partition: int, offset: int) -> None:
        """Note that a record was read, whether or not it is about an order to ship."""
        self._read[partition] = offset + 1

    def add(self, order: Waiting) -> None:
        """Note an order to ship; a partition's orders come in the order of their offsets."""
        self.saw(order.partition, order.offset)
        self._queues.setdefault(order.partition, deque()).append(order)

    def take(self, now_ms: int, limit: int) -> list[Waiting]:
        """Remove and return at most `limit` orders that are due, the longest due first; within a partition none overtakes."""
        taken: list[Waiting] = []
        while len(taken) < limit:
            due = [queue for queue in self._queues.values() if queue and queue[0].due_ms <= now_ms]
            if not due:
                break
            taken.append(min(due, key=lambda queue: queue[0].due_ms).popleft())
        return taken

    def positions(self) -> dict[int, int]:
        """Return by partition the offset before which everything has been taken."""
        return {partition: self._done(partition, read) for partition, read in self._read.items()}

    def _done(self, partition: int, read: int) -> int:
        queue = self._queues.get(partition)
        return queue[0].offset if queue else read

    def forget(self, partitions: Iterable[int]) -> None:
        """Drop partitions that another warehouse has now; it reads them again from their committed offset."""
        for partition in partitions:
            self._queues.pop(partition, None)
            self._read.pop(partition, None)


class Pace:
    """A rate limit: so many a second, saved up for at most one second. No limit when `per_second` is None."""

    def __init__(self, per_second: float | None, now_s: float) -> None:
        self._rate = per_second
        self._saved = 0.0
        self._at = now_s

    def allowance(self, now_s: float) -> int:
        """Return how many may go now."""
        if self._rate is None:
            return 2**31
        self._saved = min(self._saved + (now_s - self._at) * self._rate, max(self._rate, 1.0))
        self._at = now_s
        return int(self._saved)

    def spend(self, count: int) -> None:
        """Note that `count` went."""
        self._saved -= count
