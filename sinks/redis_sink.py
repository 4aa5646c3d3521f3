"""The Redis store: rows by a script that compares versions, then the positions by one that compares positions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, Final
from urllib.parse import urlsplit

import msgspec
import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

import failpoints
from schemas import views
from sinks import plain
from sinks.batch import Batch, Move
from sinks.errors import NotNowError, PositionMovedError, SinkError
from sinks.rows import Level, Outcome, Partition, order_values, product_values
from sinks.store import compare

log = structlog.get_logger()

TIMEOUT_S: Final = 30
CONNECT_TIMEOUT_S: Final = 5
HASHES_PER_CALL: Final = 200
LOADING_DELAY_S: Final = 0.5
FULL_DELAY_S: Final = 2.0
# The other policies that evict take only keys that expire, and none of ours does.
EVICTING: Final = "allkeys-"

MOVE_POSITIONS: Final = """
-- KEYS: positions. ARGV: per key, where it must stand and where it is to stand. Nothing is written unless all stand so.
for k = 1, #KEYS do
  if redis.call('GET', KEYS[k]) ~= ARGV[2 * k - 1] then return k end
end
for k = 1, #KEYS do redis.call('SET', KEYS[k], ARGV[2 * k]) end
return 0
"""

PRODUCT_FIELDS: Final = views.PRODUCT_COLUMNS
ORDER_FIELDS: Final = (*views.ORDER_COLUMNS, "lines")
NOT_NOW: Final = ("OOM", "LOADING", "READONLY", "MISCONF", "BUSY", "MASTERDOWN", "NOREPLICAS", "UNKILLABLE", "CLUSTERDOWN", "TRYAGAIN")
NO_ENTRY: Final = ("NOAUTH", "WRONGPASS", "NOPERM")
NOT_OURS: Final = "WRONGTYPE"


class RedisStore:
    """Keeps batches in the Redis hashes of schemas/views.py.

    Rows and positions are two steps: a position moves only when every row before it was acknowledged, and Redis writes
    its file in the order of the commands, so after any crash the rows are at least as new as the positions.
    `prefix` goes before every key: rows that lie beside the live ones have one.
    """

    name = "redis"

    def __init__(self, redis_url: str, prefix: str = "") -> None:
        self.prefix = prefix
        if urlsplit(redis_url).scheme not in {"redis", "rediss", "unix"}:
            raise SinkError("HOLDFAST_REDIS must look like redis://host:port/0")
        try:
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=TIMEOUT_S, socket_connect_timeout=CONNECT_TIMEOUT_S, retry=Retry(NoBackoff(), 0), decode_responses=True
            )
        except ValueError as error:
            raise SinkError(f"HOLDFAST_REDIS cannot be used: {error}") from None
        self._write_newer = self._redis.register_script(views.WRITE_NEWER_PACKED)
        self._move_positions = self._redis.register_script(MOVE_POSITIONS)

    def open(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See Store. A new position is written at once: a key that is missing later means that Redis was emptied.

        Raises SinkError where Redis may drop rows of its own accord: nobody would hear of it.
        """
        self._must_keep()
        with classified():
            for partition in partitions:
                self._redis.set(self._position_key(partition), 0, nx=True)
        found = self.positions(partitions)
        return {partition: found[partition] or 0 for partition in partitions}

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Store."""
        with classified():
            self._write_hashes(PRODUCT_FIELDS, ((self.prefix + views.stock_key(k), packed_product(x)) for k, x in batch.products.items()))
            failpoints.reach("sink-redis.half-written")
            self._write_hashes(ORDER_FIELDS, ((self.prefix + views.order_key(k), packed_order(x)) for k, x in batch.orders.items()))
            failpoints.reach("sink-redis.written-before-commit")
            with failpoints.meanwhile("sink-redis.commit-sent"):
                self._move(moves)

    def check(self, positions: Mapping[Partition, int]) -> None:
        """See Store."""
        if difference := compare(positions, self.positions(positions)):
            raise PositionMovedError(difference)

    def close(self) -> None:
        """See Store."""
        self._redis.close()

    def _position_key(self, partition: Partition) -> str:
        return self.prefix + views.position_key(*partition)

    def _must_keep(self) -> None:
        try:
            with classified():
                policy = str(self._redis.info("memory").get("maxmemory_policy", ""))
        except SinkError as error:
            log.warning("Redis does not say whether it evicts keys; it must not", detail=str(error))
            return
        if policy.startswith(EVICTING):
            raise SinkError(f"Redis evicts keys when its memory is full (maxmemory-policy {policy}), and rows would be lost unseen: set it to noeviction")

    def positions(self, partitions: Collection[Partition]) -> dict[Partition, int | None]:
        """Return where partitions stand; None: never begun."""
        if not partitions:
            return {}
        with classified():
            found: Any = self._redis.mget([self._position_key(partition) for partition in partitions])
        return {partition: None if at is None else int(at) for partition, at in zip(partitions, found, strict=True)}

    def _write_hashes(self, fields: Sequence[str], rows: Iterable[tuple[str, bytes]]) -> None:
        """One call of the script for many hashes: half the CPU, on both sides, of one call for each."""
        head: list[Any] = [len(fields), fields.index("version") + 1, *fields]
        remaining = iter(rows)
        while some := list(islice(remaining, HASHES_PER_CALL)):
            self._write_newer(keys=[key for key, _ in some], args=[*head, *(values for _, values in some)])

    def _move(self, moves: Mapping[Partition, Move]) -> None:
        if not moves:
            return
        keys = [self._position_key(partition) for partition in moves]
        wrong: Any = self._move_positions(keys=keys, args=list(chain.from_iterable(moves.values())))
        if wrong:
            (topic, number), move = list(moves.items())[wrong - 1]
            raise PositionMovedError(f"{topic}[{number}] is not at {move.expected}")


def product_hash(level: Level) -> list[Any]:
    """Return the values of a product's hash, in the order of PRODUCT_FIELDS."""
    return [int(value) if isinstance(value, bool) else value for value in product_values(level)]


