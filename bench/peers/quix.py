"""The same on quixstreams: a stateful function over the stream of orders, exactly once, state in RocksDB and a changelog."""

from __future__ import annotations

from typing import Any

from quixstreams import Application  # type: ignore[import-not-found,unused-ignore]

from bench.peers.common import Given, encode_outcome, order_line


def run(given: Given) -> None:
    """Decide until killed."""
    app = Application(
        broker_address=given.kafka,
        consumer_group=given.group,
        processing_guarantee="exactly-once",
        auto_offset_reset="earliest",
        commit_interval=0.3,
        state_dir=str(given.directory / "state"),
        producer_extra_config={"linger.ms": 5, "compression.type": "lz4", "batch.num.messages": 10_000, "transaction.timeout.ms": 10_000},
        consumer_extra_config={"queued.max.messages.kbytes": 65_536, "isolation.level": "read_committed"},
        loglevel="WARNING",
    )
    orders = app.topic(given.input, key_deserializer="str", value_deserializer="bytes")
    outcomes = app.topic(given.output, key_serializer="str", value_serializer="bytes")

    def reserve(value: bytes, state: Any) -> bytes:
        order = order_line(value)
        available = state.get("available")
        if available is None:
            available = given.opening(order.product_id)
        held = available >= order.quantity
        if held:
            available -= order.quantity
            state.set("available", available)
        return encode_outcome(*order, held, available)

    app.dataframe(orders).apply(reserve, stateful=True).to_topic(outcomes)
    app.run()


if __name__ == "__main__":
    run(Given.from_environment())
