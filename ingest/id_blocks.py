"""Order IDs taken in blocks, away from the event loop: the generator may have to ask its database."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from ingest.order_ids import IdPools, OrderIds

BLOCK: Final = 1_024
"""IDs per block: a thread's turn costs about 0.1 ms."""
LOW: Final = 16
"""With fewer left of a partition the next block is fetched."""
MAX_AGE_S: Final = 1.0
"""After this the rest is not given out: IDs increase with time."""


class IdBlocks:
    """Gives IDs to one event loop, each of a wanted partition (IdPools). Not for several threads."""

    def __init__(self, ids: OrderIds, partitions: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._ids = ids
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="order-ids")
        self.partitions = partitions
        self._pools = IdPools(partitions)
        self._begun = 0.0
        self._refill: asyncio.Task[None] | None = None

    def next(self, partition: int) -> int | None:
        """Return an ID, or None if there is none at hand: then ask `take`."""
        pools = self._pools
        if pools.left(partition) < LOW:
            self._refill_soon()
        return None if self._clock() - self._begun > MAX_AGE_S else pools.pop(partition)

    async def take(self, wanted: Sequence[int]) -> list[int]:
        """Return an ID for each wanted partition; raises ClockError or LeaseError."""
        found = list[int]()
        while len(found) < len(wanted):
            found += self._at_hand(wanted[len(found) :])
            if len(found) < len(wanted):
                await asyncio.shield(self._refill_soon())
        return found

    def _at_hand(self, wanted: Sequence[int]) -> list[int]:
        """Return IDs for the wanted partitions in turn, as far as there are any."""
        if self._pools.left(wanted[0]) < LOW:
            self._refill_soon()
        return [] if self._clock() - self._begun > MAX_AGE_S else self._pools.pop_all(wanted)

    def resize(self, partitions: int) -> None:
        """Have another number of partitions from now on."""
        self.partitions, self._pools, self._begun = partitions, IdPools(partitions), 0.0

    def close(self) -> None:
        """Let go of the thread; the generator is the caller's."""
        self._thread.shutdown()

    def _refill_soon(self) -> asyncio.Task[None]:
        if self._refill is None:
            self._refill = asyncio.ensure_future(self._fill())
            self._refill.add_done_callback(_heard)
        return self._refill

    async def _fill(self) -> None:
        """What has lain about for a while is dropped. After an error the next to ask tries again."""
        try:
            ids = await asyncio.get_running_loop().run_in_executor(self._thread, self._ids.take, BLOCK)
            if (now := self._clock()) - self._begun > MAX_AGE_S / 2:
                self._pools, self._begun = IdPools(self.partitions), now
            self._pools.add(ids)
        finally:
            # Here and not in a callback: between the end and its callbacks others ask, and would wait for what is over without ever letting the callback run.
            self._refill = None


def _heard(done: asyncio.Task[None]) -> None:
    """An error is for those who wait, and nobody may be waiting."""
    if not done.cancelled():
        done.exception()
