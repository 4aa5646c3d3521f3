"""The stores rebuilt from the log beside live ones: equal row by row, put in their place, and nothing in between is seen."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import pytest
import redis
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from generations import Step
from holdfast.cli import main
from holdfast.repartition.register import Register
from ingest.errors import StoreError
from ingest.reads.tables import Tables
from schemas import views
from sinks.config import settings
from sinks.errors import SinkError
from sinks.migrate import migrate
from sinks.rebuild.run import rebuild
from sinks.rebuild.selection import Selection
from sinks.rows import INPUTS
from tests.support.outputs import expected, in_mysql, in_redis, level, outcome
from tests.support.row_watch import RowWatch
from tests.support.sink_processes import Log, Sink, mysql_sink, redis_sink, traffic
from tests.support.stack import connect, new_database

pytestmark = pytest.mark.live
INDEXES = "SELECT table_name, index_name, column_name FROM information_schema.statistics WHERE table_schema = DATABASE() ORDER BY 1, 2, seq_in_index"


@pytest.fixture
def log(kafka: str, topic_prefix: str) -> Log:
    return Log(kafka, topic_prefix)


class Shop:
    """A log and both sinks; `run` is the command."""

    def __init__(self, log: Log, mysql: Sink, redis_store: Sink) -> None:
        self.log, self.mysql, self.redis = log, mysql, redis_store
        self.environment = mysql.environment | redis_store.environment
        self.mysql_url, self.redis_url = mysql.environment["HOLDFAST_MYSQL"], redis_store.environment["HOLDFAST_REDIS"]

    def start(self) -> None:
        self.mysql.start()
        self.redis.start()

    def catch_up(self) -> None:
        self.mysql.catch_up(self.log)
        self.redis.catch_up(self.log)

    def run(self, *arguments: str, code: int = 0) -> dict[str, Any]:
        result = CliRunner(env=self.environment).invoke(main, ["replay", "stores", "--json", *arguments])
        assert result.exit_code == code, result.output + repr(result.exception)
        found: dict[str, Any] = json.loads(result.stdout)
        return found

    def sql(self, *statements: str) -> list[Any]:
        with connect(self.mysql_url) as connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
            connection.commit()
            return list(cursor.fetchall())

    def must_hold(self) -> None:
        everything = expected(self.log.values)
        assert in_mysql(self.mysql_url) == everything
        assert in_redis(self.redis_url) == everything.without_users()

    def must_be_tidy(self) -> None:
        database = self.mysql_url.rpartition("/")[2]
        assert self.sql(f"SHOW DATABASES LIKE '{database}\\_rebuild'") == []
        with redis.Redis.from_url(self.redis_url) as client:
            assert list(client.scan_iter("rebuild:*")) == []


@pytest.fixture
def shop(log: Log, fresh_database: str, fresh_redis: str, tmp_path: Path) -> Iterator[Shop]:
    found = Shop(log, mysql_sink(log, tmp_path, fresh_database), redis_sink(log, tmp_path, fresh_redis))
    yield found
    found.mysql.end()
    found.redis.end()
    found.sql(f"DROP DATABASE IF EXISTS {fresh_database.rpartition('/')[2]}_rebuild")


def harm(shop: Shop) -> None:
    """Make rows wrong behind the sinks' back: changed, missing and extra ones, in both stores."""
    shop.sql(
        f"UPDATE {views.ORDERS} SET amount = amount + 1 WHERE order_id = 7",
        f"UPDATE {views.PRODUCTS} SET available = 5, version = 99999 WHERE product_id = 'P3'",
        f"DELETE FROM {views.ORDER_LINES} WHERE order_id = 8 AND line = 2",
        f"INSERT INTO {views.ORDER_LINES} SELECT order_id, 77, product_id, 1, 1, status, refusal, 0, version FROM order_lines WHERE order_id = 9 AND line = 1",
        f"DELETE FROM {views.USERS} WHERE user_id = 'u3'",
    )
    with redis.Redis.from_url(shop.redis_url) as client:
        client.hset("order:7", "amount", 1)
        client.hset("stock:P3", mapping={"available": 5, "version": 99999})
        client.delete("order:8")
        client.hset("order:777777", mapping={"version": 3, "status": "CONFIRMED"})
        client.set("order:10", "no hash") if client.delete("order:10") else None


@pytest.mark.long
def test_unharmed_stores_equal_the_log_and_stay_as_they_are(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 300)))
    shop.start()
    shop.catch_up()
    indexes = shop.sql(INDEXES)
    for arguments in (("--check",), ("--swap",), ("--redis",)):
        found = shop.run(*arguments)
        assert (found["differences"], found["behind"], found["swapped"]) == (0, 0, "--swap" in arguments)
        assert found["rows"] == sum(found["stores"].values()) > 300
        assert set(found["stores"]) == {name for name in ("mysql", "redis") if f"--{name}" in arguments or not {"--mysql", "--redis"} & set(arguments)}
        shop.must_hold()
        shop.must_be_tidy()
    assert shop.sql(INDEXES) == indexes
    shop.log.write(traffic(range(300, 350)))
    shop.catch_up()
    shop.must_hold()


