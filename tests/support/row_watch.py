"""Looks at rows of the stores over and over: none may ever be older than it was, or be gone."""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import islice
from typing import Any

import pymysql
import redis

from holdfast.stack.addresses import MysqlAddress
from schemas import views

Versions = dict[str, int]
Look = Callable[[Collection[str]], Versions]
"""Asked for rows (named by their Redis keys): the versions of those, and of some that are new."""
EVERY_S = 0.05
FOLLOWED = 300
NEW_PER_LOOK = 20
TIMEOUT_S = 3.0


class RowWatch:
    """Follows rows of the stores named. `backwards` says what went back, `looks` how often each store answered."""

    def __init__(self, **urls: str) -> None:
        looks = {"mysql": in_mysql, "redis": in_redis}
        self._looks: dict[str, Look] = {name: partial(looks[name], url) for name, url in urls.items()}
        self._seen: dict[str, Versions] = {name: {} for name in self._looks}
        self._excused: set[str] = set()
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self.backwards: list[str] = []
        self.looks = dict.fromkeys(self._looks, 0)

    @contextmanager
    def watching(self) -> Iterator[RowWatch]:
        """Look while the block runs."""
        threads = [threading.Thread(target=self._follow, args=(name,), daemon=True) for name in self._looks]
        for thread in threads:
            thread.start()
        try:
            yield self
        finally:
            self._stop.set()
            for thread in threads:
                thread.join(60)

    @contextmanager
    def excused(self, name: str) -> Iterator[None]:
        """A store is emptied or set back on purpose while the block runs: what was seen of it, and is seen meanwhile, does not count."""
        self._excused.add(name)
        try:
            yield
        finally:
            with self._lock:
                self._seen[name] = {}
                self._excused.discard(name)

    def _follow(self, name: str) -> None:
        while not self._stop.wait(EVERY_S):
            seen = self._seen[name]
            # What a store does not answer is no news; the next look may tell.
            with suppress(pymysql.MySQLError, redis.RedisError, OSError):
                self._compare(name, seen, self._looks[name](list(seen)))

    def _compare(self, name: str, seen: Versions, found: Versions) -> None:
        with self._lock:
            if self._seen[name] is not seen or name in self._excused:
                return
            self.looks[name] += 1
            self.backwards += [f"{name}: {row} went from {was} to {found.get(row)}" for row, was in seen.items() if found.get(row, 0) < was]
            merged = seen | found
            self._seen[name] = dict(islice(merged.items(), max(0, len(merged) - FOLLOWED), None))


def in_mysql(url: str, rows: Collection[str]) -> Versions:
    """Products, and orders with their lines: an order's version is that of its oldest line."""
    at = MysqlAddress.parse(url)
    timeouts: dict[str, Any] = {"connect_timeout": TIMEOUT_S, "read_timeout": TIMEOUT_S, "autocommit": True}
    connection = pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, **timeouts)
    ids = [int(row.partition(":")[2]) for row in rows if row.startswith("order:")] or [0]
    with connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT product_id, version FROM {views.PRODUCTS}")
        found = {views.stock_key(product_id): version for product_id, version in cursor.fetchall()}
        newest = f"(SELECT order_id FROM {views.ORDERS} ORDER BY order_id DESC LIMIT {NEW_PER_LOOK})"
        for order_ids, values in ((f"IN ({','.join(['%s'] * len(ids))})", ids), (f"IN (SELECT order_id FROM {newest} AS newest)", [])):
            cursor.execute(
                f"SELECT o.order_id, LEAST(o.version, MIN(l.version)) FROM {views.ORDERS} o JOIN {views.ORDER_LINES} l USING (order_id)"
                f" WHERE o.order_id {order_ids} GROUP BY o.order_id, o.version",
                values,
            )
            found |= {views.order_key(order_id): version for order_id, version in cursor.fetchall()}
    return found


def in_redis(url: str, rows: Collection[str]) -> Versions:
    """Products and orders: those asked for, and what a scan comes upon first."""
    with redis.Redis.from_url(url, socket_timeout=TIMEOUT_S, socket_connect_timeout=TIMEOUT_S, decode_responses=True) as client:
        scanned = [key for pattern in (views.stock_key("*"), "order:*") for key in client.scan(0, pattern, count=400)[1][:NEW_PER_LOOK]]
        keys = list(dict.fromkeys([*rows, *scanned]))
        with client.pipeline(transaction=False) as pipeline:
            for key in keys:
                pipeline.hget(key, "version")
            return {key: int(version) for key, version in zip(keys, pipeline.execute(), strict=True) if version is not None}
