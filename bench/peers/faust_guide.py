"""The same on Faust as its guide shows it: an agent that takes one event at a time, a table, a topic to send to.

`faust -A bench.peers.faust_guide worker`; BENCH_GUARANTEE is Faust's `processing_guarantee`.
"""

from __future__ import annotations

import os
from typing import Any

import faust
from faust.serializers import codecs
from faust.transport.drivers import aiokafka as driver

from bench.peers.common import Given, decode_order, encode_outcome

GIVEN = Given.from_environment()


class Order(faust.Record):  # type: ignore[misc,unused-ignore]
    """One order line."""

    order_id: int
    product_id: str
    quantity: int


class AvroOrder(codecs.Codec):  # type: ignore[misc,unused-ignore]
    """Avro bytes to a model's fields, as the guide's section on codecs does it."""

    def _loads(self, s: bytes) -> Any:
        order = decode_order(s)
        return {"order_id": order["order_id"], "product_id": order["product_id"], "quantity": order["quantity"]}

    def _dumps(self, s: Any) -> bytes:
        raise NotImplementedError("orders are only read here")


class ShortTransactions(driver.Producer):  # type: ignore[misc,unused-ignore]
    """Faust leaves the client's transaction timeout of 60 s, which the bench's broker does not allow; nothing else is changed."""

    def _settings_extra(self) -> Any:
        return {**super()._settings_extra(), "transaction_timeout_ms": 10_000}


driver.Transport.Producer = ShortTransactions
codecs.register("avro_order", AvroOrder())
app = faust.App(
    GIVEN.group,
    broker=f"kafka://{GIVEN.kafka}",
    store="memory://",
    topic_partitions=GIVEN.partitions,
    topic_disable_leader=True,
    datadir=GIVEN.directory / "faust",
    consumer_auto_offset_reset="earliest",
    processing_guarantee=os.environ.get("BENCH_GUARANTEE", "at_least_once"),
)
orders = app.topic(GIVEN.input, key_type=str, value_type=Order, value_serializer="avro_order", key_serializer="raw")
outcomes = app.topic(GIVEN.output, key_type=str, value_type=bytes, value_serializer="raw", key_serializer="raw")
stock = app.Table("stock", partitions=GIVEN.partitions)


@app.agent(orders)  # type: ignore[untyped-decorator,unused-ignore]
async def reserve(stream: Any) -> None:
    """Reserve or refuse, one order after the other."""
    async for order in stream:
        available = stock.get(order.product_id)
        if available is None:
            available = GIVEN.opening(order.product_id)
        held = available >= order.quantity
        if held:
            available -= order.quantity
            stock[order.product_id] = available
        await outcomes.send(key=order.product_id, value=encode_outcome(order.order_id, order.product_id, order.quantity, held, available))
