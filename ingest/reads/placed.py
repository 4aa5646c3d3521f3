"""Orders that were acknowledged and may not be decided yet, noted in Redis for the other gateways: whose each is.

A note is not the order's own hash, and it is read only where there is no order yet: so it never stands in the way of an outcome. Redis may lose notes, or
not take them; such an order is unknown elsewhere until it is decided.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final

from ingest.reads.cache import Cache
from schemas.views import SECOND_BITS, placed_key

FLUSH_S: Final = 0.03
"""Notes of so long go to Redis together: a round trip costs as much as fifty orders."""
MOST_NOTES: Final = 1_000_000
"""That this gateway makes within the life of a note: about 100 MB of Redis. Orders beyond that are not noted."""
BURST: Final = 20_000
"""Of them at a time."""


class PlacedOrders:
    """Notes of one gateway, and those of all to read. For the event loop's thread; never raises."""

    def __init__(self, cache: Cache | None, life_s: float, most: int = MOST_NOTES, burst: int = BURST, clock: Callable[[], float] = time.monotonic) -> None:
        self._cache = cache if life_s else None
        self._life_s = max(1, int(life_s))
        self._per_s = most / self._life_s
        self._burst = burst
        self._clock = clock
        self._room = float(burst)
        self._room_at = clock()
        self._due: list[tuple[int, str]] = []
        self._flushing: asyncio.Task[None] | None = None

    def note(self, placed: Sequence[tuple[int, str]]) -> None:
        """Note orders by ID and user, soon."""
        if self._cache is None or not self._cache.answers:
            return
        allowed = self._allowed(len(placed))
        if not allowed:
            return
        self._due.extend(placed[:allowed])
        if self._flushing is None:
            self._flushing = asyncio.ensure_future(self._flush())

    async def user_of(self, order_id: int) -> str | None:
        """Return whose an order is that a gateway noted, None if nobody did or Redis does not answer."""
        if self._cache is None:
            return None
        ((user,),) = [each or [None] for each in await self._cache.hashes([placed_key(order_id)], [str(order_id)])]
        return user

    async def close(self) -> None:
        """Write what is due."""
        if self._flushing is not None:
            await self._flushing

    async def _flush(self) -> None:
        assert self._cache is not None
        try:
            while self._due:
                await asyncio.sleep(FLUSH_S)
                due, self._due = self._due, []
                hashes: dict[int, list[int | str]] = {}
                for placed in due:
                    second = placed[0] >> SECOND_BITS
                    if second in hashes:
                        hashes[second] += placed
                    else:
                        hashes[second] = [*placed]
                await self._cache.note({placed_key(second << SECOND_BITS): fields for second, fields in hashes.items()}, self._life_s)
        finally:
            self._flushing = None

    def _allowed(self, wanted: int) -> int:
        now = self._clock()
        self._room = min(self._burst, self._room + (now - self._room_at) * self._per_s)
        self._room_at = now
        allowed = min(wanted, int(self._room))
        self._room -= allowed
        return allowed
