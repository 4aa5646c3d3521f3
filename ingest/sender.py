"""Puts what a load has planned into the log: columns per destination partition, under bound order IDs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

from ingest.acknowledged import Acknowledged, Pending
from ingest.backfill_plan import (
    CURRENCY,
    PAYMENT_TOKEN,
    Chunk,
    Planned,
    PlannedDeadLetter,
    PlannedLine,
    PlannedReturn,
    PlannedStock,
)
from ingest.columns import LineItem, OrderCommandItem, StockCommandItem, encode_lines, encode_order_commands, encode_stock_commands
from ingest.errors import PublishError
from ingest.log_writer import LogWriter, OnAck
from schemas.codec import encode
from schemas.outcomes import DeadLetterReason, OrderCommandKind
from schemas.partitions import order_partition, partition_of, product_partition
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic

RECORD_ITEMS: Final = 400
"""Items in a columnar record: records of 100 cost a tenth more per line to encode and decode, of 25 a half more."""
ACTOR: Final = "loader"
MAX_RAW: Final = 1024 * 1024
"""Bytes of a row that a dead letter keeps."""

Item = TypeVar("Item")
Encode = Callable[[Sequence[Any]], bytes]
Bind = Callable[[Mapping[str, int]], Mapping[str, int]]
"""Gives the order IDs of invoices, of which each names the partition on which a new one should lie."""


class Sender:
    """Sends chunks in file order. `acknowledged.rows` says how far the brokers have them; the first failure is raised by `check`."""

    def __init__(self, writer: LogWriter, bind: Bind, file_name: str, start: int, clock: Callable[[], int]) -> None:
        self.acknowledged = Acknowledged(start)
        self.positions: dict[int, int] = {}
        """Partition of stock.commands -> the offset after the last acknowledged record of ours."""
        self._writer = writer
        self._bind = bind
        self._origin = f"file:{file_name}"
        self._clock = clock
        self._error: PublishError | None = None

    def send_chunk(self, chunk: Chunk) -> None:
        """Queue everything of a chunk; raises PublishError."""
        pending = self.acknowledged.open(chunk.last_row)
        by_kind = _by_kind(chunk.items)
        ids = self._bind(homes(by_kind[PlannedLine], by_kind[PlannedReturn], self._writer.partitions(ORDERS)))
        self._send_lines(by_kind[PlannedLine], ids, pending)
        self._send_returns(by_kind[PlannedReturn], ids, pending)
        self._send_stock(by_kind[PlannedStock], pending)
        for dead in by_kind[PlannedDeadLetter]:
            self._send_dead_letter(dead, pending)
        self.acknowledged.close(pending)
        self.check()

    def check(self) -> None:
        """Hear of acknowledgements; raises the first PublishError."""
        self._writer.poll()
        if self._error:
            raise self._error

    def _send_lines(self, lines: list[PlannedLine], ids: Mapping[str, int], pending: Pending) -> None:
        count = self._writer.partitions(ORDERS)
        placed = ((product_partition(x.product, count), _line_item(x, ids)) for x in lines)
        self._send_columns(ORDERS, placed, encode_lines, pending)

    def _send_returns(self, returns: list[PlannedReturn], ids: Mapping[str, int], pending: Pending) -> None:
        count, now = self._writer.partitions(ORDER_COMMANDS), self._clock()
        # A return of units has to name their line; of an order that nobody placed any line will do.
        items = [OrderCommandItem(OrderCommandKind.RETURN, x.command_id, ids[x.invoice], x.line or 1, x.quantity) for x in returns]
        placed = ((order_partition(item.order_id, count), item) for item in items)
        self._send_columns(ORDER_COMMANDS, placed, lambda some: encode_order_commands(some, now, ACTOR), pending)

    def _send_stock(self, commands: list[PlannedStock], pending: Pending) -> None:
        count, now = self._writer.partitions(STOCK_COMMANDS), self._clock()
        placed = ((product_partition(x.product, count), StockCommandItem(x.kind, x.command_id, x.product, x.quantity, 0)) for x in commands)
        self._send_columns(STOCK_COMMANDS, placed, lambda some: encode_stock_commands(some, now, ACTOR), pending)

    def _send_dead_letter(self, dead: PlannedDeadLetter, pending: Pending) -> None:
        key = self._origin.encode()
        cut = f" (the first {MAX_RAW:,} of {len(dead.raw):,} bytes are kept)" if len(dead.raw) > MAX_RAW else ""
        value = {
            **{"stage": "load", "topic": self._origin, "partition": -1, "offset": dead.row, "index": -1, "reason": DeadLetterReason.INVALID_ROW},
            **{"detail": dead.detail + cut, "value": dead.raw[:MAX_RAW], "died_at": self._clock()},
        }
        self._send(DEAD_LETTERS, partition_of(key, self._writer.partitions(DEAD_LETTERS)), key, encode("DeadLetter", value), pending)

    def _send_columns(self, topic: Topic, placed: Iterable[tuple[int, Any]], encode_items: Encode, pending: Pending) -> None:
        by_partition: defaultdict[int, list[Any]] = defaultdict(list)
        for partition, item in placed:
            by_partition[partition].append(item)
        for partition, items in by_partition.items():
            for some in _batches(items, RECORD_ITEMS):
                self._send(topic, partition, None, encode_items(some), pending)

    def _send(self, topic: Topic, partition: int, key: bytes | None, value: bytes, pending: Pending) -> None:
        self.acknowledged.sent(pending)
        self._writer.send(topic, partition, key, value, self._on_ack(topic, partition, pending))

    def _on_ack(self, topic: Topic, partition: int, pending: Pending) -> OnAck:
        def on_ack(error: PublishError | None, offset: int) -> None:
            if error:
                self._error = self._error or error
                return
            self.acknowledged.acked(pending)
            if topic is STOCK_COMMANDS:
                self.positions[partition] = max(offset + 1, self.positions.get(partition, 0))

        return on_ack


def homes(lines: Iterable[PlannedLine], returns: Iterable[PlannedReturn], partitions: int) -> dict[str, int]:
    """Return the partition of each invoice's first product (pure): an order that lies there has its answers from the stock agent on one partition.

    Of a return that stands alone no product is known: any partition will do.
    """
    found: dict[str, int] = {}
    for line in lines:
        if line.invoice not in found:
            found[line.invoice] = product_partition(line.product, partitions)
    for back in returns:
        found.setdefault(back.invoice, 0)
    return found


def _by_kind(items: Iterable[Planned]) -> defaultdict[type, list[Any]]:
    by_kind: defaultdict[type, list[Any]] = defaultdict(list)
    for item in items:
        by_kind[type(item)].append(item)
    return by_kind


def _line_item(x: PlannedLine, ids: Mapping[str, int]) -> LineItem:
    return LineItem._make((ids[x.invoice], x.line, x.line_count, x.product, x.quantity, x.price, CURRENCY, x.user, PAYMENT_TOKEN, x.placed_at))


def _batches(items: list[Item], size: int) -> Iterator[list[Item]]:
    for at in range(0, len(items), size):
        yield items[at : at + size]
