"""A small warehouse: ships what order.outcomes says is confirmed, by SHIP commands on order.commands.

Nothing is shipped twice and nothing is forgotten: offsets are committed after the brokers have acknowledged the
commands, and a command sent again after a crash has the same ID, which the orders agent carries out once.
"""

import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from holdfast.backlog import Backlog, Pace, Waiting
from holdfast.run_file import own_run_file
from holdfast.stack.errors import StackError
from schemas.codec import UndecodableError, decode, encode
from schemas.outcomes import MAX_ITEMS, OrderCommandKind
from schemas.partitions import order_partition
from schemas.secure import kafka_settings
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, WAREHOUSE_GROUP
from telemetry import figures

ACTOR = "warehouse"
READ_AT_ONCE = 2_000
READ_S = 0.2
"""So long outcomes are gathered: each batch of commands is a transaction of every partition that has an order of it."""
MOST_WAITING = 50_000
"""Orders held in memory under --delay or --rate; beyond it the partitions are paused."""
GRACE_S = 10.0

log = structlog.get_logger(__name__)


class WarehouseError(StackError):
    """The warehouse cannot go on; the text says why. Nothing is lost: a new start goes on where this one was."""


class Stop(Protocol):
    """Says whether to end (threading.Event does)."""

    def is_set(self) -> bool: ...


@dataclass
class Shipped:
    """What a warehouse has done. `refused`: SHIP commands of warehouses that the orders agent refused."""

    outcomes: int = 0
    orders: int = 0
    refused: int = 0
    undecodable: int = 0


@dataclass(frozen=True)
class Orders:
    """How to work. `follow`: go on for ever; else stop at the end of the log. `per_second`: orders; `delay_s`: after their decision."""

    follow: bool = False
    per_second: float | None = None
    delay_s: float = 0.0


def ship_commands(order_ids: Iterable[int], partitions: int, now_ms: int) -> list[tuple[int, bytes]]:
    """Return the SHIP commands for these orders as (partition, columnar OrderCommands record)."""
    by_partition: dict[int, list[int]] = defaultdict(list)
    for order_id in order_ids:
        by_partition[order_partition(order_id, partitions)].append(order_id)
    return [
        (partition, _record(ids[start : start + MAX_ITEMS], now_ms))
        for partition, ids in sorted(by_partition.items())
        for start in range(0, len(ids), MAX_ITEMS)
    ]


def _record(order_ids: list[int], now_ms: int) -> bytes:
    count = len(order_ids)
    return encode(
        "OrderCommands",
        {
            "kind": bytes([OrderCommandKind.SHIP]) * count,
            "command_id": [f"ship-{order_id}" for order_id in order_ids],
            "order_id": order_ids,
            "line": [0] * count,
            "quantity": [0] * count,
            "issued_at": now_ms,
            "actor": ACTOR,
        },
    )


