"""Redis as the gateway reads it: one question at a time for all that is asked meanwhile, and fills that never replace a newer version."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Generic, TypeVar

import redis.asyncio as redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from ingest.errors import ConfigError
from ingest.reads.breaker import Breaker
from ingest.reads.fields import Fields, values_of
from ingest.reads.gather import Gather
from schemas.views import WRITE_NEWER

log = logging.getLogger(__name__)

K = TypeVar("K", bound=Hashable)

TIMEOUT_S: Final = 0.3
"""For one question, however many keys it has."""
NOTE_TIMEOUT_S: Final = 2.0
MOST_KEYS: Final = 250
PROBE_EVERY_S: Final = 0.5


class Cache:
    """The connection to Redis. While it does not answer, nobody waits for it: it is tried in the background."""

    def __init__(self, redis_url: str, timeout_s: float = TIMEOUT_S) -> None:
        self._timeout_s = timeout_s
        self._probing: asyncio.Task[None] | None = None
        # Opened by the probe alone: time does not open it again.
        self._breaker = Breaker(float("inf"))
        self._notes = Breaker()
        try:
            self._redis = redis.Redis.from_url(redis_url, retry=Retry(NoBackoff(), 0), decode_responses=True, socket_connect_timeout=timeout_s)
        except ValueError as error:
            raise ConfigError(f"HOLDFAST_REDIS must look like redis://host:port/0: {error}") from None
        self._fill = self._redis.register_script(WRITE_NEWER)

    @property
    def answers(self) -> bool:
        """Whether Redis answered when it was asked last."""
        return self._breaker.allows()

    async def hashes(self, keys: Sequence[str], names: Sequence[str]) -> Sequence[Sequence[str | None] | None]:
        """Return these fields of each hash; None for all of them while Redis does not answer, and for what is no hash."""
        if not self.answers:
            return [None] * len(keys)
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.execute_command("HMGET", key, *names)
        answers: Sequence[Any] | None = await self._asked(pipeline.execute(raise_on_error=False))
        if answers is None:
            return [None] * len(keys)
        return [None if isinstance(answer, Exception) else answer for answer in answers]

    async def fill(self, names: Sequence[str], rows: Mapping[str, Fields]) -> None:
        """Write rows by key, unless a hash has that version or a newer one. A Redis that does not take them is no fault of who reads."""
        if self.answers and rows:
            args = [len(names), names.index("version") + 1, *names, *chain.from_iterable(values_of(names, fields) for fields in rows.values())]
            await self._asked(self._fill(keys=list(rows), args=args))

    async def note(self, hashes: Mapping[str, Sequence[int | str]], life_s: int) -> None:
        """Add fields (each name and its value in turn) to hashes, which Redis forgets `life_s` after the last of them.

        What it does not take is lost; reads do not suffer from that.
        """
        if not (hashes and self.answers and self._notes.allows()):
            return
        pipeline = self._redis.pipeline(transaction=False)
        for key, fields in hashes.items():
            pipeline.execute_command("HSET", key, *fields)
            pipeline.execute_command("EXPIRE", key, life_s)
        try:
            async with asyncio.timeout(NOTE_TIMEOUT_S):
                await pipeline.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError):
            self._notes.failed()

    async def close(self) -> None:
        """Let go of the connection."""
        if self._probing is not None:
            self._probing.cancel()
        await self._redis.aclose()

    async def _asked(self, question: Any) -> Any:
        """Await an answer; None, and no further questions for now, where none comes."""
        try:
            async with asyncio.timeout(self._timeout_s):
                return await question
        except ResponseError as error:
            log.warning("Redis refuses: %s", error)
        except (RedisError, OSError, TimeoutError) as error:
            if self.answers:
                log.warning("Redis does not answer (%s): reads come from MySQL", str(error) or type(error).__name__)
            self._breaker.failed()
            if self._probing is None:
                self._probing = asyncio.ensure_future(self._probe())
        return None

    async def _probe(self) -> None:
        while not self.answers:
            await asyncio.sleep(PROBE_EVERY_S)
            with suppress(RedisError, OSError, TimeoutError):
                async with asyncio.timeout(self._timeout_s):
                    await self._redis.ping()
                log.info("Redis answers again")
                self._breaker.worked()
        self._probing = None


class CachedRows(Generic[K]):
    """The hashes of one kind of thing, by its ID."""

    def __init__(self, cache: Cache | None, key_of: Callable[[K], str], names: Sequence[str], read: Callable[[Sequence[str | None]], Fields | None]) -> None:
        self._cache = cache
        self._key_of = key_of
        self._names = names
        self._read = read
        self._gather: Gather[K, Fields] = Gather(self._fetch, 1, MOST_KEYS)

    async def get(self, name: K) -> Fields | None:
        """Return what Redis has, None if it does not have it or does not answer. Never raises for Redis."""
        if self._cache is None or not self._cache.answers:
            return None
        return await self._gather.get(name)

    async def fill(self, found: Mapping[K, Fields]) -> None:
        """Write what MySQL has, unless Redis has it as new or newer."""
        if self._cache is not None:
            await self._cache.fill(self._names, {self._key_of(name): fields for name, fields in found.items()})

    async def _fetch(self, names: Sequence[K]) -> Mapping[K, Fields]:
        assert self._cache is not None
        hashes = await self._cache.hashes([self._key_of(name) for name in names], self._names)
        read = [(name, None if values is None else self._read(values)) for name, values in zip(names, hashes, strict=True)]
        return {name: fields for name, fields in read if fields is not None}