def test_whatever_is_wrong_is_found_and_a_swap_mends_it(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 300)))
    shop.start()
    shop.catch_up()
    harm(shop)
    found = shop.run("--check", code=1)
    named = {(each["what"], each["where"], each["key"]) for each in found["named"]}
    assert named == {
        ("changed", "mysql:orders", "7"),
        ("changed", "mysql:products", "P3"),
        ("missing", "mysql:order_lines", "8 2"),
        ("extra", "mysql:order_lines", "9 77"),
        ("missing", "mysql:users", "u3"),
        ("changed", "redis", "order:7"),
        ("changed", "redis", "stock:P3"),
        ("missing", "redis", "order:8"),
        ("extra", "redis", "order:777777"),
        ("changed", "redis", "order:10"),
    }
    assert (found["differences"], found["changed"], found["missing"], found["extra"]) == (10, 5, 3, 2)
    assert shop.run("--swap")["swapped"]
    shop.must_hold()
    shop.must_be_tidy()
    assert shop.run("--check")["differences"] == 0


def test_one_order_or_product_is_mended_alone(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 100)))
    shop.start()
    shop.catch_up()
    harm(shop)
    left = 10
    for choice, found in ((("--order", "7"), 2), (("--product", "P3"), 2), (("--order", "777777"), 1), (("--order", "8"), 2)):
        assert shop.run("--check", *choice, code=1)["differences"] == found
        assert shop.run("--swap", *choice)["differences"] == found
        assert shop.run("--check", *choice)["differences"] == 0
        left -= found
    assert shop.run("--check", code=1)["differences"] == left
    shop.must_be_tidy()


def test_a_window_is_rebuilt_with_what_came_later_about_its_orders(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 50)))
    time.sleep(0.05)
    since = int(time.time() * 1000)
    shop.log.write([outcome(60, 1, ["A"]), outcome(61, 1, ["A"]), level("A", 10)])
    time.sleep(0.05)
    until = int(time.time() * 1000)
    shop.log.write([outcome(60, 2, ["A"]), level("A", 11), outcome(62, 1, ["A"])])
    shop.start()
    shop.catch_up()
    shop.sql(f"UPDATE {views.ORDERS} SET amount = -1 WHERE order_id IN (7, 60, 62)")
    window = ("--from", str(since), "--to", str(until))
    found = shop.run("--mysql", "--check", *window, code=1)
    assert [each["key"] for each in found["named"]] == ["60"]
    assert found["rows"] == 5  # two orders of one line each, one product
    shop.run("--mysql", "--swap", *window)
    assert shop.sql(f"SELECT order_id FROM {views.ORDERS} WHERE amount = -1 ORDER BY 1") == [(7,), (62,)]


def test_empty_stores_are_filled_beside_their_sinks(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 300)))
    found = shop.run("--swap")
    assert found["missing"] == found["differences"] == found["rows"]
    shop.must_hold()
    shop.start()
    shop.catch_up()
    shop.must_hold()


def test_live_traffic_sees_nothing_of_a_swap(shop: Shop) -> None:
    """Sinks write, rows are read over and over, somebody reads at length: no row is ever older than it was, no reading fails."""
    shop.log.write(traffic(range(1, 200)))
    shop.start()
    shop.catch_up()
    stop = threading.Event()
    threads = [threading.Thread(target=work, args=(shop, stop)) for work in (write_on, read_on)]
    watch = RowWatch(mysql=shop.mysql_url, redis=shop.redis_url)
    with watch.watching():
        for thread in threads:
            thread.start()
        try:
            swaps = [shop.run("--swap") for _ in range(2)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()
        shop.catch_up()
    assert watch.backwards == []
    assert min(watch.looks.values()) > 10
    assert FAILED_READINGS == []
    assert [swap["differences"] for swap in swaps] == [0, 0]
    shop.must_hold()
    assert shop.run("--check")["differences"] == 0


FAILED_READINGS: list[str] = []


def write_on(shop: Shop, stop: threading.Event) -> None:
    version = 2
    while not stop.wait(0.02):
        version += 1
        shop.log.write([v for i in range(1, 200, 7) for v in (outcome(i, version, ["P1", "P2"] * 3), level(f"P{i % 40}", 1000 + version * 200 + i))])


def read_on(shop: Shop, stop: threading.Event) -> None:
    with closing(Tables(shop.mysql_url)) as tables:
        while not stop.wait(0.005):
            try:
                found = tables.orders(list(range(1, 50)))
                FAILED_READINGS.extend(f"order {i} has no lines" for i, order in found.items() if not order["lines"])
            except StoreError as error:
                FAILED_READINGS.append(str(error))


@pytest.mark.long
def test_a_long_reading_of_the_live_tables_delays_a_swap_and_nobody_else(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 50)))
    shop.start()
    shop.catch_up()
    with connect(shop.mysql_url) as reader, reader.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*) FROM {views.ORDERS}")  # in a transaction that stays open
        swapping = threading.Thread(target=shop.run, args=("--swap", "--mysql"))
        swapping.start()
        time.sleep(3)
        assert swapping.is_alive()
        shop.log.write(traffic(range(50, 60)))
        shop.catch_up()
        reader.rollback()
        swapping.join(60)
    assert not swapping.is_alive()
    shop.must_hold()