class Warehouse:
    """One member of the warehouse's consumer group. Call `run` once. `commands_prefix`: where the outcomes are of an earlier generation of the topics."""

    def __init__(
        self, bootstrap: str, prefix: str, orders: Orders, progress: Callable[[Shipped], None] = lambda _: None, commands_prefix: str | None = None
    ) -> None:
        self.shipped = Shipped()
        self._orders = orders
        self._progress = progress
        self._outcomes = ORDER_OUTCOMES.named(prefix)
        self._commands = ORDER_COMMANDS.named(prefix if commands_prefix is None else commands_prefix)
        self._backlog = Backlog()
        self._pace = Pace(orders.per_second, time.monotonic())
        self._to_finish: set[int] | None = None
        self._failed: list[KafkaError] = []
        self._committed: dict[int, int] = {}
        self._run_file = own_run_file("ship")
        self._producer = Producer(_producer_settings(bootstrap))
        self._partitions = self._count_partitions()
        self._consumer = Consumer(_consumer_settings(bootstrap, prefix))

    def run(self, stopping: Stop) -> Shipped:
        """Ship until told to stop, or without `follow` until the log's end is shipped. Raises WarehouseError."""
        self._consumer.subscribe([self._outcomes], on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked)
        try:
            while not stopping.is_set() and not self._is_finished():
                self._read()
                self._ship(stopping)
                self._progress(self.shipped)
        except KafkaException as error:
            raise WarehouseError(f"the warehouse cannot go on without Kafka: {error.args[0].str()}") from error
        finally:
            self._consumer.close()
            self._run_file.remove()
        return self.shipped

    # ------------------------------------------------------------------ reading

    def _read(self) -> None:
        self._hold_back(len(self._backlog) >= MOST_WAITING)
        for message in self._consumer.consume(READ_AT_ONCE, READ_S):
            self._take_in(message)

    def _hold_back(self, full: bool) -> None:
        mine = self._consumer.assignment()
        if full:
            self._consumer.pause(mine)
        else:
            self._consumer.resume(mine)

    def _take_in(self, message: Message) -> None:
        error = message.error()
        if error is None:
            self._note(message)
        elif error.code() == KafkaError._PARTITION_EOF:
            self._reached_end(*_place(message))
        elif not error.retriable():
            raise KafkaException(error)

    def _reached_end(self, partition: int, end: int) -> None:
        """Nothing but transaction markers lies between the last record and the end; who goes by our offsets must see that we have passed them."""
        self._backlog.saw(partition, end - 1)
        if self._to_finish is not None:
            self._to_finish.discard(partition)

    def _note(self, message: Message) -> None:
        partition, offset = _place(message)
        self.shipped.outcomes += 1
        waiting = self._order_to_ship(message, partition, offset)
        if waiting:
            self._backlog.add(waiting)
        else:
            self._backlog.saw(partition, offset)

    def _order_to_ship(self, message: Message, partition: int, offset: int) -> Waiting | None:
        try:
            name, value, _ = decode(message.value())
        except UndecodableError as error:
            # The sinks, which read the same record, send it to the dead letters.
            self.shipped.undecodable += 1
            log.warning("outcome left unread", topic=self._outcomes, partition=partition, offset=offset, error=str(error))
            return None
        if name == "OrderCommandRefused":
            self.shipped.refused += value["actor"] == ACTOR
        return _waiting(value, partition, offset, self._orders.delay_s) if is_to_ship(name, value) else None

    # ------------------------------------------------------------------ shipping

    def _ship(self, stopping: Stop) -> None:
        orders = self._backlog.take(_now_ms(), self._pace.allowance(time.monotonic()))
        for partition, record in ship_commands([order.order_id for order in orders], self._partitions, _now_ms()):
            self._producer.produce(self._commands, record, partition=partition, on_delivery=self._delivered)
        if self._acknowledged(stopping):
            self._pace.spend(len(orders))
            self.shipped.orders += len(orders)
            figures.SHIPPED.inc(len(orders))
            self._commit()

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._failed.append(error)

    def _acknowledged(self, stopping: Stop) -> bool:
        """Wait for the acks; False when told to stop meanwhile and the brokers do not answer."""
        patience = None
        while self._producer.flush(0.5):
            if stopping.is_set():
                patience = patience or time.monotonic() + GRACE_S
                if time.monotonic() > patience:
                    return False
        if self._failed:
            raise WarehouseError(f"Kafka did not take a command for {self._commands}: {self._failed[0].str()}")
        return True

    def _commit(self) -> None:
        positions = self._backlog.positions()
        if positions == self._committed:
            return
        try:
            self._consumer.commit(offsets=[TopicPartition(self._outcomes, *place) for place in positions.items()], asynchronous=False)
            self._committed = positions
        except KafkaException as error:
            # Somebody else has the partitions now and will send the same commands, by the same IDs: nothing is shipped twice.
            if error.args[0].code() not in _GROUP_MOVED_ON:
                raise
            log.info("offsets not committed: the group has been rebalanced", error=error.args[0].str())

    # ------------------------------------------------------------------ the group

    def _assigned(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        mine = {each.partition for each in partitions}
        self._to_finish = set(mine)
        self._run_file.write({"ship": mine}, metrics=None)
        log.info("partitions assigned", topic=self._outcomes, partitions=sorted(mine))

    def _revoked(self, _consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._backlog.forget(each.partition for each in partitions)
        self._committed = {}
        self._run_file.write({"ship": ()}, metrics=None)

    def _is_finished(self) -> bool:
        return not self._orders.follow and self._to_finish == set() and not self._backlog

    def _count_partitions(self) -> int:
        """The commands' partition count as it is: a count from the environment could be another shop's."""
        topics = self._producer.list_topics(timeout=GRACE_S).topics
        for name in (self._outcomes, self._commands):
            if name not in topics:
                raise WarehouseError(f"topic {name} does not exist: run `holdfast topics create`")
        return len(topics[self._commands].partitions)


_GROUP_MOVED_ON = frozenset({KafkaError.ILLEGAL_GENERATION, KafkaError.UNKNOWN_MEMBER_ID, KafkaError.REBALANCE_IN_PROGRESS})


def is_to_ship(name: str, value: dict[str, Any]) -> bool:
    """Tell whether a record of order.outcomes says that an order has just been confirmed."""
    return name == "OrderOutcome" and value["change"] == "DECIDED" and value["status"] == "CONFIRMED"


def _waiting(value: dict[str, Any], partition: int, offset: int, delay_s: float) -> Waiting:
    return Waiting(partition, offset, value["order_id"], value["decided_at"] + int(delay_s * 1000))


def _place(message: Message) -> tuple[int, int]:
    partition, offset = message.partition(), message.offset()
    assert partition is not None
    assert offset is not None
    return partition, offset


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _producer_settings(bootstrap: str) -> dict[str, str | int | bool]:
    return {**kafka_settings(bootstrap), "client.id": WAREHOUSE_GROUP, "enable.idempotence": True, "linger.ms": 0, "compression.type": "lz4"}


def _consumer_settings(bootstrap: str, prefix: str) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(bootstrap),
        "client.id": WAREHOUSE_GROUP,
        "group.id": prefix + WAREHOUSE_GROUP,
        "isolation.level": "read_committed",
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
        "enable.partition.eof": True,
        "session.timeout.ms": 10_000,
        "heartbeat.interval.ms": 2_000,
    }
