"""The gateway's way into the log: the lines of concurrent requests share columnar records, a few ms at a time.

Everything here runs in the event loop's thread. A thread that polled librdkafka would have to ask the busy loop for the interpreter at each acknowledgement;
one timer that sends what has gathered and hears what was acknowledged costs less, and wakes all requests of a flush at once.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeAlias

from ingest.columns import Line, encode_lines
from ingest.errors import PublishError
from ingest.log_writer import LogWriter, OnAck
from ingest.producer import order_command_record, stock_command_record
from ingest.requests import OrderCommand, StockCommand
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic
from telemetry.context import carried_headers

TICK_S: Final = 0.001
"""How often we look: lines that have gathered are sent, acknowledgements are heard."""
GATHER_S: Final = 0.002
"""While earlier lines are not acknowledged, further ones gather for so long: the busier the brokers, the fewer and larger the records."""
GATHERED: Final = 1_000
"""Orders or parts of batches that are sent without gathering more."""
RECORD_LINES: Final = 100
"""Lines in a columnar record at most: the longest lines there can be stay below the topic's record size."""

Acknowledged: TypeAlias = "asyncio.Future[None]"


class Waiter(Protocol):
    """Who waits for the acknowledgement of an order: a future, or what is told the same way."""

    def done(self) -> bool:
        """Say whether it waits no more."""

    def set_result(self, result: None, /) -> object:
        """Hear that the brokers have it."""

    def set_exception(self, error: PublishError, /) -> object:
        """Hear that they may not."""


class Source(Protocol):
    """Orders that do not come through `place`: looked for at every tick, in the event loop's thread."""

    def look(self) -> bool:
        """Take in what came, by `OrderLog.take`; say whether more is on its way."""

    def rest(self) -> bool:
        """Hear that there are no more ticks until somebody calls `OrderLog.wake`; say whether more has come meanwhile."""


class NoSource:
    """Nothing comes."""

    def look(self) -> bool:
        """See Source."""
        return False

    def rest(self) -> bool:
        """See Source."""
        return False


class _Flight:
    """What was sent by one flush: who waits for which partitions, and which of them failed (both as bits)."""

    __slots__ = ("begun", "bytes", "error", "failed", "left", "waiting")

    def __init__(self, waiting: list[tuple[Waiter, int]], begun: float) -> None:
        self.waiting = waiting
        self.begun = begun
        self.bytes = 0
        self.left = 0
        self.failed = 0
        self.error: PublishError | None = None

    def land(self) -> None:
        """Wake all who wait."""
        for future, partitions in self.waiting:
            if future.done():
                continue
            if self.error is not None and partitions & self.failed:
                future.set_exception(self.error)
            else:
                future.set_result(None)


