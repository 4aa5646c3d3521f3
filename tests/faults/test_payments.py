"""A real pipeline and a real provider that is slow, late, failing, lying, down, killed and frozen under load: the money stays right."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from holdfast import audit
from schemas.topics import ORDERS
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN
from tests.faults import ledger
from tests.support.pipeline import Child, Load, Pipeline, outcomes, running, until
from tests.support.provider import ProviderProcess, own_provider

ORDER_TIMEOUT = 10
KEY = "a secret of the provider"
LATE = {10: TWICE_TOKEN, 20: TWICE_TOKEN, 30: SLOW_TOKEN, 40: SILENT_TOKEN}
"""Payment tokens by the last digits of the order ID."""
pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]


@dataclass
class Shop:
    """A pipeline without stores, whose payments a provider of its own is asked for."""

    pipeline: Pipeline
    provider: ProviderProcess
    worker: Child

    def restart_worker(self) -> None:
        self.worker.kill()
        self.worker = self.pipeline.worker()
        self.pipeline.await_open(self.worker)


@dataclass
class LateLoad(Load):
    """Some orders are paid with tokens that are answered late, twice, or not in time."""

    def put(self, topic: Any, name: str, value: dict[str, Any], key: str, partition: int) -> None:
        token = LATE.get(value.get("order_id", 1) % 50) if topic is ORDERS else None
        super().put(topic, name, {**value, "payment_token": token} if token else value, key, partition)


@pytest.fixture
def shop(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    sandbox = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_SANDBOX_SLOW": "2", "HOLDFAST_SANDBOX_SILENT": str(ORDER_TIMEOUT + 3)}
    with own_provider(tmp_path, HOLDFAST_PAYMENT_KEY=KEY, **sandbox) as provider:
        asked = {"HOLDFAST_PAYMENT_PROVIDER": "http", "HOLDFAST_PAYMENT_URL": provider.url, "HOLDFAST_PAYMENT_KEY": KEY, "HOLDFAST_PAYMENT_TIMEOUT": "1"}
        with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, settings={**sandbox, **asked})) as pipeline:
            worker = pipeline.worker()
            pipeline.await_open(worker)
            yield Shop(pipeline, provider, worker)


def assert_money_is_right(shop: Shop, load: Load) -> list[dict[str, Any]]:
    """Drain, audit the log, and hold the provider's own ledger against it; returns the ledger."""
    pipeline = shop.pipeline
    pipeline.drain()
    time.sleep(ORDER_TIMEOUT + 1)  # an order that lost a line expires so long after its last batch was decided, at most
    pipeline.drain()
    report = audit.run(kafka=pipeline.kafka, prefix=pipeline.prefix)
    assert report.ok, f"seed {load.seed}: {report.text()}\n{pipeline.last_words()}"
    entries = shop.provider.ledger()
    assert ledger.check(entries, outcomes(pipeline)) == []
    assert load.sent > 300
    for child in pipeline.children:
        assert KEY not in child.log.read_text(errors="replace")
    return entries


def set_mode(**mode: float | bool) -> Callable[[Shop], None]:
    return lambda shop: shop.provider.mode(**mode)


def kill_provider(shop: Shop) -> None:
    shop.provider.kill()
    time.sleep(1)
    shop.provider.start()


def freeze_provider(shop: Shop) -> None:
    shop.provider.signal(signal.SIGSTOP)
    time.sleep(3)
    shop.provider.signal(signal.SIGCONT)


def kill_worker(shop: Shop) -> None:
    shop.restart_worker()


FAULTS: dict[str, list[Callable[[Shop], None]]] = {
    "slow, late and down": [set_mode(slow_s=0.5), set_mode(slow_s=2.5), set_mode(down=True)],
    "failing, dropping and lying": [set_mode(fail_rate=0.4, drop_rate=0.3), set_mode(lie_rate=1.0, drop_rate=0.4)],
    "killed and frozen": [kill_provider, freeze_provider, kill_provider],
    "lying while workers die": [set_mode(lie_rate=1.0, drop_rate=0.3), kill_worker, kill_worker],
}


@pytest.mark.parametrize("faults", FAULTS)
def test_the_money_stays_right_while_the_provider_is(shop: Shop, faults: str) -> None:
    load = LateLoad(shop.pipeline.kafka, shop.pipeline.prefix, seed=len(faults), units=4_000)
    load.restock()
    with load.flowing(per_second=60):
        for fault in FAULTS[faults]:
            fault(shop)
            time.sleep(3)
        shop.provider.mode()
        time.sleep(1)
    entries = assert_money_is_right(shop, load)
    assert {entry["result"] for entry in entries} >= {"paid", "declined", "refunded"}


@contextmanager
def _one_order_each(shop: Shop, *tokens: str) -> Iterator[dict[str, int]]:
    """Place an order of one line per token; yields token -> order ID."""
    load = Load(shop.pipeline.kafka, shop.pipeline.prefix, seed=7)
    load.restock()
    placed = {token: load.base + n for n, token in enumerate(tokens)}
    for token, order_id in placed.items():
        common = {"order_id": order_id, "line": 1, "line_count": 1, "currency": "GBP", "user_id": "ann", "payment_token": token, "placed_at": 0}
        load._line(common)
    load.producer.flush()
    yield placed


def test_each_token_ends_as_it_should(shop: Shop) -> None:
    with _one_order_each(shop, "tok_ok", "tok_declined", SLOW_TOKEN, TWICE_TOKEN, SILENT_TOKEN) as placed:
        until(lambda: len({o["order_id"] for o in outcomes(shop.pipeline)}) == len(placed), 60, "every order is decided")
        shop.pipeline.drain()
    last = {o["order_id"]: o for o in sorted(outcomes(shop.pipeline), key=lambda o: o["version"])}
    assert {token: last[order_id]["status"] for token, order_id in placed.items()} == {
        "tok_ok": "CONFIRMED",
        "tok_declined": "PAYMENT_FAILED",
        SLOW_TOKEN: "CONFIRMED",
        TWICE_TOKEN: "CONFIRMED",
        SILENT_TOKEN: "EXPIRED",
    }
    silent = last[placed[SILENT_TOKEN]]
    assert silent["charged"] == silent["refunded"] > 0
    assert audit.run(kafka=shop.pipeline.kafka, prefix=shop.pipeline.prefix).ok
    assert ledger.check(shop.provider.ledger(), outcomes(shop.pipeline)) == []
