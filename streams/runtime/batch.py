"""A batch: one partition's records, handed to the agent once, taken or refused.

Faust drops messages in flight across rebalances without a word. So a batch says which positions it follows, and is
taken only if the task still stands there; whatever happened to it, `done` tells the task to go on.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Final

from streams.runtime.records import Record

FIRST_BYTES: Final = 131_072
"""Of a task's first batch; the next ones adapt to how long deciding takes."""
LEAST_BYTES: Final = 16_384
"""A batch is never limited below this, however busy the machine."""

ALONE: Final = 4
"""So many times what a batch may have among others, it may have where no other task of the worker has as much to do."""

AT_HAND_BYTES: Final = 32_768
"""So much may be read on the event loop."""

BUSY_BYTES_S: Final = 5_000_000
"""A worker whose tasks take more than so many bytes a second in all is busy."""
GATHER_SECONDS: Final = 0.05


class BatchState(Enum):
    WAITING = "waiting"  # with the task, Faust or a stream's queue
    TAKEN = "taken"  # the agent decides it, or its transaction is under way
    ENDED = "ended"  # committed, refused or dropped


class Batch:
    """Records of one task that follow `start` (topic -> next offset); no records: a timer batch."""

    __slots__ = ("done", "end", "partition", "records", "stage", "start", "state")

    def __init__(self, stage: str, partition: int, start: Mapping[str, int], records: Sequence[Record]) -> None:
        self.stage = stage
        self.partition = partition
        self.start = dict(start)
        self.records = records
        self.end = end_of(start, records)
        self.state = BatchState.WAITING
        self.done: asyncio.Future[bool] = asyncio.get_running_loop().create_future()

    @property
    def is_timer(self) -> bool:
        return not self.records

    def take(self, position: Mapping[str, int]) -> bool:
        """Take the batch if nobody has and the task stands where it starts; otherwise end it untouched."""
        if self.state is not BatchState.WAITING:
            return False
        if self.start != position:
            self.finish(committed=False)
            return False
        self.state = BatchState.TAKEN
        return True

    def drop(self) -> None:
        """End the batch if the agent has not taken it: Faust has lost it, or is about to."""
        if self.state is BatchState.WAITING:
            self.finish(committed=False)

    def finish(self, *, committed: bool) -> None:
        """Let the task go on; `committed` tells whether its position moved."""
        self.state = BatchState.ENDED
        if not self.done.done():
            self.done.set_result(committed)


def end_of(start: Mapping[str, int], records: Sequence[Record]) -> dict[str, int]:
    """Return the positions after these records."""
    end = dict(start)
    for record in records:
        if record.offset >= end[record.topic]:
            end[record.topic] = record.offset + 1
    return end


def next_limit(limit: int, took: float, target: float, highest: int) -> int:
    """Return how many bytes the next batch may have, so that deciding it takes about `target` seconds."""
    if took > target:
        return max(LEAST_BYTES, int(limit * target / took))
    return min(highest, limit * 2, max(limit, int(limit * target / took)))


def share_of(most: int, busy: int) -> int:
    """Return how many bytes a batch may have while so many tasks of a worker have full ones.

    Tasks decide in turns, so the transaction of each lasts as long as the others' decisions too; a task that decides alone waits for its own commits, the
    less the more it takes at once.
    """
    return max(most, most * ALONE // max(1, busy))


def gather_seconds(rate: float) -> float:
    """Return how long a batch gathers records after its first in a worker that takes so many bytes a second.

    Under load answers come from every task of the stage before: a row that changes by each is written once for all of them, in fewer transactions.
    It goes by what the worker takes, not the task: a stage of small records (payments) costs the brokers as many transactions as any. And not by
    the size of the last batch, for one that gathered is large.
    """
    return GATHER_SECONDS if rate >= BUSY_BYTES_S else 0.0
