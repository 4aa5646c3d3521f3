"""For other Python programs: publish orders and commands and wait until the brokers have them.

with OrderProducer("localhost:9092") as producer:
    ack = producer.publish(Order(ids.take(1)[0], "user-1", [Line("sku-1", 2, 499)], "GBP", "tok_ok", now_ms)).result()
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass
from types import TracebackType
from typing import Final

from ingest.columns import LineItem, encode_lines
from ingest.errors import BrokerUnavailableError, PublishError
from ingest.log_writer import LogWriter
from ingest.order_ids import clock_ms
from ingest.requests import Order, OrderCommand, StockCommand, check_order, check_order_command, check_stock_command
from schemas.codec import encoder
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS
from telemetry.context import carried, carried_headers

COLUMN_LINES: Final = 100
"""Lines in a columnar record at most."""
_POLL_S: Final = 0.02

_encode_line = encoder("OrderLine")
_encode_order_command = encoder("OrderCommand")
_encode_stock_command = encoder("StockCommand")


@dataclass(frozen=True)
class Ack:
    """Where the brokers keep what was published: (topic, partition, offset) of each of its records."""

    records: tuple[tuple[str, int, int], ...]


class OrderProducer:
    """Publishes orders and commands to Kafka with an idempotent producer; safe to use from several threads.

    `columnar`: lines of several orders share a record of up to 100 lines, held back for up to `linger_ms`; else one record
    per line. A call raises InvalidRequestError or RecordTooLargeError with nothing of the order sent, TopicMissingError or
    BrokerUnavailableError where the cluster cannot be asked; what happens later is in the future. Publishing the same order
    again under the same ID is safe: the pipeline takes duplicates back.
    """

    def __init__(self, kafka: str, *, topic_prefix: str = "", columnar: bool = False, ack_timeout_s: float = 30.0, linger_ms: int = 5) -> None:
        self._writer = LogWriter(kafka, topic_prefix, ack_timeout_s=ack_timeout_s, linger_ms=linger_ms)
        self._columnar = columnar
        self._linger_s = linger_ms / 1000
        self._waiting: dict[int, list[tuple[LineItem, _Pending, str]]] = {}
        self._waiting_since = 0.0
        self._lock = threading.RLock()
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll_until_closed, name="order-producer", daemon=True)
        self._poller.start()

    def publish(self, order: Order, traceparent: str = "", tracestate: str = "") -> Future[Ack]:
        """Queue an order; the future holds the Ack once the brokers have every line, or raises PublishError.

        `traceparent`, `tracestate`: the W3C context that the order belongs to, for the headers of its records (docs/observe.md).
        """
        check_order(order)
        parent = carried(traceparent, tracestate)
        with self._lock:
            partitions = self._open().partitions(ORDERS)
            pending = _Pending(len(order.lines))
            for item in _items(order):
                partition = product_partition(item.product_id, partitions)
                if self._columnar:
                    self._gather(partition, (item, pending, parent))
                else:
                    on_ack = pending.ack(ORDERS.named(self._writer.prefix), partition)
                    self._writer.send(ORDERS, partition, item.product_id.encode(), _encode_line(item._asdict()), on_ack, _headers([parent]))
        return pending.future

    def command(self, command: StockCommand | OrderCommand, traceparent: str = "", tracestate: str = "") -> Future[Ack]:
        """Queue a command about a product (restock, write-off, ...) or an order (cancel, ship, return); the context as in publish."""
        is_stock = isinstance(command, StockCommand)
        key, value = stock_command_record(command) if isinstance(command, StockCommand) else order_command_record(command)
        topic = STOCK_COMMANDS if is_stock else ORDER_COMMANDS
        with self._lock:
            count = self._open().partitions(topic)
            partition = product_partition(key.decode(), count) if is_stock else order_partition(int(key), count)
            pending = _Pending(1)
            self._writer.send(
                topic, partition, key, value, pending.ack(topic.named(self._writer.prefix), partition), _headers([carried(traceparent, tracestate)])
            )
        return pending.future

    def flush(self, timeout_s: float | None = None) -> None:
        """Wait until all that was published is acknowledged or given up; raises BrokerUnavailableError after `timeout_s`."""
        with self._lock:
            self._send_waiting()
        left = self._writer.flush(timeout_s)
        if left:
            raise BrokerUnavailableError(f"{left:,} records are not acknowledged by {self._writer.kafka} yet")

    def close(self) -> None:
        """Flush, then stop; what could not be sent by then fails in its future. Publishing afterwards raises PublishError."""
        try:
            self.flush()
        finally:
            self._closed.set()
            self._poller.join()

    def _open(self) -> LogWriter:
        if self._closed.is_set():
            raise PublishError("this producer is closed: make a new one")
        return self._writer

    def _gather(self, partition: int, line: tuple[LineItem, _Pending, str]) -> None:
        if not self._waiting:
            self._waiting_since = time.monotonic()
        waiting = self._waiting.setdefault(partition, [])
        waiting.append(line)
        if len(waiting) >= COLUMN_LINES:
            self._send_columns(partition)

    def _send_columns(self, partition: int) -> None:
        waiting = self._waiting.pop(partition)
        acks = [pending.ack(ORDERS.named(self._writer.prefix), partition) for _, pending, _ in waiting]

        def on_ack(error: PublishError | None, offset: int) -> None:
            for ack in acks:
                ack(error, offset)

        try:
            self._writer.send(ORDERS, partition, None, encode_lines([item for item, _, _ in waiting]), on_ack, _headers(parent for *_, parent in waiting))
        except PublishError as error:
            on_ack(error, -1)

    def _send_waiting(self) -> None:
        for partition in list(self._waiting):
            self._send_columns(partition)

    def _poll_until_closed(self) -> None:
        while not self._closed.is_set():
            self._writer.poll(_POLL_S)
            with self._lock:
                if self._waiting and time.monotonic() - self._waiting_since >= self._linger_s:
                    self._send_waiting()

    def __enter__(self) -> OrderProducer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _headers(parents: Iterable[str]) -> list[tuple[str, bytes]]:
    """The headers of each context that a record's lines belong to."""
    return carried_headers(parent for parent in dict.fromkeys(parents) if parent)


