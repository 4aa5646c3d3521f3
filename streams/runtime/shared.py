"""What all tasks of a worker have in common, and what a task may be doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple, TypeVar

from streams.config import StreamSettings
from streams.runtime.batch import Batch, next_limit, share_of
from streams.runtime.brokers import Brokers
from streams.runtime.clock import Clock

T = TypeVar("T")


class TaskState(Enum):
    OPENING = "opening"
    READING = "reading"  # nothing outstanding
    WAITING = "waiting"  # a batch is on its way to the agent
    COMMITTING = "committing"
    CLOSED = "closed"


class Room:
    """How much the tasks of a worker may take at once: they share, so that no transaction lasts long.

    `seconds`: how long deciding a batch should take; `most`: bytes of one task's batch among many.
    """

    def __init__(self, seconds: float, most: int) -> None:
        self._seconds = seconds
        self._most = most
        self._full: set[str] = set()

    def next_limit(self, task: str, limit: int, took: float, taken: int) -> int:
        """Return how many bytes a task's next batch may have; the last might have `limit`, had `taken`, and deciding it took so many seconds."""
        if taken >= self._most // 2:
            self._full.add(task)
        else:
            self._full.discard(task)
        return next_limit(limit, took, self._seconds, share_of(self._most, len(self._full)))

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
