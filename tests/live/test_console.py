"""The console in a real browser, on a pipeline at work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.browser import drive
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.pipeline import Load, Pipeline, running
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
BODY = {"user": "u1", "currency": "GBP", "lines": [{"product_id": "p0", "quantity": 1, "unit_price": 100}], "payment": {"token": "tok_ok"}}


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("console")
    with running(Pipeline(kafka, f"{unique_name('c')}.", folder, module_database, module_redis)) as started:
        started.run("holdfast", "migrate")
        started.await_open(started.worker())
        Load(kafka, started.prefix, seed=4).restock(1_000_000)
        yield started


@pytest.fixture(scope="module")
def gateway(pipeline: Pipeline) -> Iterator[GatewayProcess]:
    with running_gateway(pipeline) as found:
        yield found


@contextmanager
def customers(gateway: GatewayProcess) -> Iterator[None]:
    """Somebody who orders while the block runs."""
    stop = threading.Event()

    def order() -> None:
        with gateway.client() as client:
            while not stop.wait(0.1):
                client.post("/v1/orders", json=BODY)

    thread = threading.Thread(target=order)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_person_sees_the_shop_at_work(gateway: GatewayProcess, tmp_path: Path) -> None:
    order_id = gateway.post("/v1/orders", BODY, Prefer="wait=20").json()["order_id"]
    with customers(gateway):
        seen = drive("console.mjs", gateway.url, gateway.key, "p0", order_id, str(tmp_path), log=tmp_path / "apt.log")
    assert seen["errors"] == seen["outside"] == []
    assert "key" in seen["wrongKey"].lower()
    assert {"order lines/s", "orders decided/s", "placed to decided, p99 ms", "dead letters open"} <= set(seen["numbers"])
    assert {"stock", "orders", "payments", "mysql sink", "redis sink"} <= set(seen["stages"])
    assert "available" in seen["bar"]
    assert (seen["light"], seen["dark"]) == ("rgb(255, 255, 255)", "rgb(20, 22, 27)")
    assert seen["order"]["title"] == f"Order {order_id}"
    assert len(seen["order"]["steps"]) >= 5
    assert seen["closed"]
    assert "HOLD" in seen["product"]["steps"]
    assert seen["narrow"] <= 390
    assert {path.name for path in tmp_path.glob("*.png")} == {"light.png", "dark.png", "order.png", "narrow.png"}


@pytest.mark.parametrize("path", ["/console/sight", "/console/orders/1", "/console/products/p0"])
def test_what_it_shows_is_for_an_admin(gateway: GatewayProcess, path: str) -> None:
    with gateway.client("") as nobody:
        assert nobody.get(path).status_code == 401
        assert nobody.get("/console").status_code == 200


@pytest.mark.parametrize(("path", "status"), [("/console/orders/x", 404), ("/console/orders/1", 404), ("/console/products/nothing", 404)])
def test_what_is_not_there_is_said(gateway: GatewayProcess, path: str, status: int) -> None:
    answer = gateway.get(path)
    assert answer.status_code == status
    assert answer.json()["detail"]
