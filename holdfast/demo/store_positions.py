"""Where the two stores stand, as they themselves say, and since when."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import pymysql
import redis

from holdfast.stack.addresses import Endpoints, MysqlAddress
from holdfast.stack.errors import StackError
from schemas import views
from schemas.secure import mysql_settings
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS


class StoreError(StackError):
    """A store does not say where it stands."""


class StorePlace(NamedTuple):
    """A partition that a store is filled from; the topic by its name on the brokers."""

    store: str
    topic: str
    partition: int


Positions = Mapping[StorePlace, int]
STORES = ("mysql", "redis")
TOPICS = (ORDER_OUTCOMES, STOCK_LEVELS)


class StorePositions:
    """Reads `sink_positions` and the Redis position keys: they move with the rows, not some time after as a group's offsets do."""

    def __init__(self, at: Endpoints, prefix: str, partitions: int) -> None:
        self._mysql = MysqlAddress.parse(at.mysql)
        self._places = [(topic.named(prefix), number) for topic in TOPICS for number in range(partitions)]
        self._redis = redis.Redis.from_url(at.redis)
        self._connection = self._connect()

    def close(self) -> None:
        """Let go of the connections."""
        self._connection.close()
        self._redis.close()

    def read(self) -> Positions:
        """Return where each store stands in each partition, 0 where it has not begun; raises StoreError."""
        try:
            return self._of_mysql() | self._of_redis()
        except (pymysql.MySQLError, redis.RedisError) as error:
            raise StoreError(f"a store does not say where it stands: {error}") from error

    def _connect(self) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
        at = self._mysql
        # Without autocommit every SELECT would see the first one's snapshot.
        return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, autocommit=True, **mysql_settings())

    def _of_mysql(self) -> dict[StorePlace, int]:
        with self._connection.cursor() as cursor:
            cursor.execute(f"SELECT topic, partition_no, position FROM {views.SINK_POSITIONS} WHERE sink = %s", ("mysql",))  # noqa: S608
            found = {(topic, number): position for topic, number, position in cursor.fetchall()}
        return {StorePlace("mysql", *place): found.get(place, 0) for place in self._places}

    def _of_redis(self) -> dict[StorePlace, int]:
        found = self._redis.mget([views.position_key(*place) for place in self._places])
        return {StorePlace("redis", *place): int(position or 0) for place, position in zip(self._places, found, strict=True)}


class History:
    """The positions as they changed: from it follows when the last row was written. Pure but for the clock it is given."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._changes: list[tuple[float, Positions]] = []

    def note(self, positions: Positions) -> bool:
        """Note the positions of now; returns whether they changed."""
        if self._changes and self._changes[-1][1] == positions:
            return False
        self._changes.append((self._clock(), positions))
        return True

    def reached(self, ends: Positions) -> float | None:
        """Return the time (s) at which every store was first seen at or beyond these ends; None if they are not there yet."""
        return next((at for at, positions in self._changes if _covers(positions, ends)), None)


def _covers(positions: Positions, ends: Positions) -> bool:
    return all(positions.get(place, 0) >= end for place, end in ends.items())


def in_every_store(ends: Iterable[tuple[str, int, int]]) -> dict[StorePlace, int]:
    """Return (topic, partition, end) as ends for both stores."""
    return {StorePlace(store, topic, number): end for topic, number, end in ends for store in STORES}