class _Pending:
    """Collects the acks of one order's lines into one future."""

    def __init__(self, lines: int) -> None:
        self.future: Future[Ack] = Future()
        self.future.set_running_or_notify_cancel()
        self._left = lines
        self._records: dict[tuple[str, int, int], None] = {}
        self._error: PublishError | None = None
        self._lock = threading.Lock()

    def ack(self, topic: str, partition: int) -> Callable[[PublishError | None, int], None]:
        """Return what is to be called once with the fate of one line."""

        def on_ack(error: PublishError | None, offset: int) -> None:
            with self._lock:
                settled = self._count(error, (topic, partition, offset))
            if settled:  # outside the lock: whoever waits for the future may publish from its callback
                self._settle()

        return on_ack

    def _count(self, error: PublishError | None, record: tuple[str, int, int]) -> bool:
        self._left -= 1
        self._records[record] = None
        self._error = self._error or error
        return not self._left

    def _settle(self) -> None:
        if self._error:
            self.future.set_exception(self._error)
        else:
            self.future.set_result(Ack(tuple(self._records)))


def _items(order: Order) -> list[LineItem]:
    count, order_id, user, token, placed_at = len(order.lines), order.order_id, order.user_id, order.payment_token, order.placed_at
    return [
        LineItem(order_id, number, count, line.product_id, line.quantity, line.unit_price, order.currency, user, token, placed_at)
        for number, line in enumerate(order.lines, 1)
    ]


def stock_command_record(command: StockCommand) -> tuple[bytes, bytes]:
    """Return key and value of a command about a product; raises InvalidRequestError."""
    check_stock_command(command)
    value = _encode_stock_command(
        {
            **{"command_id": command.command_id, "kind": StockCommandKind(command.kind).name, "product_id": command.product_id, "quantity": command.quantity},
            **{"as_of": command.as_of, "issued_at": _issued(command.issued_at), "actor": command.actor, "note": command.note},
        }
    )
    return command.product_id.encode(), value


def order_command_record(command: OrderCommand) -> tuple[bytes, bytes]:
    """Return key and value of a command about an order; raises InvalidRequestError."""
    check_order_command(command)
    value = _encode_order_command(
        {
            **{"command_id": command.command_id, "kind": OrderCommandKind(command.kind).name, "order_id": command.order_id, "line": command.line},
            **{"quantity": command.quantity, "issued_at": _issued(command.issued_at), "actor": command.actor},
        }
    )
    return b"%d" % command.order_id, value


def _issued(issued_at: int | None) -> int:
    return clock_ms() if issued_at is None else issued_at
