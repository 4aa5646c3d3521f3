"""The token buckets that all gateways share, in Redis: what was taken in one loop tick is reported in one round trip."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from ingest.errors import ConfigError
from ingest.http.token_bucket import Bucket

REST_S: Final = 1.0
"""After Redis did not answer nobody asks it for so long, and nobody waits for it until it has answered again."""
MOST: Final = 500
"""Buckets of one round trip."""

# Redis's own clock, so that gateways need not agree on the time. A bucket that is full again is forgotten.
SCRIPT: Final = """
local time = redis.call('TIME')
local now = time[1] + time[2] / 1000000
local left = {}
for i, key in ipairs(KEYS) do
  local rate, burst, taken = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local had = redis.call('HMGET', key, 't', 'at')
  local tokens = burst
  if had[1] then
    tokens = math.min(burst, tonumber(had[1]) + math.max(0, now - tonumber(had[2])) * rate)
  end
  tokens = tokens - taken
  redis.call('HSET', key, 't', string.format('%.6f', tokens), 'at', string.format('%.6f', now))
  redis.call('PEXPIRE', key, string.format('%.0f', (burst - tokens) / rate * 1000 + 1000))
  left[i] = string.format('%.6f', tokens)
end
return left
"""

log = logging.getLogger(__name__)


class SharedBuckets:
    """Reports local buckets by their Redis keys. For the event loop's thread; never raises, since a gateway works without it."""

    def __init__(self, redis_url: str, timeout_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._timeout_s = timeout_s
        self._redis = _client(redis_url, timeout_s)
        self._script = self._redis.register_script(SCRIPT)
        self._due: dict[str, Bucket] = {}
        self._heard: dict[str, asyncio.Future[None]] = {}
        self._turns: asyncio.Task[None] | None = None
        self._rests_until = 0.0
        self.answers = True
        """Whether Redis answered when it was asked last."""

    def report(self, key: str, bucket: Bucket) -> None:
        """Report a bucket soon, together with others."""
        if self._clock() < self._rests_until:
            return
        self._due[key] = bucket
        if self._turns is None:
            self._turns = asyncio.ensure_future(self._take_turns())

    async def hear(self, key: str, bucket: Bucket) -> None:
        """Report a bucket and wait for the answer; returns at once while Redis does not answer."""
        self.report(key, bucket)
        if self.answers and key in self._due:
            heard = self._heard.setdefault(key, asyncio.get_running_loop().create_future())
            await asyncio.shield(heard)

    async def close(self) -> None:
        """Let go of the connection."""
        if self._turns is not None:
            self._turns.cancel()
        await self._redis.aclose()

    async def _take_turns(self) -> None:
        try:
            while self._due:
                turn = list(islice(self._due.items(), MOST))
                heard = [self._heard.pop(key, None) for key, _ in turn]
                for key, _ in turn:
                    del self._due[key]
                await self._turn(turn)
                if not self.answers:
                    self._due.clear()
                    heard += [self._heard.pop(key) for key in list(self._heard)]
                for future in heard:
                    if future is not None and not future.done():
                        future.set_result(None)
        finally:
            self._turns = None

    async def _turn(self, turn: Sequence[tuple[str, Bucket]]) -> None:
        values = [value for _, bucket in turn for value in (bucket.limit.rate, bucket.limit.burst, bucket.report())]
        left: Sequence[bytes | None]
        try:
            async with asyncio.timeout(self._timeout_s):
                left = await self._script(keys=[key for key, _ in turn], args=values)
        except (RedisError, OSError, TimeoutError) as error:
            left = [None] * len(turn)
            self._failed(error)
        else:
            self.answers, self._rests_until = True, 0.0
        for (_, bucket), tokens in zip(turn, left, strict=True):
            bucket.reported(None if tokens is None else float(tokens))

    def _failed(self, error: Exception) -> None:
        if self.answers:
            # Not the error's own words: they may hold the URL.
            log.warning("Redis does not answer (%s): each gateway limits by its own count until it does", type(error).__name__)
        self.answers = False
        self._rests_until = self._clock() + REST_S


def _client(redis_url: str, timeout_s: float) -> Redis:
    try:
        return Redis.from_url(redis_url, socket_timeout=timeout_s, socket_connect_timeout=timeout_s, retry=Retry(NoBackoff(), 0))
    except ValueError:
        raise ConfigError("HOLDFAST_REDIS must look like redis://host:port/0") from None
