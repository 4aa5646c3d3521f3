"""`docker compose up` on images built here: it ends where `make demo` does, and takes an order through all of it."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pymysql
import pytest
import redis

from holdfast.registering import COMPATIBILITY
from holdfast.stack.ports import free_port
from ingest.backfill import Wish, dry_run
from tests.support import docker

pytestmark = [pytest.mark.live, pytest.mark.long]

ROOT = Path(__file__).resolve().parents[2]
DATA = "online-retail-sample.csv.xz"
IMAGES = {"HOLDFAST": "", **{name.upper(): name for name in ("kafka", "mysql", "redis", "registry", "prometheus")}}
PORTS = ("GATEWAY", "REGISTRY", "PROMETHEUS", "KAFKA", "MYSQL", "REDIS")
PASSWORD = "of-the-test"
WITHIN_S = 600
SCRAPED = 8
"""Prometheus itself, a gateway, two workers, two sinks, webhooks, the warehouse."""
RUNNING = {"kafka", "mysql", "redis", "registry", "worker", "sink-mysql", "sink-redis", "gateway", "webhooks", "warehouse", "prometheus"}


class Compose:
    """One project of docker compose, with ports of its own."""

    def __init__(self) -> None:
        self.ports = {name: free_port() for name in PORTS}
        names = {f"{variable}_IMAGE": docker.image(name) for variable, name in IMAGES.items()}
        ports = {f"{name}_PORT": str(port) for name, port in self.ports.items()}
        self._environment = {**os.environ, **names, **ports, "HOLDFAST_MYSQL_PASSWORD": PASSWORD}
        # Grafana cannot be had as a package; compose fetches the image even of a service that is left out.
        self._environment |= {"GRAFANAS": "0", "GRAFANA_IMAGE": names["PROMETHEUS_IMAGE"]}
        self._words = [*docker.compose(), "-p", f"holdfast-test-{os.getpid()}", "-f", str(ROOT / "docker-compose.yml")]

    def run(self, *words: str) -> str:
        done = subprocess.run([*self._words, *words], env=self._environment, capture_output=True, text=True, timeout=WITHIN_S, check=False)
        assert done.returncode == 0, f"{words}: {done.stdout[-3000:]}{done.stderr[-3000:]}"
        return done.stdout

    def services(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.run("ps", "--all", "--format", "json").splitlines() if line.startswith("{")]

    def url(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def holdfast(self, *words: str) -> Any:
        return json.loads(self.run("exec", "-T", "gateway", "holdfast", *words, "--json"))


def until(holds: Callable[[], Any], what: str, seconds: float = 120) -> Any:
    deadline = time.monotonic() + seconds
    while not (found := holds()):
        assert time.monotonic() < deadline, what
        time.sleep(1)
    return found


@pytest.fixture(scope="module")
def shop() -> Iterator[Compose]:
    try:
        found = Compose()
    except docker.NoDocker as error:
        pytest.skip(str(error))
    try:
        found.run("up", "-d", "--no-build")
        yield found
    finally:
        found.run("down", "--volumes", "--timeout", "20")


def test_it_ends_where_the_demo_does(shop: Compose) -> None:
    def ended() -> bool:
        (demo,) = [each for each in shop.services() if each["Service"] == "demo"]
        return demo["State"] == "exited" and demo["ExitCode"] == 0

    until(ended, "the demo ended well", WITHIN_S)
    # What it says on its way goes to standard error, and docker puts both together in an order of its own.
    logs = shop.run("logs", "--no-log-prefix", "demo")
    said, _ = json.JSONDecoder().raw_decode(logs[logs.index("{") :])
    counts = dry_run(Wish(ROOT / "data" / DATA), lambda *_: None).counts
    assert (said["rows"], said["orders"], said["violations"]) == (counts.rows, counts.orders, 0)
    assert said["confirmed"] > 0


def test_everything_runs_and_says_that_it_is_well(shop: Compose) -> None:
    running = [each for each in shop.services() if each["State"] == "running"]
    assert {each["Service"] for each in running} == RUNNING
    assert sum(each["Service"] == "worker" for each in running) == 2
    assert {each["Health"] for each in running} <= {"healthy", ""}
    for each in running:
        assert shop.run("exec", "-T", each["Service"], "id", "-u").strip() != "0", each["Service"]


def test_an_order_passes_through_all_of_it(shop: Compose) -> None:
    keys = shop.holdfast("keys", "create", "--user", "u1", "--scope", "place,read,stock")
    client = httpx.Client(base_url=shop.url("GATEWAY"), headers={"Authorization": f"Bearer {keys['key']}"}, trust_env=False)
    assert client.post("/v1/products/22423/restock", json={"quantity": 5}).status_code < 300
    line = {"product_id": "22423", "quantity": 1, "unit_price": 1275}
    placed = client.post("/v1/orders", json={"user": "u1", "currency": "GBP", "lines": [line], "payment": {"token": "tok_ok"}})
    assert placed.status_code < 300, placed.text
    order = placed.json()["order_id"]
    until(lambda: client.get(f"/v1/orders/{order}").json().get("status") in ("confirmed", "shipped"), "the order is confirmed")
    with redis.Redis(port=shop.ports["REDIS"]) as cache:
        until(lambda: cache.exists(f"order:{order}"), "Redis has the order")
    with pymysql.connect(host="127.0.0.1", port=shop.ports["MYSQL"], user="holdfast", password=PASSWORD, database="holdfast", autocommit=True) as kept:

        def in_mysql() -> bool:
            with kept.cursor() as cursor:
                return cursor.execute("SELECT status FROM orders WHERE order_id = %s", (int(order),)) == 1

        until(in_mysql, "MySQL has the order")
    assert shop.holdfast("audit", "--live")["violations"] == 0


def test_what_is_started_again_comes_up_again(shop: Compose) -> None:
    again = {"sink-redis", "sink-mysql", "worker", "gateway"}
    shop.run("restart", *again)

    def well() -> bool:
        return all(each["State"] == "running" and each["Health"] == "healthy" for each in shop.services() if each["Service"] in again)

    until(well, "what was started again is healthy")


def test_the_registry_has_our_schemas_and_prometheus_asks_everybody(shop: Compose) -> None:
    registry = f"{shop.url('REGISTRY')}/apis/ccompat/v7"
    with httpx.Client(trust_env=False) as client:
        assert client.get(f"{registry}/config").json()["compatibilityLevel"] == COMPATIBILITY
        assert "holdfast.OrderOutcome" in client.get(f"{registry}/subjects").json()

        def asked() -> bool:
            targets = client.get(f"{shop.url('PROMETHEUS')}/api/v1/targets").json()["data"]["activeTargets"]
            return all(each["health"] == "up" for each in targets) and len(targets) == SCRAPED

        until(asked, "Prometheus has figures of every process")