KILLER = """
import os, signal, sys
from sinks.config import settings
from sinks.rebuild.run import rebuild
from sinks.rebuild.selection import Selection
phase, times = sys.argv[1], int(sys.argv[2])
def listen(name, done, total):
    global times
    if name == phase:
        times -= 1
        if times == 0:
            os.kill(os.getpid(), signal.SIGKILL)
rebuild(settings(), ("mysql", "redis"), Selection(), listen, swap=True)
"""
PHASES = (
    *("reading the log", "mysql: indexes", "mysql: comparing", "mysql: swapping", "mysql: in the gate", "mysql: swapped"),
    *("redis: swapping", "redis: swapped", "mysql: cleaning up", "redis: cleaning up"),
)


@pytest.mark.parametrize("phases", [("reading the log", "mysql: in the gate", "redis: swapping"), pytest.param(PHASES, marks=pytest.mark.long)])
def test_killed_anywhere_it_goes_on_and_ends_as_if_it_had_not_been(shop: Shop, phases: tuple[str, ...]) -> None:
    shop.log.write(traffic(range(1, 300)))
    shop.start()
    shop.catch_up()
    harm(shop)
    watch = RowWatch(mysql=shop.mysql_url)
    with watch.watching():
        for phase in phases:
            environment = os.environ | shop.environment
            killed = subprocess.run([sys.executable, "-c", KILLER, phase, "1"], env=environment, check=False, capture_output=True, timeout=120)
            assert killed.returncode == -signal.SIGKILL, (phase, killed.stderr.decode())
        shop.log.write(traffic(range(300, 330)))
        shop.catch_up()
    assert [row for row in watch.backwards if "stock:P3" not in row] == []  # whose version was harm
    assert watch.looks["mysql"] > 3
    assert shop.run("--swap")["swapped"]
    shop.must_hold()
    shop.must_be_tidy()


