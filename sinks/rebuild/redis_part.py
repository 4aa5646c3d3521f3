"""Hashes rebuilt under a prefix of their own in the same Redis, and a script that puts each in the live one's place.

Redis has no snapshot and a hash is on its own, so each is compared, and later replaced, by its version: one that live traffic has
meanwhile made newer is compared with the record of the log that has that version, and stays (docs/decisions/0015).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Final

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from schemas import views
from sinks.batch import Batch, Move
from sinks.rebuild.hashes import FORWARD, SWAP, Hash, Judgement, hash_of, judge, key_of, plain, version_of
from sinks.rebuild.part import CatchUp, Differences, Listener
from sinks.rebuild.selection import Chosen, Selection
from sinks.redis_sink import CONNECT_TIMEOUT_S, TIMEOUT_S, RedisStore, classified
from sinks.rows import Partition, Record, UnstorableError, read

PREFIX: Final = "rebuild:"
STATE: Final = PREFIX + "state"
AT_ONCE: Final = 500
KINDS: Final = (views.stock_key("*"), views.order_key("*"))  # type: ignore[arg-type]  # patterns of both


class RedisPart:
    """The one Redis, filled by the sink's own store under a prefix."""

    name = "redis"

    def __init__(self, url: str) -> None:
        self._store = RedisStore(url, PREFIX)
        self._live = RedisStore(url)
        self._redis = redis.Redis.from_url(
            url, socket_timeout=TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, retry=Retry(NoBackoff(), 0), decode_responses=True
        )
        self._swap = self._redis.register_script(SWAP)
        self._forward = self._redis.register_script(FORWARD)
        self._selection = Selection()
        self._partitions: list[Partition] = []
        self._unknown: dict[str, str] = {}
        """Live keys whose version the log does not know -> that version."""

    def begin(self, selection: Selection, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See Part."""
        self._selection, self._partitions = selection, sorted(partitions)
        with classified():
            if not selection.is_whole or self._redis.get(STATE) != str(selection):
                self.clean()
            self._redis.set(STATE, str(selection))
        return self._store.open(partitions)

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Part."""
        self._store.write(batch, moves)

    def finish_bulk(self) -> None:
        """See Part: Redis has no indexes."""

    def live_positions(self) -> dict[Partition, int]:
        """See Part."""
        return {place: at for place, at in self._live.positions(self._partitions).items() if at is not None}

    def rows(self) -> int:
        """See Part."""
        with classified():
            return sum(1 for pattern in KINDS for _ in self._redis.scan_iter(PREFIX + pattern, count=AT_ONCE))

    def compare(self, chosen: Chosen, catch_up: CatchUp) -> Differences:
        """See Part. What live traffic has made newer than the rebuilt rows is compared with the log as far as it then goes."""
        found, later = Differences(), dict[str, Hash | None]()
        self._unknown = {}
        with classified():
            for keys in _runs(self._keys(chosen)):
                for key, live, rebuilt in zip(keys, self._hashes(keys), self._hashes([PREFIX + key for key in keys]), strict=True):
                    judgement = judge(live, rebuilt)
                    if judgement is Judgement.LATER:
                        later[key] = live
                    elif judgement is not Judgement.SAME:
                        found.add(judgement.value, self.name, key)
        known = _Witness(later)
        if later:
            catch_up(watch=known.hear)
        for key, live in later.items():
            if key not in known.confirmed:
                self._unknown[key] = (live or {}).get("version", "")
                found.add("changed" if key in known.heard or self._has(PREFIX + key) else "extra", self.name, key)
        return found

    def swap(self, chosen: Chosen, catch_up: CatchUp, listen: Listener) -> None:
        """See Part. Nothing waits: each call replaces some hashes, and leaves those that are newer by now."""
        catch_up()
        with classified():
            done = 0
            for keys in _runs(self._keys(chosen)):
                pairs = list(chain.from_iterable((key, PREFIX + key) for key in keys))
                self._swap(keys=pairs, args=[self._unknown.get(key, "") for key in keys])
                done += len(keys)
                listen("redis: swapping", done, 0)
            if self._selection.is_whole:
                at = {place: position for place, position in self._store.positions(self._partitions).items() if position is not None}
                self._forward(keys=[views.position_key(*place) for place in at], args=list(at.values()))
        listen("redis: swapped", done, done)

    def clean(self) -> None:
        """See Part."""
        with classified():
            for keys in _runs(self._redis.scan_iter(PREFIX + "*", count=AT_ONCE)):
                self._redis.unlink(*keys)

    def close(self) -> None:
        """See Part."""
        for store in (self._store, self._live, self._redis):
            store.close()

    def _keys(self, chosen: Chosen) -> Iterator[str]:
        """Yield the live keys' names of everything rebuilt or live (of the selection), each once or more."""
        if not self._selection.is_whole:
            yield from map(views.stock_key, sorted(chosen.products))
            yield from map(views.order_key, sorted(chosen.orders))
            return
        for pattern in KINDS:
            for keys in _runs(self._redis.scan_iter(PREFIX + pattern, count=AT_ONCE)):
                yield from (key.removeprefix(PREFIX) for key in keys)
            for keys in _runs(self._redis.scan_iter(pattern, count=AT_ONCE)):
                there = self._there([PREFIX + key for key in keys])
                yield from (key for key, is_there in zip(keys, there, strict=True) if not is_there)

    def _there(self, keys: Sequence[str]) -> list[bool]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.exists(key)
        return [bool(answer) for answer in pipeline.execute()]

    def _has(self, key: str) -> bool:
        with classified():
            return bool(self._redis.exists(key))

    def _hashes(self, keys: Sequence[str]) -> list[Hash | None]:
        pipeline = self._redis.pipeline(transaction=False)
        for key in keys:
            pipeline.hgetall(key)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
        # Something that is no hash at all has to be replaced like a hash without a version.
        return [{"": "no hash"} if isinstance(answer, redis.ResponseError) else answer or None for answer in answers]


class _Witness:
    """Hears the log's records and says which of the live hashes they confirm."""

    def __init__(self, held: Mapping[str, Hash | None]) -> None:
        self._held = held
        self.heard: set[str] = set()
        self.confirmed: set[str] = set()

    def hear(self, record: Record) -> None:
        """Take one record; what no store takes says nothing."""
        try:
            name, value = read(record)
        except UnstorableError:
            return
        key = key_of(name, value)
        live = self._held.get(key) if key is not None else None
        if key is None or live is None:
            return
        self.heard.add(key)
        if value["version"] == version_of(live) and plain(hash_of(name, value)) == plain(live):
            self.confirmed.add(key)


def _runs(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while some := list(islice(remaining, AT_ONCE)):
        yield some
