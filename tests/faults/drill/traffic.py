"""What flows while processes die: the pipeline's test load, with receipts of goods and with records that no sink can store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, Message

from schemas import codec
from schemas.partitions import product_partition
from schemas.topics import ORDER_OUTCOMES, ORDERS, STOCK_COMMANDS
from streams.payments.sandbox import SLOW_TOKEN, TWICE_TOKEN
from tests.support.pipeline import PARTITIONS, Load, Pipeline, values

LATE = {10: TWICE_TOKEN, 20: TWICE_TOKEN, 30: SLOW_TOKEN}
"""Payment tokens by the last digits of the order ID."""


@dataclass
class Traffic(Load):
    """Orders of one and of several lines, some declined, doubled or torn; cancels, ships, returns, receipts; poison for the sinks."""

    placed: set[int] = field(default_factory=set)
    """Orders of which at least one line was sent."""
    failed: list[str] = field(default_factory=list)

    def _line(self, common: dict[str, Any]) -> None:
        self.placed.add(common["order_id"])
        super()._line(common)

    def put(self, topic: Any, name: str, value: dict[str, Any], key: str, partition: int) -> None:
        """Send a record; of some orders the charge is answered later, or twice."""
        token = LATE.get(value.get("order_id", 1) % 50) if topic is ORDERS else None
        super().put(topic, name, {**value, "payment_token": token} if token else value, key, partition)

    def _later(self, order_id: int) -> None:
        super()._later(order_id)
        chance, product = self.random.random(), f"p{self.random.randrange(self.products)}"
        if chance < 0.05:
            receipt = {"command_id": f"receipt-{order_id}", "kind": "RESTOCK", "product_id": product, "quantity": self.random.randint(1, 20), "as_of": 0}
            self.put(STOCK_COMMANDS, "StockCommand", {**receipt, "issued_at": 0, "actor": "test", "note": ""}, product, product_partition(product, PARTITIONS))
        elif chance < 0.07:
            self.producer.produce(ORDER_OUTCOMES.named(self.prefix), b"poison", b"", self.random.randrange(PARTITIONS), on_delivery=self._heard)

    def _heard(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self.failed.append(error.str())

    def unanswered(self, pipeline: Pipeline) -> set[int]:
        """Return the orders of ours that have no decision."""
        return self.placed - decided(pipeline)


def decided(pipeline: Pipeline) -> set[int]:
    """Return the orders that have a decision in the log."""
    found = set()
    for value in values(pipeline, ORDER_OUTCOMES):
        try:
            outcome = codec.decode(value).value
        except codec.UndecodableError:
            continue
        if outcome.get("change") == "DECIDED":
            found.add(outcome["order_id"])
    return found
