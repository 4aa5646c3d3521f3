"""Cache-aside: Redis, on a miss MySQL, and the miss is filled before anybody is answered, so that the next one finds it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Generic, TypeVar

from ingest.errors import StoreError
from ingest.http.errors import Problem, ProblemType
from ingest.reads.cache import CachedRows
from ingest.reads.fields import Fields
from ingest.reads.gather import Gather

K = TypeVar("K", bound=Hashable)

THREADS: Final = 4
"""Questions to MySQL at a time, per kind of thing."""
MOST_KEYS: Final = 100
LOOK_EVERY_S: Final = 0.025
DATABASE_EVERY: Final = 8
"""While a version is waited for: MySQL once for so many looks into Redis."""


def unavailable(error: StoreError) -> Problem:
    """Return the problem of a read that no store can answer."""
    problem = Problem(ProblemType.UNAVAILABLE, "it is not cached, and the database it is in does not answer", retry_after_s=1)
    problem.__cause__ = error
    return problem


class CacheAside(Generic[K]):
    """Reads one kind of thing by its ID. `wait_s`: how long a version is waited for that neither store has."""

    def __init__(self, rows: CachedRows[K], in_tables: Callable[[Sequence[K]], Mapping[K, Fields]], wait_s: float) -> None:
        self._rows = rows
        self._in_tables = in_tables
        self._wait_s = wait_s
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="reads")
        self._misses: Gather[K, Fields] = Gather(self._fetch, THREADS, MOST_KEYS)
        self.hits = self.missed = 0
        """Looks into the cache that found what was asked for, or not; while a version is waited for, each look counts."""

    async def read(self, name: K, min_version: int, suits: Callable[[Fields], bool] = lambda _: True) -> Fields | None:
        """Return the fields, None where neither store has what `suits`; raises Problem UNAVAILABLE, or NOT_YET for a version that does not come in time."""
        found = await self._look(name, min_version, suits, in_database=True)
        if found is not None or not min_version:
            return found
        loop = asyncio.get_running_loop()
        deadline, looks = loop.time() + self._wait_s, 0
        while (left := deadline - loop.time()) > 0:
            await asyncio.sleep(min(LOOK_EVERY_S, left))
            looks += 1
            last = deadline - loop.time() <= 0
            found = await self._look(name, min_version, suits, in_database=last or looks % DATABASE_EVERY == 0)
            if found is not None:
                return found
        raise Problem(ProblemType.NOT_YET, f"version {min_version} cannot be read yet; it may not exist", retry_after_s=1)

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._misses.close()
        self._threads.shutdown()

    async def _look(self, name: K, min_version: int, suits: Callable[[Fields], bool], *, in_database: bool) -> Fields | None:
        held = await self._rows.get(name)
        if held is not None and held["version"] >= min_version:
            self.hits += 1
            return held if suits(held) else None
        self.missed += 1
        if not in_database:
            return None
        try:
            row = await self._misses.get(name)
        except StoreError as error:
            if held is not None:
                return None
            raise unavailable(error) from error
        return row if row is not None and row["version"] >= min_version and suits(row) else None

    async def _fetch(self, names: Sequence[K]) -> Mapping[K, Fields]:
        found = await asyncio.get_running_loop().run_in_executor(self._threads, self._in_tables, names)
        await self._rows.fill(found)
        return found
