"""One order, followed from its request to the stores and the webhook by what a collector hears."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from schemas.topics import ORDER_OUTCOMES
from tests.support.collector import Collector, Span, collecting
from tests.support.gateway import GatewayProcess, order_body, running_gateway
from tests.support.pipeline import PARTITIONS, Pipeline, running, until
from tests.support.provider import own_provider
from tests.support.read_topics import headers_of
from tests.support.sse import Receiver, receiving
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
CALLER = "00f067aa0ba902b7"


class Shop:
    """Every kind of process, with spans on."""

    def __init__(self, pipeline: Pipeline, gateway: GatewayProcess, collector: Collector, receiver: Receiver) -> None:
        self.pipeline = pipeline
        self.gateway = gateway
        self.collector = collector
        self.receiver = receiver

    def one(self, what: str, fits: Callable[[Span], bool]) -> Span:
        """Wait for a span; the first that fits."""
        until(lambda: any(map(fits, self.collector.spans())), 30, f"{what} among {sorted({(s.service, s.name) for s in self.collector.spans()})}")
        return next(filter(fits, self.collector.spans()))

    def after(self, name: str, *causes: Span) -> Span:
        """The first span of this name that has links to all of these."""
        return self.one(name, lambda span: span.name == name and span.links >= {each.id for each in causes})


@pytest.fixture(scope="module")
def shop(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder: Path = tmp_path_factory.mktemp("traces")
    with ExitStack() as stack:
        collector, receiver = stack.enter_context(collecting()), stack.enter_context(receiving())
        provider = stack.enter_context(own_provider(folder))
        pay = {"HOLDFAST_PAYMENT_PROVIDER": "http", "HOLDFAST_PAYMENT_URL": provider.url, "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE": "true"}
        spans = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        pipeline = stack.enter_context(running(Pipeline(kafka, f"{unique_name('s')}.", folder, module_database, module_redis, {**pay, **spans})))
        worker = pipeline.worker()
        pipeline.sinks()
        pipeline.run("holdfast", "webhooks", "add", f"{receiver.url}/all")
        pipeline.start("webhooks", "holdfast", "webhooks", "run")
        pipeline.await_open(worker)
        yield Shop(pipeline, stack.enter_context(running_gateway(pipeline)), collector, receiver)


def test_an_order_is_followed_by_links_from_its_request_to_the_stores(shop: Shop) -> None:
    shop.gateway.post("/v1/products/22423/restock", {"quantity": 5})
    trace_id = os.urandom(16).hex()
    placed = shop.gateway.post("/v1/orders", order_body(("22423", 1)), traceparent=f"00-{trace_id}-{CALLER}-01", Prefer="wait=30")
    order_id = int(placed.json()["order_id"])
    assert placed.json()["status"] == "confirmed"

    request = shop.one("request", lambda span: span.trace_id == trace_id)
    assert (request.service, request.name, request.parent) == ("holdfast-gateway", "POST /v1/orders", CALLER)
    assert request.attributes["http.response.status_code"] == 200

    held = shop.after("stock batch", request)
    answered = shop.after("orders batch", request, held)
    asked = shop.after("payments batch", request, answered)
    payment = shop.one("payment", lambda span: span.name == "payment" and span.attributes["holdfast.order_id"] == order_id)
    assert (payment.trace_id, payment.parent) == asked.id
    paid = shop.after("payments batch", request, payment)
    confirmed = shop.after("orders batch", request, paid)
    assert len({each.trace_id for each in (request, held, answered, asked, paid, confirmed)}) == 6
    assert {each.service for each in (held, answered, asked, payment, paid, confirmed)} == {"holdfast-worker"}
    for store in ("mysql", "redis"):
        assert shop.after(f"sink {store} batch", request, confirmed).service == f"holdfast-sink-{store}"
    told = shop.after("webhooks batch", request, confirmed)
    sent = shop.one("webhook", lambda span: span.name == "webhook" and span.attributes["holdfast.order_id"] == order_id)
    assert (sent.trace_id, sent.parent, sent.error) == (*told.id, "")
    assert any(each.headers.get("traceparent") == f"00-{sent.trace_id}-{sent.span_id}-01" for each in shop.receiver.of("/all"))

    (headers,) = headers_of(shop.pipeline.kafka, ORDER_OUTCOMES.named(shop.pipeline.prefix), b"%d" % order_id, PARTITIONS)
    assert headers["traceparent"] == f"00-{confirmed.trace_id}-{confirmed.span_id}-01".encode()
    assert f"00-{request.trace_id}-{request.span_id}-01".encode() in headers["holdfast-causes"]


def test_a_caller_that_keeps_no_trace_makes_none_here(shop: Shop) -> None:
    trace_id = os.urandom(16).hex()
    shop.gateway.post("/v1/orders", order_body(("22423", 1)), traceparent=f"00-{trace_id}-{CALLER}-00", Prefer="wait=30")
    shop.gateway.post("/v1/orders", order_body(("22423", 1)), Prefer="wait=30")
    before = len([span for span in shop.collector.spans() if span.name == "POST /v1/orders"])
    shop.gateway.post("/v1/orders", order_body(("22423", 1)), Prefer="wait=30")
    until(lambda: len([span for span in shop.collector.spans() if span.name == "POST /v1/orders"]) > before, 30, "later requests' spans")
    assert not any(span.trace_id == trace_id or any(link[0] == trace_id for link in span.links) for span in shop.collector.spans())