def test_a_rebuild_that_was_killed_reads_on_where_it_was(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 300)))
    killed = subprocess.run([sys.executable, "-c", KILLER, "mysql: indexes", "1"], env=os.environ | shop.environment, check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    found = shop.run("--swap")
    assert (found["resumed"], found["swapped"]) == (True, True)
    shop.must_hold()


def test_lines_on_shards_are_rebuilt_on_their_shards(shop: Shop, mysql_url: str) -> None:
    with ExitStack() as stack:
        shards = [stack.enter_context(new_database(mysql_url)) for _ in range(2)]
        for url in shards:
            migrate(url)
            stack.callback(shop.sql, f"DROP DATABASE IF EXISTS {url.rpartition('/')[2]}_rebuild")
        shop.environment["HOLDFAST_MYSQL_SHARDS"] = shop.mysql.environment["HOLDFAST_MYSQL_SHARDS"] = ",".join(shards)
        shop.log.write(traffic(range(1, 100)))
        shop.start()
        shop.catch_up()
        found = shop.run("--swap")
        assert (found["differences"], set(found["stores"])) == (0, {"lines-0of2", "lines-1of2", "mysql", "redis"})
        assert found["stores"]["lines-0of2"] + found["stores"]["lines-1of2"] == sum(len(lines) for lines in expected(shop.log.values).lines.values())
        with connect(shards[1]) as connection, connection.cursor() as cursor:
            cursor.execute(f"UPDATE {views.ORDER_LINES} SET quantity = 99 WHERE order_id < 5")
            harmed = cursor.rowcount
            connection.commit()
        assert shop.run("--check", "--mysql", code=1)["changed"] == harmed > 0
        shop.run("--swap", "--mysql")
        assert shop.run("--check", "--mysql")["differences"] == 0
        shop.log.write(traffic(range(100, 120)))
        shop.catch_up()
        assert shop.run("--check")["differences"] == 0
        shop.mysql.end()


def test_a_store_that_is_fed_by_other_topics_as_well_is_left_alone(shop: Shop) -> None:
    shop.log.write(traffic(range(1, 5)))
    shop.sql(f"INSERT INTO {views.SINK_POSITIONS} VALUES ('mysql', 'another.order.outcomes', 0, 7)")
    result = CliRunner(env=shop.environment).invoke(main, ["replay", "stores", "--mysql", "--swap"])
    assert result.exit_code == 1
    assert "another.order.outcomes" in result.output
    shop.must_be_tidy()


class Moved:
    """The shop with two generations of topics: of some orders one version lies in the first, one in the second."""

    def __init__(self, shop: Shop) -> None:
        self.shop, self.root = shop, shop.log.prefix
        shop.log.write(traffic(range(1, 100), versions=1))
        time.sleep(0.05)
        self.since = int(time.time() * 1000)
        shop.log.write([outcome(1060, 1, ["A"]), level("A", 10)])
        time.sleep(0.05)
        self.until = int(time.time() * 1000)
        self.register = Register(shop.log.kafka, self.root)
        self.later = Log(shop.log.kafka, f"{self.root}g2.", partitions=6)
        self.register.say(2, 6, Step.CURRENT)
        seconds = [value for value in traffic(range(1, 60, 5)) if isinstance(value, dict) and value.get("version") == 2 and "lines" in value]
        self.later.write([outcome(1060, 2, ["A"]), level("A", 11), *seconds, *traffic(range(100, 150))])
        shop.log.values += self.later.values

    def catch_up(self) -> None:
        everything = expected(self.shop.log.values)
        self.shop.mysql.wait(lambda: in_mysql(self.shop.mysql_url) == everything)
        self.shop.redis.wait(lambda: in_redis(self.shop.redis_url) == everything.without_users())

    def lose_the_first(self) -> None:
        client = AdminClient({"bootstrap.servers": self.shop.log.kafka})
        client.delete_topics([f"{self.root}{topic.name}" for topic in INPUTS])
        while {f"{self.root}{topic.name}" for topic in INPUTS} & set(client.list_topics(timeout=20).topics):
            time.sleep(0.1)


def test_the_topics_of_every_generation_are_one_log(shop: Shop) -> None:
    moved = Moved(shop)
    shop.start()
    moved.catch_up()
    assert shop.run("--check")["differences"] == 0
    harm(shop)
    shop.sql(f"UPDATE {views.ORDERS} SET amount = -1 WHERE order_id = 1060")
    window = ("--from", str(moved.since), "--to", str(moved.until))
    found = shop.run("--mysql", "--swap", *window)
    assert ([each["key"] for each in found["named"]], found["rows"]) == (["1060"], 3)
    assert shop.run("--swap", "--order", "7")["differences"] == 2
    assert shop.run("--check", code=1)["differences"] == 8
    assert shop.run("--swap")["swapped"]
    shop.must_hold()
    shop.must_be_tidy()

    # Of the first generation nothing is left but what the live stores have of it: it is counted, and no swap loses it.
    moved.lose_the_first()
    found = shop.run("--check")
    assert (found["differences"], found["extra"]) == (0, 0)
    assert found["older"] > 40
    shop.sql(f"UPDATE {views.ORDERS} SET amount = -1 WHERE order_id = 1060")
    assert [each["key"] for each in shop.run("--check", "--mysql", code=1)["named"]] == ["1060"]
    shop.run("--swap", "--order", "1060")
    result = CliRunner(env=shop.environment).invoke(main, ["replay", "stores", "--swap"])
    assert result.exit_code == 1
    assert f"{moved.root}order.outcomes is gone" in result.output
    shop.must_hold()


@pytest.mark.parametrize(("store", "phase"), [("redis", "redis: comparing"), ("mysql", "mysql: swapping")])
def test_where_the_partitions_change_on_the_way_nothing_is_swapped(shop: Shop, store: str, phase: str) -> None:
    shop.log.write(traffic(range(1, 30)))
    shop.start()
    shop.catch_up()

    def listen(name: str, _done: int, _total: int) -> None:
        if name == phase:
            Register(shop.log.kafka, shop.log.prefix).say(2, 6, Step.CURRENT)
            shop.sql(f"INSERT IGNORE INTO {views.SINK_POSITIONS} VALUES ('mysql', '{shop.log.prefix}g2.order.outcomes', 0, 7)")

    configured = settings(kafka=shop.log.kafka, topic_prefix=shop.log.prefix, mysql=shop.mysql_url, redis=shop.redis_url)
    with pytest.raises(SinkError, match="the number of partitions was changed meanwhile"):
        rebuild(configured, [store], Selection(), listen, swap=True)


@pytest.mark.parametrize("flags", [("--check", "--swap"), ("--order", "1", "--product", "A"), ("--order", "x"), ("--from", "2026-01-02", "--to", "2026-01-01")])
def test_flags_that_contradict_are_refused(flags: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, ["replay", "stores", *flags]).exit_code == 2
