"""What all tasks of a worker have in common, and what a task may be doing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import NamedTuple, TypeVar

from streams.config import StreamSettings
from streams.runtime.batch import Batch
from streams.runtime.brokers import Brokers
from streams.runtime.clock import Clock

T = TypeVar("T")


class TaskState(Enum):
    OPENING = "opening"
    READING = "reading"  # nothing outstanding
    WAITING = "waiting"  # a batch is on its way to the agent
    COMMITTING = "committing"
    CLOSED = "closed"


class Shared(NamedTuple):
    """One per worker. `owns` asks the group whether this process is a member that has (input, partition, position) assigned."""

    settings: StreamSettings
    inbox: asyncio.Queue[Batch]
    threads: ThreadPoolExecutor
    brokers: Brokers
    clock: Clock
    owns: Callable[[str, int, int], Awaitable[bool]]

    async def in_thread(self, call: Callable[..., T], *args: object) -> T:
        """Run what may wait for the brokers off the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self.threads, call, *args)
