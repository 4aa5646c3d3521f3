"""The runbook's way to another version, under load: the whole shop, process by process, and nobody who orders notices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import cycle
from pathlib import Path

import httpx
import pytest

from holdfast import audit
from holdfast.stack.ports import free_port
from tests.support import versions
from tests.support.gateway import bearer, new_key, order_body
from tests.support.pipeline import Child, Load, Pipeline, running, until
from tests.support.sse import Receiver, receiving

pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]
CONTRACTS = "schemas/avro/ids.json"
GATEWAYS = (free_port(), free_port())
TRIES_FOR_S = 60.0
SETTINGS = {"HOLDFAST_ORDER_TIMEOUT": "6", "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE": "true"}
BETWEEN_S = 3.0
"""Work goes on between two steps: versions meet under load."""


COMMANDS = {
    **{f"sink-{store}": ("sink", store) for store in ("mysql", "redis")},
    "webhooks": ("webhooks", "run"),
    **{f"worker-{number}": ("worker",) for number in (1, 2)},
    **{f"gateway-{port}": ("gateway", "--port", str(port)) for port in GATEWAYS},
}
"""In the order in which they are replaced: who reads before who writes."""
UP = {"sink": "reading", "webhooks": "telling", "worker": "task opened"}
"""What each says once it is at work."""


@dataclass
class Shopper:
    """Somebody who orders at the gateways, one order after the other, and tries again, as a client that means it does, under the same key."""

    key: str
    placed: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)
    failure: str = ""

    def __post_init__(self) -> None:
        self._doors = cycle(GATEWAYS)

    def run(self) -> None:
        while not self.stopping.wait(0.02) and not self.failure:
            self._place(f"upgrade-{len(self.placed)}")

    def _place(self, idempotency_key: str) -> None:
        deadline, last = time.monotonic() + TRIES_FOR_S, ""
        while time.monotonic() < deadline:
            try:
                answer = httpx.post(
                    f"http://127.0.0.1:{next(self._doors)}/v1/orders",
                    json=order_body(("p1", 1)),
                    headers={**bearer(self.key), "Idempotency-Key": idempotency_key},
                    timeout=20,
                    trust_env=False,
                )
            except httpx.TransportError as error:
                last = repr(error)
            else:
                if answer.status_code == httpx.codes.ACCEPTED:
                    self.placed.append(answer.json()["order_id"])
                    return
                last = f"{answer.status_code} {answer.text}"
            time.sleep(0.1)
        self.failure = last


@dataclass
class Shop:
    """The pipeline's processes by what they are, each of a version."""

    pipeline: Pipeline
    tree: Path = versions.ROOT
    processes: dict[str, Child] = field(default_factory=dict)

    def run(self, *command: str) -> None:
        done = subprocess.run(
            [sys.executable, "-m", "holdfast", *command], cwd=self.tree, env=self.environment(), capture_output=True, text=True, timeout=120, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def start(self, name: str) -> None:
        log = self.pipeline.folder / f"{name}-{len(self.pipeline.children)}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen([sys.executable, "-m", "holdfast", *COMMANDS[name]], cwd=self.tree, env=self.environment(), stdout=out, stderr=out)
        self.processes[name] = Child(name, popen, log)
        self.pipeline.children.append(self.processes[name])
        until(lambda: self.is_up(name), 90, f"{name} is up", self.processes[name])

    def replace(self, name: str) -> None:
        """Stop one process as its supervisor would, and start it in the version that is now the shop's."""
        child = self.processes[name]
        child.popen.terminate()
        child.popen.wait(60)  # with which code is that version's business: what counts is that nothing is lost
        self.start(name)
        time.sleep(BETWEEN_S)

    def is_up(self, name: str) -> bool:
        if name.startswith("gateway"):
            try:
                return httpx.get(f"http://127.0.0.1:{name.partition('-')[2]}/readyz", timeout=5, trust_env=False).status_code == httpx.codes.OK
            except httpx.TransportError:
                return False
        return self.processes[name].said(UP[name.partition("-")[0]])

    def environment(self) -> dict[str, str]:
        path = os.pathsep.join(filter(None, (str(self.tree), os.environ.get("PYTHONPATH"))))
        return {**self.pipeline.environment(), "PYTHONPATH": path, "HOLDFAST_RUN_DIR": str(self.pipeline.folder)}


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as found:
        yield found


@pytest.fixture
def shop(kafka: str, topic_prefix: str, fresh_database: str, fresh_redis: str, tmp_path: Path) -> Iterator[Shop]:
    commit = versions.before_the_last_change_of(CONTRACTS)
    if commit is None:
        pytest.skip("the history of this checkout does not reach back to another version")
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, fresh_database, fresh_redis, SETTINGS)) as pipeline:
        found = Shop(pipeline, versions.tree_of(commit, tmp_path))
        found.run("migrate")
        yield found


def test_a_shop_goes_to_the_next_version_under_load(shop: Shop, receiver: Receiver) -> None:
    shop.run("webhooks", "add", f"{receiver.url}/all")
    for name in COMMANDS:
        shop.start(name)
    load, shopper = Load(shop.pipeline.kafka, shop.pipeline.prefix, seed=8), Shopper(new_key(shop.pipeline.mysql or "", "place", user="u1"))
    load.restock(units=100_000)
    ordering = threading.Thread(target=shopper.run)
    ordering.start()
    with load.flowing(100):
        time.sleep(BETWEEN_S)
        shop.tree = versions.ROOT
        shop.run("topics", "create")
        shop.run("migrate")
        for name in COMMANDS:
            shop.replace(name)
    shopper.stopping.set()
    ordering.join()
    assert not shopper.failure
    assert len(set(shopper.placed)) == len(shopper.placed) > 50
    assert all(child.alive() for child in shop.processes.values()), shop.pipeline.last_words()
    _all_is_well(shop.pipeline, load, shopper)
    _everything_is_told(receiver, shopper)


def _all_is_well(pipeline: Pipeline, load: Load, shopper: Shopper) -> None:
    pipeline.drain()
    time.sleep(7)  # orders that lost a line expire
    pipeline.drain()
    report = audit.run(kafka=pipeline.kafka, mysql_url=pipeline.mysql, redis_url=pipeline.redis, prefix=pipeline.prefix)
    assert report.ok, f"{report.text()}\n{pipeline.last_words()}"
    assert load.sent > 500
    client = httpx.Client(base_url=f"http://127.0.0.1:{GATEWAYS[0]}", headers=bearer(new_key(pipeline.mysql or "")), trust_env=False, timeout=20)
    assert {client.get(f"/v1/orders/{order}").json()["status"] for order in shopper.placed} <= {"confirmed", "expired"}


def _everything_is_told(receiver: Receiver, shopper: Shopper) -> None:
    """What became of each order was told, and nothing of it by two different notices."""
    until(lambda: {int(order) for order in shopper.placed} <= {int(each.state[0]) for each in receiver.of("/all")}, 120, "all orders are told")
    notices = {(each.state, each.notice_id) for each in receiver.of("/all")}
    assert len(notices) == len({state for state, _ in notices})
