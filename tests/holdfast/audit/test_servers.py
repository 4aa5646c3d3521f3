"""The audit against real servers: a correct history in Kafka, MySQL and Redis, then spoilt."""

from __future__ import annotations

import json
import threading
import time
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import pytest
import redis
from click.testing import CliRunner, Result
from confluent_kafka import Producer

from holdfast import audit, topics
from holdfast.cli import main
from schemas.views import TIME_COLUMNS
from sinks.migrate import migrate
from tests.support.correct_history import correct_shop
from tests.support.history import Shop
from tests.support.history_records import Rec
from tests.support.history_stores import StoreContents
from tests.support.stack import connect

pytestmark = pytest.mark.live


class Servers:
    """One shop's history on the servers, under its own prefix."""

    def __init__(self, kafka: str, mysql_url: str, redis_url: str, shop: Shop) -> None:
        self.kafka, self.mysql_url, self.redis_url, self.shop = kafka, mysql_url, redis_url, shop
        self.producer = Producer({"bootstrap.servers": kafka, "transactional.id": shop.prefix, "log_level": 2})
        self.producer.init_transactions(30)

    def environment(self) -> dict[str, str]:
        return {"HOLDFAST_KAFKA": self.kafka, "HOLDFAST_MYSQL": self.mysql_url, "HOLDFAST_REDIS": self.redis_url, "HOLDFAST_TOPIC_PREFIX": self.shop.prefix}

    def command(self, *options: str, **environment: str) -> Result:
        return CliRunner().invoke(main, ["audit", *options], env=self.environment() | environment)

    def run(self, **options: bool) -> audit.Report:
        return audit.run(self.kafka, self.mysql_url, self.redis_url, self.shop.prefix, **options)

    def write_topics(self) -> None:
        """Two records of a partition to a transaction, so that offsets come out as the shop gave them."""
        waiting: defaultdict[tuple[str, int], list[Rec]] = defaultdict(list)
        for rec in self.shop.records:
            waiting[rec.topic.name, rec.partition].append(rec)
        while any(waiting.values()):
            self.producer.begin_transaction()
            for records in waiting.values():
                for rec in records[:2]:
                    self.produce(rec)
                del records[:2]
            self.producer.commit_transaction(30)

    def produce(self, rec: Rec) -> None:
        self.producer.produce(rec.topic.named(self.shop.prefix), rec.encoded(), rec.key, partition=rec.partition)

    def write_stores(self, contents: StoreContents) -> None:
        migrate(self.mysql_url)
        with connect(self.mysql_url) as connection, connection.cursor() as cursor:
            for table, rows in contents.mysql.items():
                columns = list(rows[0])
                values = [[_stored(name, row[name]) for name in columns] for row in rows]
                cursor.executemany(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(columns))})", values)
            connection.commit()
        with redis.Redis.from_url(self.redis_url) as client:
            for key, fields in contents.redis.items():
                client.hset(key, mapping=fields)
            client.set("sink:position:order.outcomes:0", 5)


def _stored(name: str, value: object) -> object:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=value) if name in TIME_COLUMNS and isinstance(value, int) else value


@pytest.fixture
def servers(kafka: str, fresh_database: str, fresh_redis: str, topic_prefix: str) -> Servers:
    shop = correct_shop(topic_prefix + ".")
    topics.create(kafka, shop.prefix, shop.partitions)
    made = Servers(kafka, fresh_database, fresh_redis, shop)
    made.write_topics()
    made.write_stores(StoreContents(shop))
    return made


def test_a_correct_history_is_clean_on_real_servers(servers: Servers) -> None:
    in_memory = audit.check(servers.shop.log(), StoreContents(servers.shop).stores())
    for live in (False, True):
        report = servers.run(live=live)
        assert report.ok, report.text()
        assert not live or report.checked["I5"]["lines"]
    assert servers.run().checked == in_memory.checked


def test_an_aborted_transaction_is_nothing_and_an_open_one_is_waited_for(servers: Servers) -> None:
    level = servers.shop.all("StockLevel")[0]
    spoilt = Rec(level.topic, level.partition, 0, level.name, {**level.value, "available": 77}, level.key)
    servers.producer.begin_transaction()
    servers.produce(spoilt)
    servers.producer.flush(30)
    ended: list[float] = []

    def end() -> None:
        time.sleep(1.5)
        ended.append(time.monotonic())
        servers.producer.abort_transaction(30)

    thread = threading.Thread(target=end)
    thread.start()
    report = servers.run()
    assert ended, "the audit did not wait for the open transaction"
    thread.join()
    assert report.ok, report.text()
    servers.producer.begin_transaction()
    servers.produce(spoilt)
    servers.producer.commit_transaction(30)
    assert servers.run().kinds()["level_differs"] == 1


def test_the_command_says_clean_and_ends_with_0(servers: Servers) -> None:
    result = servers.command("--json", "--progress")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert report["ok"] is True
    assert report["violations"] == 0
    assert report["promises"]["I6"]["checked"]["orders_rows"] == 18
    assert set(report["promises"]) == {f"I{n}" for n in range(1, 8)}


def test_the_command_names_violations_and_ends_with_1(servers: Servers) -> None:
    with redis.Redis.from_url(servers.redis_url) as client:
        client.hset("stock:apple", "available", 1_000)
        client.set("order:77", "no hash")
    with connect(servers.mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute("DELETE FROM orders WHERE order_id = 7")
        connection.commit()
    result = servers.command("--json")
    assert result.exit_code == 1, result.output
    found = json.loads(result.stdout)["promises"]["I6"]["violations"]
    assert sorted((v["kind"], v["topic"]) for v in found) == [
        ("cache_differs", "redis:order:77"),
        ("cache_differs", "redis:stock"),
        ("store_row_missing", "mysql:orders"),
    ]
    text = servers.command().stdout
    assert "3 VIOLATIONS" in text
    assert "order_id=7" in text
    assert servers.command("--no-stores").exit_code == 0
    live = json.loads(servers.command("--live", "--json").stdout)
    assert {v["kind"] for v in live["promises"]["I6"]["violations"]} == {"cache_differs"}


def test_the_command_says_what_is_missing_and_ends_with_2(servers: Servers) -> None:
    result = servers.command(HOLDFAST_TOPIC_PREFIX="nobody.")
    assert result.exit_code == 2
    assert "topics missing" in result.stderr
    assert "nobody.orders" in result.stderr
    result = servers.command("--json", HOLDFAST_KAFKA="127.0.0.1:1")
    assert result.exit_code == 2
    assert "127.0.0.1:1" in json.loads(result.stdout)["error"]
    result = servers.command(HOLDFAST_MYSQL="mysql://nobody:hidden@127.0.0.1:1/none")
    assert result.exit_code == 2
    assert "127.0.0.1:1/none" in result.stderr
    assert "hidden" not in result.output
    result = servers.command(HOLDFAST_REDIS="redis://:hidden@127.0.0.1:1/0")
    assert result.exit_code == 2
    assert "Redis at 127.0.0.1:1" in result.stderr
    assert "hidden" not in result.output


def test_both_stores_or_neither(kafka: str) -> None:
    with pytest.raises(audit.CannotCheckError, match="both stores, or of neither"):
        audit.run(kafka, mysql_url="mysql://a:b@127.0.0.1:1/c")
