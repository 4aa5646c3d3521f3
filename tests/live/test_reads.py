"""Cache-aside reads on servers of the tests' own: dead stores, stale fills, storms, versions waited for, pages."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from ingest.http.errors import Problem, ProblemType
from ingest.reads.store import StoreReads
from schemas import views
from sinks import batch
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from tests.support.outputs import expected, in_redis, level, outcome, records
from tests.support.servers import OwnServer, own_database, own_redis
from tests.support.stack import connect

pytestmark = pytest.mark.live

WAIT_S = 0.4
CACHE_S = 20
"""A busy machine is no dead Redis."""


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_database(tmp_path_factory.mktemp("mysql")) as server:
        migrate(server.url)
        yield server


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def empty(mysql: OwnServer, cache: OwnServer) -> None:
    with redis.Redis.from_url(cache.url) as client:
        client.flushall()
    with connect(mysql.url) as connection, connection.cursor() as cursor:
        for table in (views.PRODUCTS, views.ORDERS, views.ORDER_LINES, views.USERS):
            cursor.execute(f"DELETE FROM {table}")
        connection.commit()


def put(store: Any, *values: dict[str, Any]) -> None:
    store.write(batch.fold(records(values)), {})
    store.close()


@asynccontextmanager
async def reading(redis_url: str, mysql_url: str, wait_s: float = WAIT_S, cache_s: float = CACHE_S) -> AsyncIterator[StoreReads]:
    reads = StoreReads(redis_url, mysql_url, "", wait_s, cache_s)
    try:
        yield reads
    finally:
        await reads.close()


def selects(server: OwnServer) -> int:
    with connect(server.url) as connection, connection.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Com_select'")
        (row,) = cursor.fetchall()
        return int(row[1])


@pytest.mark.parametrize("held", ["redis", "mysql"])
def test_either_store_gives_the_same_answer(mysql: OwnServer, cache: OwnServer, held: str) -> None:
    put(RedisStore(cache.url) if held == "redis" else MysqlStore(mysql.url), level("A", 3, frozen=True), outcome(7, 2, ["A", "B"]))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            product, order = await reads.product("A"), await reads.order(7)
            assert product is not None
            assert order is not None
            assert {**product, "age_ms": 0} == {**level("A", 3, frozen=True), "age_ms": 0}
            assert (order["order_id"], order["status"], order["version"], len(order["lines"])) == ("7", "confirmed", 2, 2)
            assert order["age_ms"] > 0
            assert await reads.product("a") is None
            assert await reads.order(8) is None
            assert (await reads.products(["A", "none"])).keys() == {"A"}

    asyncio.run(run())


def test_a_miss_is_filled_as_the_sink_writes(mysql: OwnServer, cache: OwnServer) -> None:
    values = [level("A", 3, frozen=True), outcome(7, 2, ["A", "\U0001f9f8"])]
    put(MysqlStore(mysql.url), *values)

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            await reads.product("A")
            await reads.order(7)
            assert (reads.cache_hits(), reads.cache_misses()) == ({"order": 0, "product": 0}, {"order": 1, "product": 1})
            await reads.product("A")
            assert (reads.cache_hits(), reads.cache_misses()) == ({"order": 0, "product": 1}, {"order": 1, "product": 1})

    asyncio.run(run())
    assert in_redis(cache.url) == expected(values).without_users()


def test_a_storm_of_misses_is_one_query(mysql: OwnServer, cache: OwnServer) -> None:
    put(MysqlStore(mysql.url), level("A", 3))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            await reads.product("unrelated")
            before = selects(mysql)
            found = await asyncio.gather(*(reads.product("A") for _ in range(500)))
            found += await asyncio.gather(*(reads.product("A") for _ in range(500)))
            assert {document and document["version"] for document in found} == {3}
            assert selects(mysql) - before == 1

    asyncio.run(run())


def test_an_old_row_never_replaces_a_newer_one(mysql: OwnServer, cache: OwnServer) -> None:
    put(MysqlStore(mysql.url), level("A", 3), outcome(7, 1, ["A"]))
    newer = [level("A", 4), outcome(7, 2, ["A"])]

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            fill_products, fill_orders = reads._products._rows.fill, reads._orders._rows.fill

            async def late(fill: Any, found: Any, written: dict[str, Any]) -> None:
                # The sink writes between the query and the fill.
                await asyncio.to_thread(put, RedisStore(cache.url), written)
                await fill(found)

            reads._products._rows.fill = lambda found: late(fill_products, found, newer[0])  # type: ignore[method-assign]
            reads._orders._rows.fill = lambda found: late(fill_orders, found, newer[1])  # type: ignore[method-assign]
            first = await reads.product("A"), await reads.order(7)
            again = await reads.product("A"), await reads.order(7)
            assert [x and x["version"] for x in first] == [3, 1]
            assert [x and x["version"] for x in again] == [4, 2]

    asyncio.run(run())
    assert in_redis(cache.url) == expected(newer).without_users()


def test_with_redis_dead_reads_come_from_mysql_and_later_from_redis_again(mysql: OwnServer, cache: OwnServer) -> None:
    put(MysqlStore(mysql.url), level("A", 3))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            await reads.product("A")
            cache.kill()
            try:
                for _ in range(20):
                    found = await reads.product("A")
                    assert found is not None
                assert reads.cache_is_away()
            finally:
                await asyncio.to_thread(cache.start)
            await until(lambda: not reads.cache_is_away())
            put(RedisStore(cache.url), level("A", 5))
            found = await reads.product("A")
            assert found is not None
            assert found["version"] == 5

    asyncio.run(run())


def test_a_frozen_redis_costs_one_time_out(mysql: OwnServer, cache: OwnServer) -> None:
    put(MysqlStore(mysql.url), level("A", 3), level("B", 2))

    async def run() -> None:
        async with reading(cache.url, mysql.url, cache_s=1) as reads:
            await reads.product("A")
            asked: list[int] = []
            fetch = reads._cache.hashes  # type: ignore[union-attr]

            async def counted(*args: Any) -> Any:
                asked.append(1)
                return await fetch(*args)

            reads._cache.hashes = counted  # type: ignore[union-attr, method-assign]
            cache.signal(signal.SIGSTOP)
            try:
                found = await asyncio.gather(*(reads.product("AB"[n % 2]) for n in range(50)))
                for _ in range(20):
                    found.append(await reads.product("A"))
                assert all(found)
                assert len(asked) == 1
            finally:
                cache.signal(signal.SIGCONT)
            await until(lambda: reads._cache.answers)  # type: ignore[union-attr]
            assert await reads.product("B")

    asyncio.run(run())


async def until(holds: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


def test_with_mysql_dead_what_is_cached_is_served_and_the_rest_is_503(mysql: OwnServer, cache: OwnServer) -> None:
    put(RedisStore(cache.url), level("A", 3), outcome(7))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            assert await reads.product("B") is None
            mysql.kill()
            try:
                assert await reads.product("A")
                assert await reads.order(7)
                for question in (reads.product("B"), reads.order(8), reads.products(["A", "B"]), reads.orders_of("17850", 5, None)):
                    with pytest.raises(Problem) as caught:
                        await question
                    assert (caught.value.kind, caught.value.retry_after_s) == (ProblemType.UNAVAILABLE, 1)
            finally:
                await asyncio.to_thread(mysql.start)
            await asyncio.sleep(1.1)
            assert await reads.product("B") is None

    asyncio.run(run())


def test_without_redis_and_mysql_it_is_503() -> None:
    async def run() -> None:
        async with reading("redis://127.0.0.1:1/0", "mysql://u:p@127.0.0.1:1/d") as reads:
            with pytest.raises(Problem) as caught:
                await reads.product("A")
            assert caught.value.kind is ProblemType.UNAVAILABLE

    asyncio.run(run())


@pytest.mark.parametrize("newer_in", ["mysql", "redis"])
def test_min_version_waits_for_the_write(mysql: OwnServer, cache: OwnServer, newer_in: str) -> None:
    put(RedisStore(cache.url), level("A", 3))
    writing = threading.Timer(0.2, put, (RedisStore(cache.url) if newer_in == "redis" else MysqlStore(mysql.url), level("A", 4)))

    async def run() -> None:
        async with reading(cache.url, mysql.url, 30) as reads:
            writing.start()
            found = await reads.product("A", 4)
            assert found is not None
            assert found["version"] == 4

    asyncio.run(run())
    writing.join()


def test_a_newer_row_of_mysql_is_taken_at_once_and_filled(mysql: OwnServer, cache: OwnServer) -> None:
    put(RedisStore(cache.url), level("A", 3))
    put(MysqlStore(mysql.url), level("A", 4))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            old, new, again = await reads.product("A"), await reads.product("A", 4), await reads.product("A")
            assert [x and x["version"] for x in (old, new, again)] == [3, 4, 4]

    asyncio.run(run())


def test_a_version_that_does_not_come_is_said(mysql: OwnServer, cache: OwnServer) -> None:
    put(RedisStore(cache.url), level("A", 3), outcome(7, user_id="ann"))

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            for question in (reads.product("A", 4), reads.product("none", 1), reads.order(7, 1, "bob")):
                with pytest.raises(Problem) as caught:
                    await question
                assert (caught.value.kind, caught.value.retry_after_s) == (ProblemType.NOT_YET, 1)
            assert await reads.order(7, 0, "bob") is None
            assert await reads.order(7, 1, "ann")

    asyncio.run(run())


def test_pages_show_each_order_once_newest_first(mysql: OwnServer, cache: OwnServer) -> None:
    # Three orders a millisecond: the ID decides between them.
    orders = [outcome(n, 1, ["A"], user_id="ann" if n % 5 else "bob", placed_at=1_291_200_000_000 + n // 3) for n in range(1, 41)]
    put(MysqlStore(mysql.url), *orders)

    async def run() -> None:
        async with reading(cache.url, mysql.url) as reads:
            found, cursor = await reads.orders_of("ann", 5, None)
            pages = [[*found]]
            while cursor is not None:
                found, cursor = await reads.orders_of("ann", 5, cursor)
                pages.append([*found])
            assert [int(x["order_id"]) for page in pages for x in page] == [n for n in range(40, 0, -1) if n % 5]
            assert [len(page) for page in pages] == [5] * 6 + [2]
            assert pages[0][0]["lines"][0]["product_id"] == "A"
            assert await reads.orders_of("nobody", 5, None) == ([], None)
            _, foreign = await reads.orders_of("bob", 1, None)
            for wrong in (foreign, "x", ""):
                with pytest.raises(Problem) as caught:
                    await reads.orders_of("ann", 5, wrong)
                assert caught.value.kind is ProblemType.MALFORMED_REQUEST

    asyncio.run(run())
