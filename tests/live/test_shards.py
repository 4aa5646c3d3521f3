"""Order lines over several databases: each has every line of its own once, and what is read is the whole order."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
from click.testing import CliRunner

from holdfast.audit.store_reading import read_stores
from holdfast.cli import main
from ingest.errors import ConfigError, StoreError
from ingest.http.errors import Problem, ProblemType
from ingest.lookups import Lookups
from ingest.reads.store import StoreReads
from ingest.reads.tables import Tables
from schemas import views
from schemas.shards import shard_of, shard_sink
from sinks import batch
from sinks.batch import Move
from sinks.errors import NotNowError, PositionMovedError
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from sinks.shards import ShardedStore, own_moves
from tests.support.outputs import LINE_FIELDS, OUTCOMES, expected, in_mysql, level, outcome, records
from tests.support.stack import connect, new_database

pytestmark = pytest.mark.live
P0, P1 = (OUTCOMES, 0), (OUTCOMES, 1)
NOBODY = "mysql://u:p@127.0.0.1:1/d"
PRODUCTS = [f"P{n}" for n in range(12)]


@pytest.fixture(params=[1, 3])
def databases(request: pytest.FixtureRequest, mysql_url: str) -> Iterator[list[str]]:
    """The one database, and one or three shards."""
    with ExitStack() as stack:
        urls = [stack.enter_context(new_database(mysql_url)) for _ in range(1 + request.param)]
        for url in urls:
            migrate(url)
        yield urls


@pytest.fixture
def store(databases: list[str]) -> Iterator[ShardedStore]:
    with closing(ShardedStore(databases[0], databases[1:])) as found:
        yield found


def write(store: Any, values: Any, moves: Any = None) -> None:
    store.write(batch.fold(records(values)), moves or {})


def lines_in(url: str) -> dict[tuple[int, int, int], dict[str, Any]]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT order_id, version, {', '.join(LINE_FIELDS)} FROM {views.ORDER_LINES}")
        return {(order_id, version, line): dict(zip(LINE_FIELDS, (line, *rest), strict=True)) for order_id, version, line, *rest in cursor.fetchall()}


def check_shards(shards: list[str], outcomes: list[dict[str, Any]]) -> None:
    """Every line of the outcomes is on its own shard, and nowhere else."""
    for number, url in enumerate(shards):
        wanted = {
            (o["order_id"], o["version"], x["line"]): {name: x[name] for name in LINE_FIELDS}
            for o in outcomes
            for x in o["lines"]
            if shard_of(x["product_id"], len(shards)) == number
        }
        assert lines_in(url) == wanted


def test_each_line_is_on_its_shard_and_the_order_reads_whole(databases: list[str], store: ShardedStore) -> None:
    values = [level("P1"), outcome(1, 1, PRODUCTS), outcome(2, 2, PRODUCTS[:3])]
    store.open([P0])
    write(store, values, {P0: Move(0, 3)})
    check_shards(databases[1:], values[1:])
    assert lines_in(databases[0]) == {}
    with closing(Tables(databases[0], ",".join(databases[1:]))) as tables:
        found = tables.orders([1, 2, 3])
        assert {order_id: order["lines"] for order_id, order in found.items()} == expected(values).lines
        assert tables.products(["P1"])["P1"]["version"] == 1


def test_gateway_command_and_audit_read_the_same(databases: list[str], store: ShardedStore, fresh_redis: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order, shards = outcome(1, 1, PRODUCTS), ",".join(databases[1:])
    store.open([P0])
    write(store, [order], {P0: Move(0, 1)})
    RedisStore(fresh_redis).open([P0])
    for name, value in (("KAFKA", "127.0.0.1:1"), ("MYSQL", databases[0]), ("REDIS", fresh_redis), ("MYSQL_SHARDS", shards)):
        monkeypatch.setenv(f"HOLDFAST_{name}", value)
    printed = CliRunner().invoke(main, ["order", "1", "--json"])
    assert (printed.exit_code, json.loads(printed.stdout)["store"]) == (0, "mysql")
    assert json.loads(printed.stdout)["lines"] == order["lines"]

    async def run() -> Any:
        reads = StoreReads("", databases[0], shards, 0)
        try:
            return await reads.order(1)
        finally:
            await reads.close()

    assert [x["product_id"] for x in asyncio.run(run())["lines"]] == PRODUCTS
    stores = read_stores(databases[0], fresh_redis, lambda *_: None, databases[1:])
    assert sorted(stores.mysql[views.ORDER_LINES]["product_id"]) == sorted(PRODUCTS)
    assert stores.misplaced == []
    names = {sink for sink, _, _ in stores.positions}
    assert names == {"mysql", "redis", *(shard_sink(n, len(databases) - 1) for n in range(len(databases) - 1))}


def test_the_audit_finds_a_line_on_a_shard_that_is_not_its_own(databases: list[str], store: ShardedStore, fresh_redis: str) -> None:
    shards = databases[1:]
    if len(shards) == 1:
        pytest.skip("one shard has all lines")
    with closing(MysqlStore(shards[0])) as wrong:
        write(wrong, [outcome(1, 1, PRODUCTS)])
    stores = read_stores(databases[0], fresh_redis, lambda *_: None, shards)
    assert {line for _, line, _, _ in stores.misplaced} == {n for n, product in enumerate(PRODUCTS, 1) if shard_of(product, 3) != 0}


def test_a_batch_that_some_have_is_taken_by_the_rest(databases: list[str], store: ShardedStore) -> None:
    first, second, third = outcome(1, 1, PRODUCTS), outcome(1, 2, PRODUCTS), outcome(2, 1, PRODUCTS)
    store.open([P0, P1])
    write(store, [first], {P0: Move(0, 1)})
    # A sink that died when one shard had the next batch, and nobody else.
    ahead = len(databases) - 2
    store._shards[ahead].write(batch.fold(records([second])), {P0: Move(1, 2)})
    with closing(ShardedStore(databases[0], databases[1:])) as following:
        assert following.open([P0, P1]) == {P0: 1, P1: 0}
        following.check({P0: 1, P1: 0})
        write(following, [second], {P0: Move(1, 2)})
        write(following, [third], {P0: Move(2, 3)})
        following.check({P0: 3, P1: 0})
    check_shards(databases[1:], [second, third])
    assert in_mysql(databases[0]).orders.keys() == {1, 2}


def test_a_shard_that_was_emptied_is_filled_again(databases: list[str], store: ShardedStore) -> None:
    values = [outcome(1, 1, PRODUCTS), outcome(2, 1, PRODUCTS)]
    store.open([P0])
    write(store, values, {P0: Move(0, 2)})
    with connect(databases[1]) as connection, connection.cursor() as cursor:
        for table in (views.ORDER_LINES, views.SINK_POSITIONS):
            cursor.execute(f"DELETE FROM {table}")
        connection.commit()
    with pytest.raises(PositionMovedError, match="at -1"):
        store.check({P0: 2})
    assert store.open([P0]) == {P0: 0}
    write(store, values, {P0: Move(0, 2)})
    check_shards(databases[1:], values)
    store.check({P0: 2})


def test_a_second_writer_is_fenced(databases: list[str], store: ShardedStore) -> None:
    with closing(ShardedStore(databases[0], databases[1:])) as zombie:
        store.open([P0])
        zombie.open([P0])
        write(store, [outcome(1)], {P0: Move(0, 1)})
        with pytest.raises(PositionMovedError):
            write(zombie, [outcome(2)], {P0: Move(0, 2)})
    store.check({P0: 1})
    assert in_mysql(databases[0]).orders.keys() == {1}


def test_a_shard_that_is_down_holds_the_position_and_is_503_for_what_is_not_cached(databases: list[str], store: ShardedStore) -> None:
    store.open([P0])
    write(store, [outcome(1, 1, PRODUCTS)], {P0: Move(0, 1)})
    with closing(ShardedStore(databases[0], [*databases[1:-1], NOBODY])) as broken, pytest.raises(NotNowError):
        write(broken, [outcome(2, 1, PRODUCTS)], {P0: Move(1, 2)})
    assert in_mysql_orders(databases[0]) == {1}

    async def run() -> None:
        reads = StoreReads("", databases[0], ",".join([*databases[1:-1], NOBODY]), 0)
        try:
            with pytest.raises(Problem) as caught:
                await reads.order(1)
            assert caught.value.kind is ProblemType.UNAVAILABLE
            assert await reads.order(9) is None
        finally:
            await reads.close()

    asyncio.run(run())


def in_mysql_orders(url: str) -> set[int]:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT order_id FROM {views.ORDERS}")
        return {order_id for (order_id,) in cursor.fetchall()}


def test_lines_that_are_ahead_of_their_order_are_not_shown(databases: list[str], store: ShardedStore) -> None:
    store.open([P0])
    write(store, [outcome(1, 1, PRODUCTS)], {P0: Move(0, 1)})
    store._shards[0].write(batch.fold(records([outcome(1, 2, PRODUCTS)])), {P0: Move(1, 2)})
    with closing(Tables(databases[0], ",".join(databases[1:]))) as tables:
        with pytest.raises(StoreError, match="being written"):
            tables.orders([1])
        finish(databases)
        assert tables.orders([1])[1]["version"] == 2


def finish(databases: list[str]) -> None:
    with closing(ShardedStore(databases[0], databases[1:])) as following:
        following.open([P0])
        write(following, [outcome(1, 2, PRODUCTS)], {P0: Move(1, 2)})


def test_rows_left_from_another_number_of_shards_are_not_shown(databases: list[str], store: ShardedStore) -> None:
    with closing(MysqlStore(databases[1])) as before:
        write(before, [outcome(1, 1, PRODUCTS)])
    store.open([P0])
    write(store, [outcome(1, 2, PRODUCTS)], {P0: Move(0, 1)})
    with closing(Tables(databases[0], ",".join(databases[1:]))) as tables:
        assert [x["product_id"] for x in tables.orders([1])[1]["lines"]] == PRODUCTS


def test_migrate_and_wrong_lists(mysql_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with new_database(mysql_url) as main_url, new_database(mysql_url) as shard:
        monkeypatch.setenv("HOLDFAST_MYSQL", main_url)
        monkeypatch.setenv("HOLDFAST_MYSQL_SHARDS", shard)
        done = json.loads(CliRunner().invoke(main, ["migrate", "--json"]).stdout)
        assert [each["after"] for each in done["shards"]] == [done["after"]]
        monkeypatch.setenv("HOLDFAST_MYSQL_SHARDS", f"{shard},redis://u:secret@h/0")
        for command in (["migrate"], ["order", "1"], ["audit"]):
            monkeypatch.setenv("HOLDFAST_KAFKA", "127.0.0.1:1")
            monkeypatch.setenv("HOLDFAST_REDIS", "redis://127.0.0.1:1/0")
            said = CliRunner().invoke(main, command)
            assert said.exit_code in {1, 2}
            assert "HOLDFAST_MYSQL_SHARDS" in said.stderr
            assert "secret" not in said.output + said.stderr
    with pytest.raises(ConfigError, match="HOLDFAST_MYSQL_SHARDS"):
        Lookups("redis://127.0.0.1:1/0", main_url, "x")


@pytest.mark.parametrize(
    ("ahead", "own"),
    [(0, {P0: Move(5, 9)}), (5, {P0: Move(5, 9)}), (7, {P0: Move(7, 9)}), (9, {}), (12, {})],
)
def test_a_database_never_moves_backwards(ahead: int, own: dict[Any, Move]) -> None:
    assert own_moves({P0: Move(5, 9)}, {P0: ahead}) == own
