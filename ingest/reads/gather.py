"""Many look-ups of one event loop become few questions: those of one turn go together, and one key is asked for once at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeAlias, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")
Fetch: TypeAlias = Callable[[Sequence[K]], Awaitable[Mapping[K, V]]]


class Gather(Generic[K, V]):
    """At most `most_flights` questions at a time, of `most_keys` keys at most; who asks for a key under way gets its answer, too."""

    def __init__(self, fetch: Fetch[K, V], most_flights: int, most_keys: int) -> None:
        self._fetch = fetch
        self._most_flights = most_flights
        self._most_keys = most_keys
        self._asked: dict[K, asyncio.Future[V | None]] = {}
        self._waiting: deque[K] = deque()
        self._flights: set[asyncio.Task[None]] = set()
        self._due = False

    async def get(self, key: K) -> V | None:
        """Return what the store has under a key, None if nothing; raises what `fetch` raises."""
        future = self._asked.get(key)
        if future is None:
            future = self._asked[key] = asyncio.get_running_loop().create_future()
            self._waiting.append(key)
            self._launch_soon()
        # Others wait for the same answer: one who gives up must not take it from them.
        return await asyncio.shield(future)

    async def close(self) -> None:
        """Wait for what is under way."""
        if self._flights:
            await asyncio.wait(self._flights)

    def _launch_soon(self) -> None:
        if not self._due and len(self._flights) < self._most_flights:
            self._due = True
            asyncio.get_running_loop().call_soon(self._launch)

    def _launch(self) -> None:
        self._due = False
        while self._waiting and len(self._flights) < self._most_flights:
            keys = [self._waiting.popleft() for _ in range(min(self._most_keys, len(self._waiting)))]
            flight = asyncio.ensure_future(self._fly(keys))
            self._flights.add(flight)
            flight.add_done_callback(self._landed)

    def _landed(self, flight: asyncio.Task[None]) -> None:
        self._flights.discard(flight)
        if self._waiting:
            self._launch_soon()

    async def _fly(self, keys: Sequence[K]) -> None:
        try:
            found = await self._fetch(keys)
        except BaseException as error:
            for key in keys:
                self._fail(self._asked.pop(key), error)
            if not isinstance(error, Exception):
                raise
            return
        for key in keys:
            self._asked.pop(key).set_result(found.get(key))

    @staticmethod
    def _fail(future: asyncio.Future[V | None], error: BaseException) -> None:
        future.set_exception(error if isinstance(error, Exception) else ConnectionAbortedError("the gateway stops"))
        # It is for those who wait, and nobody may be waiting any more.
        future.exception()
