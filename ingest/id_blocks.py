"""Order IDs taken in blocks, away from the event loop: the generator may have to ask its database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ingest.order_ids import OrderIds

BLOCK: Final = 512
"""IDs per block: a thread's turn costs about 0.1 ms."""
MAX_AGE_S: Final = 1.0
"""After this the rest of a block is not given out: IDs increase with time."""


class IdBlocks:
    """Gives IDs to one event loop. Not for several threads."""

    def __init__(self, ids: OrderIds, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids = ids
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="order-ids")
        self._block: list[int] = []
        self._stale_at = 0.0
        self._refill: asyncio.Task[None] | None = None

    def next(self) -> int | None:
        """Return an ID, or None if there is none at hand: then ask `take`."""
        block = self._block
        if not block or self._clock() > self._stale_at:
            return None
        if len(block) < BLOCK // 2:
            self._refill_soon()
        return block.pop()

    async def take(self, n: int) -> list[int]:
        """Return `n` IDs; raises ClockError or LeaseError."""
        if n > BLOCK // 2:
            return await self._in_thread(n)
        if self._clock() > self._stale_at:
            self._block = []
        while len(self._block) < n:
            await asyncio.shield(self._refill_soon())
        cut = len(self._block) - n
        taken, self._block = self._block[cut:], self._block[:cut]
        taken.reverse()
        return taken

    def close(self) -> None:
        """Let go of the thread; the generator is the caller's."""
        self._thread.shutdown()

    def _refill_soon(self) -> asyncio.Task[None]:
        if self._refill is None:
            self._refill = asyncio.ensure_future(self._fill())
            self._refill.add_done_callback(_heard)
        return self._refill

    async def _fill(self) -> None:
        """What is left of the block before is dropped: it is older. After an error the next to ask tries again."""
        try:
            self._block = (await self._in_thread(BLOCK))[::-1]
            self._stale_at = self._clock() + MAX_AGE_S
        finally:
            # Here and not in a callback: between the end and its callbacks others ask, and would wait for what is over without ever letting the callback run.
            self._refill = None

    def _in_thread(self, n: int) -> asyncio.Future[list[int]]:
        return asyncio.get_running_loop().run_in_executor(self._thread, self._ids.take, n)


def _heard(done: asyncio.Task[None]) -> None:
    """An error is for those who wait, and nobody may be waiting."""
    if not done.cancelled():
        done.exception()
