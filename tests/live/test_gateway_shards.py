"""Order lines over one and over three databases, with the whole pipeline: placed over HTTP, decided, written by the sink, read back over HTTP, audited."""

from __future__ import annotations

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
from tests.support.pipeline import Pipeline, running
from tests.support.stack import connect, new_database, unique_name

pytestmark = pytest.mark.live
PRODUCTS = [f"P{n}" for n in range(12)]
ORDERS = [PRODUCTS, PRODUCTS[:3], ["none", PRODUCTS[5]]]
"""Of every product, of some, and of one that is not there."""


@dataclass
class Shop:
    pipeline: Pipeline
    gateway: GatewayProcess
    shards: list[str]

    def orders(self) -> list[dict[str, Any]]:
        """Place ORDERS, one unit of each product; return their decisions."""
        bodies = [order_body(*((product, 1) for product in products), user="ann") for products in ORDERS]
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
    for at, order in enumerate(decided):
        found = shop.read(order["order_id"])
        # What came after the decision (a line answered late, the release of a held one) has made later versions.
        assert (found["status"], found["version"] >= order["version"]) == (order["status"], True)
        assert [(x["line"], x["product_id"]) for x in found["lines"]] == list(enumerate(ORDERS[at], 1))
    for number, shard in enumerate(shop.shards):
        assert products_on(shard) == {product for product in (*PRODUCTS, "none") if shard_of(product, len(shop.shards)) == number}
    assert products_on(shop.pipeline.mysql) == set()
    shop.pipeline.run("holdfast", "audit")
