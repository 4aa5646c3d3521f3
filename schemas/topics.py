"""Every topic, named once: its key, records, cleanup policy, writers and readers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

DEFAULT_PARTITIONS: Final = 8
"""All stage topics share one partition count, so that a worker holds the same partition of each."""

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Topic:
    """One topic. `records` are the names of schemas/avro/*.avsc it may carry; `key` is what the key bytes say."""

    name: str
    key: str
    records: tuple[str, ...]
    writers: tuple[str, ...]
    readers: tuple[str, ...]
    compacted: bool = False
    partitions: int | None = None
    """None: the stage topics' common count."""
    max_message_bytes: int = _MIB

    def named(self, prefix: str = "") -> str:
        """Return the topic's name on the brokers; `prefix` sets several Holdfasts on one cluster apart."""
        return prefix + self.name

    def config(self) -> dict[str, str]:
        """Return the broker-side settings the topic is created with."""
        cleanup = {"cleanup.policy": "compact", "min.cleanable.dirty.ratio": "0.3"} if self.compacted else {"cleanup.policy": "delete", "retention.ms": "-1"}
        # The brokers' own time: it is what the stages decide by, and a producer whose clock is wrong is not turned away.
        return {**cleanup, "max.message.bytes": str(self.max_message_bytes), "message.timestamp.type": "LogAppendTime"}


ORDERS = Topic("orders", "product_id", ("OrderLine", "OrderLines"), ("gateway", "loader", "producers"), ("stock",))
STOCK_COMMANDS = Topic(
    "stock.commands", "product_id", ("StockCommand", "StockCommands"), ("operators", "loader", "orders"), ("stock",), max_message_bytes=4 * _MIB
)
STOCK_DECISIONS = Topic("stock.decisions", "order_id", ("StockDecisions", "StockMovements"), ("stock",), ("orders", "audit"), max_message_bytes=4 * _MIB)
STOCK_LEVELS = Topic("stock.levels", "product_id", ("StockLevel",), ("stock",), ("sinks", "consumers"), compacted=True)
ORDER_COMMANDS = Topic("order.commands", "order_id", ("OrderCommand", "OrderCommands", "ImportedOrder"), ("gateway", "warehouse", "loader"), ("orders",))
ORDER_OUTCOMES = Topic("order.outcomes", "order_id", ("OrderOutcome", "OrderCommandRefused"), ("orders",), ("sinks", "consumers"), max_message_bytes=4 * _MIB)
PAYMENT_REQUESTS = Topic("payment.requests", "order_id", ("PaymentRequests",), ("orders",), ("payments",), max_message_bytes=4 * _MIB)
PAYMENT_RESULTS = Topic("payment.results", "order_id", ("PaymentResults",), ("payments",), ("orders", "audit"), max_message_bytes=4 * _MIB)
DEAD_LETTERS = Topic(
    "dead-letters",
    "source topic",
    ("DeadLetter", "DeadLetterSettled"),
    ("stock", "orders", "payments", "sinks", "loader", "operators"),
    ("operators",),
    max_message_bytes=8 * _MIB,
)
STOCK_STATE = Topic("stock.state", "product_id", ("ProductRow", "TaskPositions"), ("stock",), ("stock",), compacted=True)
ORDER_STATE = Topic("order.state", "order_id", ("OrderRow", "TaskPositions"), ("orders",), ("orders",), compacted=True)
PAYMENT_STATE = Topic("payment.state", "order_id", ("PaymentRow", "TaskPositions"), ("payments",), ("payments",), compacted=True)

ALL: Final = (
    ORDERS,
    STOCK_COMMANDS,
    STOCK_DECISIONS,
    STOCK_LEVELS,
    ORDER_COMMANDS,
    ORDER_OUTCOMES,
    PAYMENT_REQUESTS,
    PAYMENT_RESULTS,
    DEAD_LETTERS,
    STOCK_STATE,
    ORDER_STATE,
    PAYMENT_STATE,
)

GENERATIONS: Final = Topic("generations", "generation", ("Generation",), ("operators",), ("everybody",), compacted=True, partitions=1)
"""Which generation of the topics above is in use (generations/). Of the shop as a whole: no generation's prefix goes before it."""

EVERY: Final = (*ALL, GENERATIONS)

POSITIONS_KEY: Final = b"\x00positions"
"""Changelog key of a task's TaskPositions; no product or order ID starts with a zero byte."""

PIPELINE_GROUP: Final = "holdfast"
"""The workers' consumer group, after the prefix of the topics."""
WAREHOUSE_GROUP: Final = "holdfast-warehouse"
"""That of `holdfast ship`."""
