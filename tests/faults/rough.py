"""A producer as others write them: no idempotence, no care for partitions; and what it sends, under names of its own."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain, count
from random import Random
from typing import Any, Final, NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas import codec
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic
from tests.faults.fault import CannotStrikeError

Item = dict[str, Any]
DELIVERY_S: Final = 30.0
TOO_LARGE: Final = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_TIMESTAMP)
"""What a broker may refuse of what a broken producer sends: it has no part in the log."""


class Sent(NamedTuple):
    """A record that the brokers hold: topic (named without prefix), partition, offset, and the bytes."""

    topic: str
    partition: int
    offset: int
    value: bytes | None


@dataclass(frozen=True)
class Log:
    """Where records go: the brokers, the prefix of the topics' names, their partition count."""

    kafka: str
    prefix: str
    partitions: int


class RoughProducer:
    """Sends records as they are told. `sent` are those the brokers acknowledged, in the order of their acknowledgements."""

    def __init__(self, log: Log, **options: Any) -> None:
        self.log = log
        self.sent: list[Sent] = []
        self.refused: list[KafkaError] = []
        defaults = {"bootstrap.servers": log.kafka, "acks": 1, "enable.idempotence": False, "message.max.bytes": 20_000_000, "compression.type": "lz4"}
        room = {"queue.buffering.max.messages": 1_000_000, "delivery.timeout.ms": int(DELIVERY_S * 1000), "linger.ms": 5, "log_level": 2}
        self._producer = Producer({**defaults, **room, **options})

    def put(self, topic: Topic, value: bytes | None, key: bytes | None = None, partition: int = -1, **extra: Any) -> None:
        """Queue one record; partition -1: wherever the client's partitioner puts its key."""

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is None:
                self.sent.append(Sent(topic.name, int(message.partition() or 0), int(message.offset() or 0), value))
            else:
                self.refused.append(error)

        try:
            self._producer.produce(topic.named(self.log.prefix), value, key, partition, on_delivery=delivered, **extra)
        except KafkaException as error:
            self.refused.append(error.args[0])
        self._producer.poll(0)

    def line(self, line: Item, partition: int | None = None) -> None:
        """Queue an OrderLine, to its product's partition unless told otherwise."""
        home = product_partition(line["product_id"], self.log.partitions) if partition is None else partition
        self.put(ORDERS, codec.encode("OrderLine", line), line["product_id"].encode(), home)

    def stock(self, command: Item, partition: int | None = None) -> None:
        """Queue a StockCommand."""
        home = product_partition(command["product_id"], self.log.partitions) if partition is None else partition
        whole = {"as_of": 0, "issued_at": now_ms(), "actor": "rough", "note": "", **command}
        self.put(STOCK_COMMANDS, codec.encode("StockCommand", whole), command["product_id"].encode(), home)

    def command(self, command: Item, partition: int | None = None) -> None:
        """Queue an OrderCommand."""
        home = order_partition(command["order_id"], self.log.partitions) if partition is None else partition
        whole = {"line": 0, "quantity": 0, "issued_at": now_ms(), "actor": "rough", **command}
        self.put(ORDER_COMMANDS, codec.encode("OrderCommand", whole), b"%d" % command["order_id"], home)

    def flush(self) -> None:
        """Wait until the brokers have everything; raises CannotStrikeError where they do not answer, or refuse what they should take."""
        left = self._producer.flush(DELIVERY_S + 5)
        odd = [error for error in self.refused if error.code() not in TOO_LARGE]
        if left or odd:
            raise CannotStrikeError(f"the brokers have {len(self.sent)} records and not {left + len(odd)} others: {odd[0].str() if odd else 'no answer'}")


class Shop:
    """Orders and products that nobody else has: `Shop(random)` names them by chance, so that a fault can strike many times."""

    def __init__(self, random: Random, products: int = 6) -> None:
        self.random = random
        base = random.randrange(10**12)
        self.products = [f"rough-{base}-{number}" for number in range(products)]
        self.order_ids = count(base * 1_000 + 1)

    def restocks(self, units: int) -> list[Item]:
        """Return what puts so many units of each product on the shelf."""
        return [{"command_id": f"opening-{p}", "kind": "RESTOCK", "product_id": p, "quantity": units} for p in self.products]

    def order(self, lines: int, **fields: Any) -> list[Item]:
        """Return the lines of one more order."""
        order_id = next(self.order_ids)
        header = {"order_id": order_id, "line_count": lines, "currency": "GBP", "user_id": f"rough-{order_id % 7}", "payment_token": "tok_ok"}
        header |= {"placed_at": now_ms(), "unit_price": 100}
        return [
            {**header, "line": n, "product_id": self.random.choice(self.products), "quantity": self.random.randint(1, 3), **fields} for n in range(1, lines + 1)
        ]

    def orders(self, number: int) -> list[list[Item]]:
        """Return orders of one to four lines; every tenth cannot be paid."""
        return [self.order(self.random.randint(1, 4), **({"payment_token": "tok_declined"} if n % 10 == 0 else {})) for n in range(number)]


def mixed(random: Random, parts: Iterable[Sequence[Item]], *, copies: int = 1) -> list[Item]:
    """Return all lines in any order, each up to `copies` times."""
    lines = [line for line in chain.from_iterable(parts) for _ in range(random.randint(1, copies))]
    random.shuffle(lines)
    return lines


def now_ms() -> int:
    """Return the wall clock in ms."""
    return time.time_ns() // 1_000_000
