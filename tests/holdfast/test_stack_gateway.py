"""The stack's gateways: started with it, at an address that stays, as many as wished; and the README's lines against them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from holdfast.stack import lifecycle, pipeline
from holdfast.stack.addresses import Endpoints
from holdfast.stack.errors import NotHealthyError, StackError
from holdfast.stack.health import check_gateway
from holdfast.stack.home import Home
from holdfast.stack.ports import free_port
from holdfast.stack.state import Plan, StackState, Task
from tests.support.gateway import bearer, new_key, order_body
from tests.support.sse import receiving
from tests.support.stack import new_database, new_redis, unique_name

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(("host", "url"), [("127.0.0.1", "http://127.0.0.1:8080"), ("::1", "http://[::1]:8080"), ("localhost", "http://localhost:8080")])
def test_the_url_is_known_from_the_plan(host: str, url: str) -> None:
    tasks = (*pipeline.processes(1), *pipeline.gateways(2, host, 8080))
    assert pipeline.gateway_url(tasks) == url
    assert pipeline.gateway_address(tasks) == (host, 8080)
    assert [task.name for task in tasks if task.kind == "gateway"] == ["gateway-1", "gateway-2"]
    assert pipeline.gateway_url(pipeline.processes(1)) is None


def test_the_environment_may_name_the_address() -> None:
    assert (pipeline.wished_host({}), pipeline.wished_port({})) == ("127.0.0.1", None)
    named = {"HOLDFAST_GATEWAY_HOST": "::1", "HOLDFAST_GATEWAY_PORT": "9000"}
    assert (pipeline.wished_host(named), pipeline.wished_port(named)) == ("::1", 9000)


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http", "80.0", "²"])
def test_what_is_no_port_is_named(port: str) -> None:
    with pytest.raises(StackError, match=r"HOLDFAST_GATEWAY_PORT is .*: use a port, 1 to 65535"):
        pipeline.wished_port({"HOLDFAST_GATEWAY_PORT": port})


def test_one_that_does_not_answer_is_not_healthy() -> None:
    with pytest.raises(NotHealthyError, match="takes no orders"):
        check_gateway(f"http://127.0.0.1:{free_port()}")


# -- how many, where -----------------------------------------------------------------------------------------------------

GATEWAY_AT_9 = pipeline.gateways(1, "127.0.0.1", 9)


@pytest.mark.parametrize(
    ("planned", "wished", "count"),
    [
        ((), None, 1),
        ((), 0, 0),
        ((), 3, 3),
        (pipeline.processes(1), None, 0),
        (pipeline.processes(1), 1, 1),
        ((*pipeline.processes(1), *GATEWAY_AT_9), None, 1),
        ((*pipeline.processes(1), *GATEWAY_AT_9), 0, 0),
        ((*pipeline.processes(1), *GATEWAY_AT_9), 2, 2),
    ],
)
def test_as_many_as_run_now_or_one(tmp_path: Path, planned: tuple[Task, ...], wished: int | None, count: int) -> None:
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.create()
    plan = Plan(1, Endpoints("", "", ""), (), {}, processes=planned)
    wish = lifecycle.Wish(gateways=wished)
    tasks = lifecycle._wanted(home, plan, wish, RUNNING) if planned else lifecycle._processes(home, wish)
    found = [task for task in tasks if task.kind == "gateway"]
    assert len(found) == count
    if count and GATEWAY_AT_9[0] in planned:
        assert pipeline.gateway_address(found) == ("127.0.0.1", 9), "more of them listen where the first one does"
    elif count:
        assert lifecycle._processes(home, lifecycle.Wish(gateways=1))[-1].argv == found[0].argv, "the port is kept"


RUNNING = StackState(lifecycle.ProcessId(1, 1), 1, "ready")


def test_no_gateways_without_the_pipeline() -> None:
    done = subprocess.run([sys.executable, "-m", "holdfast", "up", "--servers-only", "--gateways", "1"], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert "--servers-only starts no workers and no gateways" in done.stderr


# -- a whole stack -------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Shop:
    """A stack with a gateway: its environment and its database."""

    environment: dict[str, str]
    mysql: str

    def holdfast(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return self.run([sys.executable, "-m", "holdfast", *argv])

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(command, check=False, env=self.environment, cwd=ROOT, capture_output=True, text=True, timeout=300)

    def up(self, *argv: str) -> None:
        done = self.holdfast("up", *argv)
        assert done.returncode == 0, done.stdout + done.stderr

    def status(self) -> dict[str, Any]:
        said: dict[str, Any] = json.loads(self.holdfast("status", "--json").stdout)
        return said

    def gateways(self) -> dict[str, int]:
        return {each["name"]: each["pid"] for each in self.status()["processes"] if each["kind"] == "gateway"}


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, stack_home: Home) -> Iterator[Shop]:
    home = stack_home.root.with_name(unique_name("gateway-home-"))
    with new_database(endpoints.mysql) as mysql, new_redis(endpoints.redis) as redis:
        at = replace(endpoints, mysql=mysql, redis=redis)
        own = {
            "HOLDFAST_TOPIC_PREFIX": unique_name("g"),
            "HOLDFAST_PARTITIONS": "2",
            "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE": "true",
            "HOLDFAST_HOME": str(home),
            "HOLDFAST_CACHE": str(stack_home.cache),
        }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        shop = Shop({**os.environ, **at.variables(), **own, "PATH": path}, mysql)
        try:
            shop.up()
            yield shop
        finally:
            shop.holdfast("down", "--wipe")


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.2)


def ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz", timeout=5).status_code == 200
    except httpx.TransportError:
        return False


def test_up_brings_one_that_takes_orders_and_says_where(shop: Shop) -> None:
    assert list(shop.gateways()) == ["gateway-1"]
    url = shop.status()["gateway"]
    assert ready(url), "`up` waits for it"
    assert url in shop.holdfast("status").stdout


def test_up_starts_what_tells_endpoints(shop: Shop) -> None:
    assert ("webhooks", "running") in {(each["name"], each["status"]) for each in shop.status()["processes"]}
    url, admin = shop.status()["gateway"], bearer(new_key(shop.mysql))
    with receiving() as receiver:
        added = shop.holdfast("webhooks", "add", f"{receiver.url}/hook", "--json")
        assert added.returncode == 0, added.stderr
        body = order_body(("not-there", 1))
        order_id = httpx.post(f"{url}/v1/orders", json=body, headers={**admin, "Prefer": "wait=30"}, timeout=60).json()["order_id"]
        until(lambda: [posted.headers["webhook-id"] for posted in receiver.of("/hook")] == [f"order-{order_id}-1"])


def test_the_readmes_lines_place_follow_and_read_an_order(shop: Shop) -> None:
    url, admin = shop.status()["gateway"], bearer(new_key(shop.mysql))
    restocked = httpx.post(f"{url}/v1/products/22423/restock", json={"quantity": 5}, headers={**admin, "Prefer": "wait=30"}, timeout=60)
    assert restocked.is_success, restocked.text
    blocks = re.findall(r"```sh\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    (block,) = [each for each in blocks if "curl" in each]
    assert len(block.splitlines()) == 4
    done = shop.run(["bash", "-c", block])
    assert done.returncode == 0, done.stdout + done.stderr
    followed, _, read = done.stdout.rpartition("\n\n")
    order = json.loads(read)
    assert (order["status"], [line["product_id"] for line in order["lines"]]) == ("confirmed", ["22423"])
    assert "event: confirmed" in followed
    assert f'"order_id":"{order["order_id"]}"' in followed.replace(" ", "")


def test_a_killed_one_comes_back_at_the_same_address(shop: Shop) -> None:
    url, before = shop.status()["gateway"], shop.gateways()
    os.kill(before["gateway-1"], signal.SIGKILL)
    until(lambda: shop.gateways().get("gateway-1", before["gateway-1"]) != before["gateway-1"])
    until(lambda: ready(url))
    assert shop.status()["gateway"] == url


def test_they_come_and_go_by_number(shop: Shop) -> None:
    url, one = shop.status()["gateway"], shop.gateways()
    shop.up("--gateways", "2")
    two = shop.gateways()
    assert set(two) == {"gateway-1", "gateway-2"}
    assert one.items() <= two.items()
    assert shop.status()["gateway"] == url
    shop.up()
    assert shop.gateways() == two, "without a number, as many as run"
    shop.up("--gateways", "0")
    assert (shop.gateways(), shop.status()["gateway"]) == ({}, None)
    assert not ready(url)
    shop.up("--gateways", "1")
    assert shop.status()["gateway"] == url, "the port is kept"
    assert ready(url)


def test_down_ends_it(shop: Shop) -> None:
    url = shop.status()["gateway"]
    assert shop.holdfast("down").returncode == 0
    assert shop.status()["gateway"] is None
    assert not ready(url)