def order_hash(outcome: Outcome) -> list[Any]:
    """Return the values of an order's hash, in the order of ORDER_FIELDS."""
    return [*order_values(outcome), msgspec.json.encode(outcome["lines"])]


def packed_product(level: Level) -> bytes:
    """Return `product_hash` as WRITE_NEWER_PACKED wants it."""
    return level.packed() if isinstance(level, plain.Product) else _packed(product_hash(level))


def packed_order(outcome: Outcome) -> bytes:
    """Return `order_hash` as WRITE_NEWER_PACKED wants it."""
    return outcome.packed() if isinstance(outcome, plain.Order) else _packed(order_hash(outcome))


def _packed(values: Iterable[Any]) -> bytes:
    """As texts: the script's own numbers have 53 bits."""
    return msgspec.msgpack.encode([value.decode() if isinstance(value, bytes) else str(value) for value in values])


@contextmanager
def classified() -> Iterator[None]:
    """Turn the client's errors into what they mean; those not foreseen stay what they are."""
    try:
        yield
    except redis.AuthenticationError as error:
        raise SinkError(f"Redis does not let us in: {error}") from error
    except redis.BusyLoadingError as error:
        raise NotNowError(f"Redis is loading its file: {error}", LOADING_DELAY_S) from error
    except (redis.ConnectionError, redis.TimeoutError, OSError) as error:
        raise NotNowError(f"Redis does not answer: {error}") from error
    except redis.ResponseError as error:
        raise _meaning(error) from error


def _meaning(error: redis.ResponseError) -> Exception:
    # Some of the codes are cut off by the client into a class of their own (ReadOnlyError, OutOfMemoryError, ...).
    said = str(error)
    if isinstance(error, redis.exceptions.OutOfMemoryError) or said.startswith("OOM"):
        return NotNowError(f"Redis is out of memory: {said}", FULL_DELAY_S)
    if isinstance(error, redis.exceptions.NoPermissionError) or said.startswith(NO_ENTRY):
        return SinkError(f"Redis does not allow it: {said}")
    if NOT_OURS in said:
        return SinkError(f"Redis holds something else under one of our keys: give the sink a Redis database of its own, or empty this one ({said})")
    if isinstance(error, redis.exceptions.ReadOnlyError) or said.startswith(NOT_NOW):
        return NotNowError(f"Redis cannot write now: {said}")
    return error