class OrderLog:
    """Puts orders and commands into the log; a future says when the brokers have all of one, or raises PublishError."""

    def __init__(self, writer: LogWriter, loop: asyncio.AbstractEventLoop, clock: Callable[[], float] = time.monotonic) -> None:
        self._writer = writer
        self._loop = loop
        self._clock = clock
        self._partitions = writer.partitions(ORDERS)
        self._lines: list[list[Line]] = [[] for _ in range(self._partitions)]
        self._traces: list[list[str]] = [[] for _ in range(self._partitions)]
        self._waiting: list[tuple[Waiter, int]] = []
        self._flights: deque[_Flight] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._gathering_since = 0.0
        self.source: Source = NoSource()
        self.resized: Callable[[int], object] = lambda _partitions: None
        """Hears of a new number of partitions."""
        self.unacknowledged_bytes = 0
        self.lines_sent = 0
        self.records_sent = 0

    def place(self, items: Sequence[Line], parent: str) -> Acknowledged:
        """Take the checked lines of one or more orders in; `parent` is the traceparent that their records carry (see `carried`). Raises MovingError."""
        future = self._loop.create_future()
        self.take(items, parent, future)
        if self._timer is None:
            self._arm()
        return future

    def take(self, items: Sequence[Line], parent: str, waiter: Waiter) -> None:
        """Do as `place`, for a waiter, within a tick."""
        self._writer.check_open()
        touched, count = 0, self._count()
        for item in items:
            partition = product_partition(item[3], count)
            self._lines[partition].append(item)
            self._traces[partition].append(parent)
            touched |= 1 << partition
        if not self._waiting:
            self._gathering_since = self._clock()
        self._waiting.append((waiter, touched))

    def _count(self) -> int:
        """Return how many partitions there are now; after a change nothing has gathered any more, for nothing is taken during one."""
        count = self._writer.partitions(ORDERS)
        if count != self._partitions:
            if self._waiting:
                self._flush()
            self._partitions = count
            self._lines, self._traces = [[] for _ in range(count)], [[] for _ in range(count)]
            self.resized(count)
        return count

    def command_order(self, command: OrderCommand, parent: str) -> Acknowledged:
        """Send a checked command about an order."""
        key, value = order_command_record(command)
        return self._send_command(ORDER_COMMANDS, order_partition(command.order_id, self._writer.partitions(ORDER_COMMANDS)), key, value, parent)

    def command_stock(self, command: StockCommand, parent: str) -> Acknowledged:
        """Send a checked command about a product."""
        key, value = stock_command_record(command)
        return self._send_command(STOCK_COMMANDS, product_partition(command.product_id, self._writer.partitions(STOCK_COMMANDS)), key, value, parent)

    def oldest_s(self) -> float:
        """Return for how long the oldest flush has not been acknowledged, in seconds."""
        return self._clock() - self._flights[0].begun if self._flights else 0.0

    async def drain(self, timeout_s: float) -> bool:
        """Wait until nothing is due any more; False if something still is after `timeout_s`."""
        deadline = self._clock() + timeout_s
        while (self._flights or self._waiting) and self._clock() < deadline:
            await asyncio.sleep(TICK_S)
        return not (self._flights or self._waiting)

    def wake(self) -> None:
        """Tick from now on, if we do not."""
        self._arm()

    def hurry(self) -> None:
        """Tick now."""
        if self._timer is not None:
            self._timer.cancel()
        self._tick()

    def _arm(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self._timer, more = None, True
        try:
            self._writer.poll()
            more = self.source.look()
            if self._waiting and self._is_time():
                self._flush()
        finally:
            # Also after a fault: who waits is looked after at the next tick.
            if more or self._flights or self._waiting or self.source.rest():
                self._arm()

    def _is_time(self) -> bool:
        return not self._flights or len(self._waiting) >= GATHERED or self._clock() - self._gathering_since >= GATHER_S

    def _flush(self) -> None:
        flight, self._waiting = _Flight(self._waiting, self._clock()), []
        # One more than there are records, so that none of them lands the flight before all are sent.
        flight.left = 1
        self._flights.append(flight)
        for partition, lines in enumerate(self._lines):
            if lines:
                self._send_lines(flight, partition, lines, self._traces[partition])
                self._lines[partition], self._traces[partition] = [], []
        self._landed(flight, 0, None)

    def _send_lines(self, flight: _Flight, partition: int, lines: list[Line], traces: list[str]) -> None:
        for at in range(0, len(lines), RECORD_LINES):
            some = lines[at : at + RECORD_LINES]
            self.lines_sent += len(some)
            self._send(flight, ORDERS, partition, None, encode_lines(some), dict.fromkeys(traces[at : at + RECORD_LINES]))

    def _send_command(self, topic: Topic, partition: int, key: bytes, value: bytes, parent: str) -> Acknowledged:
        future = self._loop.create_future()
        flight = _Flight([(future, 1 << partition)], self._clock())
        self._flights.append(flight)
        self._send(flight, topic, partition, key, value, {parent: None})
        self._arm()
        return future

    def _send(self, flight: _Flight, topic: Topic, partition: int, key: bytes | None, value: bytes, parents: dict[str, None]) -> None:
        flight.left += 1
        flight.bytes += len(value)
        self.unacknowledged_bytes += len(value)
        self.records_sent += 1
        try:
            self._writer.send(topic, partition, key, value, self._on_ack(flight, partition), headers=carried_headers(parents))
        except PublishError as error:
            self._landed(flight, 1 << partition, error)

    def _on_ack(self, flight: _Flight, partition: int) -> OnAck:
        def on_ack(error: PublishError | None, _offset: int) -> None:
            self._landed(flight, 1 << partition, error)

        return on_ack

    def _landed(self, flight: _Flight, partition: int, error: PublishError | None) -> None:
        flight.left -= 1
        if error is not None:
            flight.error, flight.failed = error, flight.failed | partition
        if flight.left:
            return
        self._flights.remove(flight)
        self.unacknowledged_bytes -= flight.bytes
        flight.land()
