"""Order lines over one and over three databases, with the whole pipeline: placed over HTTP, decided, written by the sink, read back over HTTP, audited."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import redis

from schemas import views
from schemas.shards import shard_of
from tests.support.gateway import GatewayProcess, order_body, running_gateway
from tests.support.pipeline import Pipeline, running, until
from tests.support.stack import connect, new_database, unique_name

pytestmark = pytest.mark.live
PRODUCTS = [f"P{n}" for n in range(12)]


@dataclass
class Shop:
    pipeline: Pipeline
    gateway: GatewayProcess
    shards: list[str]

    def orders(self) -> list[dict[str, Any]]:
        """Three orders: one of every product, one of some, one of what is not there."""
        bodies = [order_body(*((product, 1) for product in some), user="ann") for some in (PRODUCTS, PRODUCTS[:3], ["none", PRODUCTS[5]])]
        with self.gateway.client() as client:
            placed = [client.post("/v1/orders", json=body, headers={"Prefer": "wait=30"}) for body in bodies]
        assert [answer.status_code for answer in placed] == [200, 200, 200]
        return [answer.json() for answer in placed]

    def read(self, order_id: str) -> dict[str, Any]:
        answer = self.gateway.get(f"/v1/orders/{order_id}?min_version=1")
        assert answer.status_code == 200, answer.text
        return dict(answer.json())


@pytest.fixture(params=[1, 3])
def shop(request: pytest.FixtureRequest, kafka: str, mysql_url: str, fresh_redis: str, tmp_path: Path) -> Iterator[Shop]:
    with ExitStack() as opened:
        mysql, *shards = [opened.enter_context(new_database(mysql_url)) for _ in range(1 + request.param)]
        pipeline = opened.enter_context(running(Pipeline(kafka, unique_name("s"), tmp_path, mysql, fresh_redis)))
        pipeline.settings["HOLDFAST_MYSQL_SHARDS"] = ",".join(shards)
        worker = pipeline.worker()
        pipeline.sinks()
        gateway = opened.enter_context(running_gateway(pipeline, gateway_read_wait="20"))
        pipeline.await_open(worker)
        yield Shop(pipeline, gateway, shards)


def products_on(shard: str) -> set[str]:
    with connect(shard) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT DISTINCT product_id FROM {views.ORDER_LINES}")
        return {product for (product,) in cursor.fetchall()}


def test_orders_are_placed_and_read_over_the_shards(shop: Shop) -> None:
    for product in PRODUCTS:
        assert shop.gateway.post(f"/v1/products/{product}/restock", {"quantity": 10}, prefer="wait=30").status_code == 200
    decided = shop.orders()
    assert [order["status"] for order in decided] == ["confirmed", "confirmed", "rejected"]
    shop.pipeline.drain()
    with redis.Redis.from_url(shop.pipeline.redis) as cache:
        for order in decided:
            cache.delete(views.order_key(int(order["order_id"])))
    for order in decided:
        found = shop.read(order["order_id"])
        assert [found[name] for name in ("status", "version", "amount")] == [order[name] for name in ("status", "version", "amount")]
        names = ("line", "product_id", "quantity", "status", "refusal")
        assert [[x[name] for name in names] for x in found["lines"]] == [[x[name] for name in names] for x in order["lines"]]
    for number, shard in enumerate(shop.shards):
        assert products_on(shard) == {product for product in (*PRODUCTS, "none") if shard_of(product, len(shop.shards)) == number}
    assert products_on(shop.pipeline.mysql) == set()
    shop.pipeline.run("holdfast", "audit")


def test_a_shard_that_comes_back_late_loses_nothing(shop: Shop) -> None:
    """The sink waits for a shard whose lines it cannot write; no order can be read half."""
    victim = shop.shards[-1]
    shop.gateway.post(f"/v1/products/{PRODUCTS[0]}/restock", {"quantity": 10}, prefer="wait=30")
    with connect(victim) as connection, connection.cursor() as cursor:
        cursor.execute(f"RENAME TABLE {views.ORDER_LINES} TO put_away")
        decided = shop.orders()[0]
        time.sleep(2)
        with redis.Redis.from_url(shop.pipeline.redis) as cache:
            until(lambda: cache.exists(views.order_key(int(decided["order_id"]))), 30, "the order is in Redis")
            cache.delete(views.order_key(int(decided["order_id"])))
        answer = shop.gateway.get(f"/v1/orders/{decided['order_id']}")
        assert answer.status_code != 200 or len(answer.json()["lines"]) in (0, len(PRODUCTS)), "whole, or not yet"
        cursor.execute(f"RENAME TABLE put_away TO {views.ORDER_LINES}")
    shop.pipeline.drain()
    assert len(shop.read(decided["order_id"])["lines"]) == len(PRODUCTS)
