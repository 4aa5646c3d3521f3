"""What all tasks of a worker have in common, and what a task may be doing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final, NamedTuple, TypeVar

from streams.config import StreamSettings
from streams.runtime.batch import Batch, gather_seconds, next_limit, share_of
from streams.runtime.brokers import Brokers
from streams.runtime.clock import Clock

T = TypeVar("T")
LOOK_SECONDS: Final = 1.0
"""So long is counted what a worker takes, before it is said how busy it is. Shorter, and what comes behind a stall of the broker's would look like load."""


class TaskState(Enum):
    OPENING = "opening"
    READING = "reading"  # nothing outstanding
    WAITING = "waiting"  # a batch is on its way to the agent
    COMMITTING = "committing"
    CLOSED = "closed"


class Room:
    """How much the tasks of a worker may take at once, and how long they gather: they share, so that no transaction lasts long and none is for little.

    `seconds`: how long deciding a batch should take; `most`: bytes of one task's batch among many.
    """

    def __init__(self, seconds: float, most: int, now: Callable[[], float] = time.monotonic) -> None:
        self._seconds = seconds
        self._most = most
        self._now = now
        self._full: set[str] = set()
        self._since, self._taken = now(), 0
        self.gather = 0.0
        """Seconds."""

    def next_limit(self, task: str, limit: int, took: float, taken: int) -> int:
        """Return how many bytes a task's next batch may have; the last might have `limit`, had `taken`, and deciding it took so many seconds."""
        self._note(taken)
        if taken >= self._most // 2:
            self._full.add(task)
        else:
            self._full.discard(task)
        return next_limit(limit, took, self._seconds, share_of(self._most, len(self._full)))

    def _note(self, taken: int) -> None:
        self._taken += taken
        passed = self._now() - self._since
        if passed >= LOOK_SECONDS:
            self.gather = gather_seconds(self._taken / passed)
            self._since, self._taken = self._now(), 0

    def leave(self, task: str) -> None:
        """The task is closed."""
        self._full.discard(task)


class Shared(NamedTuple):
    """One per worker. `owns` asks the group whether this process is a member that has (input, partition, position) assigned."""

    settings: StreamSettings
    inbox: asyncio.Queue[Batch]
    threads: ThreadPoolExecutor
    brokers: Brokers
    clock: Clock
    room: Room
    owns: Callable[[str, int, int], Awaitable[bool]]

    async def in_thread(self, call: Callable[..., T], *args: object) -> T:
        """Run what may wait for the brokers off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *args)
