"""From Granian's thread to the ticks of the order log: no order is forgotten in between. The rest is in tests/live/test_gateway_short_way.py."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

from ingest.http.metrics import Figures
from ingest.http.plain_orders import PATIENCE_S, PlainOrders
from ingest.http.seams import Caller, Scope
from ingest.order_log import OrderLog
from tests.support.gateway import order_body

ORDERS = 300
HEADERS = {"content-length": "10", "authorization": "Bearer k", "content-type": "application/json"}
BODY = str(order_body()).replace("'", '"').encode()


class Writer:
    """A log that acknowledges at the next poll but one."""

    is_moving = False

    def __init__(self) -> None:
        self.sent: list[Any] = []
        self.due: list[Any] = []

    def check_open(self) -> None: ...

    def partitions(self, topic: object) -> int:
        return 4

    def send(self, topic: object, partition: int, key: object, value: bytes, on_ack: Any, headers: object) -> None:
        self.sent.append(on_ack)

    def poll(self) -> None:
        due, self.due, self.sent = self.due, self.sent, []
        for on_ack in due:
            on_ack(None, 1)


class Watcher:
    """A request whose body is there after so many looks, and who is told of its answer."""

    def __init__(self, looks: int) -> None:
        self.scope = SimpleNamespace(method="POST", path="/v1/orders", headers=HEADERS, client="127.0.0.1:1")
        self.answered = threading.Event()
        self.status = 0
        self._looks = looks

    @property
    def proto(self) -> Any:
        return self

    def __call__(self) -> Any:
        return self

    def done(self) -> bool:
        self._looks -= 1
        return self._looks < 0

    def result(self) -> bytes:
        return BODY

    def response_bytes(self, status: int, headers: object, body: bytes) -> None:
        self.status = status
        self.answered.set()


def gateway_of(loop: asyncio.AbstractEventLoop) -> Any:
    caller, ids = Caller("u1", frozenset({Scope.PLACE}), "k"), count(1)
    return SimpleNamespace(
        loop=loop,
        log=OrderLog(Writer(), loop),  # type: ignore[arg-type]
        ids=SimpleNamespace(partitions=4, next=lambda _partition: next(ids)),
        authorize=SimpleNamespace(verified=lambda said: caller),
        throttle=SimpleNamespace(at_once=lambda caller, acts_for, cost: [("ratelimit", str(cost))]),
        owners=SimpleNamespace(note=lambda placed: None),
        access=SimpleNamespace(write=lambda line: None),
        figures=Figures(),
        spans=None,
        shed_after=lambda: None,
    )


class LongWay:
    def __init__(self) -> None:
        self.begun: list[Watcher] = []

    def begin(self, watcher: Watcher, body: object) -> None:
        self.begun.append(watcher)
        watcher.answered.set()


def test_no_order_is_forgotten_whenever_it_comes() -> None:
    async def run() -> tuple[list[int], int, Any]:
        gateway = gateway_of(asyncio.get_running_loop())
        plain = gateway.log.source = PlainOrders(gateway, LongWay(), 1_000)  # type: ignore[arg-type]
        statuses = await asyncio.to_thread(come, plain)
        return statuses, gateway.figures.in_hand, gateway.figures.requests

    def come(plain: PlainOrders) -> list[int]:
        # Each waits for the one before: after a wake-up that is lost nothing would come any more.
        drawn, watchers = random.Random(7), [Watcher(n % 3) for n in range(ORDERS)]
        for watcher in watchers:
            time.sleep(drawn.choice((0, 0, 0.0005, 0.001, 0.002)))
            assert plain.takes(watcher)  # type: ignore[arg-type]
            assert watcher.answered.wait(20)
        return [watcher.status for watcher in watchers]

    assert asyncio.run(run()) == ([202] * ORDERS, 0, {("POST /v1/orders", 202): ORDERS})


def test_a_body_that_does_not_come_is_handed_on() -> None:
    async def run() -> tuple[list[Watcher], Watcher]:
        gateway, long_way, never = gateway_of(asyncio.get_running_loop()), LongWay(), Watcher(10**9)
        plain = gateway.log.source = PlainOrders(gateway, long_way, 1_000)  # type: ignore[arg-type]
        assert plain.takes(never)  # type: ignore[arg-type]
        await asyncio.to_thread(never.answered.wait, PATIENCE_S + 20)
        return long_way.begun, never

    begun, never = asyncio.run(run())
    assert begun == [never]
