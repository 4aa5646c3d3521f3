"""The audit against real servers: a correct history in Kafka, MySQL and Redis, then spoilt."""

from __future__ import annotations

import json
import threading
import time

import pytest
import redis

from holdfast import audit
from tests.holdfast.audit.servers import Servers, correct_servers
from tests.support.history_records import Rec
from tests.support.history_stores import StoreContents
from tests.support.stack import connect

pytestmark = pytest.mark.live


@pytest.fixture
def servers(kafka: str, fresh_database: str, fresh_redis: str, topic_prefix: str) -> Servers:
    return correct_servers(kafka, fresh_database, fresh_redis, topic_prefix + ".")


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
    assert report["promises"]["I6"]["checked"]["orders_rows"] == 21
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
