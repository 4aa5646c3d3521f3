"""Drift sown into real servers is found, named, mended through the log, and found no more; also by a run that was killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from confluent_kafka import Producer

import holdfast.audit
from schemas import codec, views
from schemas.partitions import product_partition
from schemas.topics import STOCK_COMMANDS, Topic
from tests.support import stack
from tests.support.pipeline import PARTITIONS, Load, Pipeline, outcomes, running, until, values

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def shop(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A shop with some orders behind it, at rest."""
    pipeline = Pipeline(kafka, stack.unique_name("r"), tmp_path_factory.mktemp("reconcile"), module_database, module_redis, {"HOLDFAST_ORDER_TIMEOUT": "5"})
    with running(pipeline):
        pipeline.sinks()
        pipeline.await_open(pipeline.worker())
        load = Load(kafka, pipeline.prefix, seed=5)
        load.restock()
        pipeline.drain()
        for _ in range(200):
            load.order()
        load.producer.flush()
        until(lambda: len({o["order_id"] for o in outcomes(pipeline)}) >= load.sent - 5, 90, "orders are decided")
        pipeline.drain()
        yield pipeline


def _command(shop: Pipeline, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "holdfast", "reconcile", "--json", "--settle", "0.2", *flags]
    return subprocess.Popen(command, env=shop.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _reconcile(shop: Pipeline, *flags: str) -> list[dict[str, Any]]:
    process = _command(shop, *flags)
    out, err = process.communicate(timeout=120)
    assert process.returncode in {0, 1}, err
    found: list[dict[str, Any]] = json.loads(out)["drift"]
    assert process.returncode == bool(found)
    return found


def _execute(shop: Pipeline, *statements: str) -> None:
    assert shop.mysql
    with stack.connect(shop.mysql) as connection, connection.cursor() as cursor:
        for statement in statements:
            assert cursor.execute(statement), statement
        connection.commit()


def _sent(shop: Pipeline) -> list[str]:
    """Return the IDs of the commands that reconcile sent about products."""
    found = (codec.decode(value) for value in values(shop, STOCK_COMMANDS))
    return [c for decoded in found if decoded.name == "StockCommands" and decoded.value["actor"] == "reconcile" for c in decoded.value["command_id"]]


def _put(shop: Pipeline, topic: Topic, partition: int, value: bytes) -> None:
    producer = Producer({"bootstrap.servers": shop.kafka})
    producer.produce(topic.named(shop.prefix), value, None, partition)
    producer.flush()


def _spoil(shop: Pipeline) -> dict[str, set[str]]:
    """Spoil a row of every kind; return the kinds of drift to be found, by the name of what was spoilt."""
    last = {o["order_id"]: o for o in outcomes(shop) if "lines" in o}
    confirmed = [o for o in last.values() if o["status"] == "CONFIRMED" and all(line["status"] == "HELD" for line in o["lines"])]
    spoilt = {f"p{n}" for n in range(1, 6)}
    unheld = next(o["order_id"] for o in confirmed if o["lines"][0]["product_id"] not in spoilt)
    gone, older, other, hash_gone, hash_older = [o["order_id"] for o in confirmed if o["order_id"] != unheld][:5]
    _execute(
        shop,
        f"DELETE FROM {views.ORDERS} WHERE order_id = {gone}",
        f"DELETE FROM {views.ORDER_LINES} WHERE order_id = {gone}",
        f"UPDATE {views.ORDERS} SET version = 0, status = 'REJECTED' WHERE order_id = {older}",
        f"UPDATE {views.ORDERS} SET amount = amount + 1 WHERE order_id = {other}",
        f"UPDATE {views.PRODUCTS} SET available = available + 5 WHERE product_id = 'p1'",
        f"DELETE FROM {views.PRODUCTS} WHERE product_id = 'p2'",
    )
    assert shop.redis
    with redis.Redis.from_url(shop.redis) as client:
        assert client.delete(f"order:{hash_gone}", "stock:p3") == 2
        client.hset(f"order:{hash_older}", "version", "0")
        client.hset("stock:p4", mapping={"available": "7777"})
    line = last[unheld]["lines"][0]
    columns = {"kind": b"\x0a", "command_id": [""], "order_id": [unheld], "line": [line["line"]], "product_id": [line["product_id"]]}
    value = codec.encode("StockCommands", {**columns, "quantity": [line["quantity"]], "as_of": [0], "issued_at": 0, "actor": "stranger"})
    _put(shop, STOCK_COMMANDS, product_partition(line["product_id"], PARTITIONS), value)
    shop.drain()
    return {
        "store_row_missing": {str(gone), "p2"},
        "store_row_differs": {str(older), str(other), "p1"},
        "cache_missing": {str(hash_gone), "p3"},
        "cache_differs": {str(hash_older), "p4"},
        "line_not_held": {str(unheld)},
    }


def test_drift_is_found_named_mended_and_found_no_more(shop: Pipeline, tmp_path: Path) -> None:
    assert _reconcile(shop) == []
    wanted = _spoil(shop)
    found = _reconcile(shop)
    named: dict[str, set[str]] = {}
    for drift in found:
        named.setdefault(drift["kind"], set()).add(drift["ids"].get("order_id") or drift["ids"]["product_id"])
        assert drift["commands"], drift
        assert all(command["command_id"].startswith("reconcile:") for command in drift["commands"])
    assert named == wanted

    killed = _command(shop, "--apply")
    until(lambda: _sent(shop) or killed.poll() is not None, 90, "the first command is sent")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    shop.drain()
    _reconcile(shop, "--apply")
    shop.drain()
    assert _reconcile(shop) == []
    report = holdfast.audit.run(shop.kafka, shop.mysql, shop.redis, shop.prefix)
    assert report.ok, report.text()


def test_a_row_that_is_ahead_of_the_log_is_for_a_rebuild(shop: Pipeline) -> None:
    assert shop.redis
    with redis.Redis.from_url(shop.redis) as client:
        client.hset("stock:p5", mapping={"version": "99999"})
        (drift,) = _reconcile(shop, "--apply")
        assert (drift["kind"], drift["commands"]) == ("cache_differs", [])
        assert "holdfast replay stores" in drift["advice"]
        client.delete("stock:p5")
    (drift,) = _reconcile(shop, "--apply")
    assert [command["kind"] for command in drift["commands"]] == ["UNFREEZE"]
    shop.drain()
    assert _reconcile(shop) == []


def test_nothing_is_drift_while_orders_flow(shop: Pipeline) -> None:
    load = Load(shop.kafka, shop.prefix, seed=6)
    with load.flowing(100):
        process = _command(shop, "--settle", "3")
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, out + err
    shop.drain()


def test_servers_that_are_not_there_are_told(shop: Pipeline) -> None:
    environment = shop.environment() | {"HOLDFAST_MYSQL": "mysql://u:secret@127.0.0.1:1/none"}
    done = subprocess.run([sys.executable, "-m", "holdfast", "reconcile"], env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "MySQL at 127.0.0.1:1/none cannot be read" in done.stderr
    assert "secret" not in done.stderr
