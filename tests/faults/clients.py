"""A load client: a shop's front as a process of its own, that writes down what it sends. `python -m tests.faults.clients --help`.

It uses the producer that shops use (ingest.producer); what the brokers do not acknowledge in time it sends again, as a shop
would. A signal (SIGTERM) lets it wait for its acknowledgements and end; kill -9 leaves orders half sent, and the journal.
"""

from __future__ import annotations

import argparse
import signal
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, Final

from ingest.errors import IngestError
from ingest.producer import OrderProducer
from ingest.requests import Order, OrderCommand, StockCommand
from tests.faults.journal import Journal, order_sent
from tests.faults.traffic import Traffic

TICK_S: Final = 0.1
LEAVE_S: Final = 90.0
"""So long a client that was told to stop waits for its acknowledgements."""
Thing = Order | OrderCommand | StockCommand


class Client:
    """Sends what its traffic says, a batch per tick: journal first, then the brokers."""

    def __init__(self, producer: OrderProducer, journal: Journal, traffic: Traffic) -> None:
        self._producer = producer
        self._journal = journal
        self._traffic = traffic
        self._again: SimpleQueue[Thing] = SimpleQueue()
        self._unacknowledged = 0
        self._lock = threading.Lock()

    def tick(self) -> None:
        """Send one batch, and what was not acknowledged."""
        self.send([*self._repeats(), *self._traffic.batch(int(time.time() * 1000))])

    def send(self, things: Sequence[Thing]) -> None:
        """Write down, then send."""
        self._journal.send(entry_of(thing) for thing in things)
        for thing in things:
            self._publish(thing)

    def finish(self, seconds: float) -> bool:
        """Wait until all that was sent is acknowledged; send again what failed. Returns whether it is."""
        deadline = time.monotonic() + seconds
        while self._unacknowledged and time.monotonic() < deadline:
            self.send(self._repeats())
            time.sleep(TICK_S)
        return not self._unacknowledged

    def _publish(self, thing: Thing) -> None:
        with self._lock:
            self._unacknowledged += 1
        try:
            future = self._producer.publish(thing) if isinstance(thing, Order) else self._producer.command(thing)
        except IngestError:
            self._settled(thing, acknowledged=False)
        else:
            future.add_done_callback(lambda done: self._on_done(thing, done))

    def _on_done(self, thing: Thing, done: Future[Any]) -> None:
        self._settled(thing, acknowledged=done.exception() is None)

    def _settled(self, thing: Thing, *, acknowledged: bool) -> None:
        if acknowledged:
            self._journal.ack(acknowledgement_of(thing))
        else:
            self._again.put(thing)
        with self._lock:
            self._unacknowledged -= acknowledged

    def _repeats(self) -> list[Thing]:
        found: list[Thing] = []
        try:
            while True:
                found.append(self._again.get_nowait())
        except Empty:
            with self._lock:
                self._unacknowledged -= len(found)
            return found


def entry_of(thing: Thing) -> dict[str, Any]:
    """Return what the journal says of something about to be sent."""
    if isinstance(thing, Order):
        return order_sent(thing.order_id, [(n, line.product_id, line.quantity) for n, line in enumerate(thing.lines, 1)])
    common = {"command_id": thing.command_id, "kind": thing.kind.name}
    if isinstance(thing, OrderCommand):
        return {**common, "order_id": str(thing.order_id), "line": thing.line, "quantity": thing.quantity}
    return {**common, "product_id": thing.product_id, "quantity": thing.quantity}


def acknowledgement_of(thing: Thing) -> dict[str, Any]:
    """Return what the journal says of something that the brokers hold."""
    if isinstance(thing, Order):
        return {"order_id": str(thing.order_id), "lines": list(range(1, len(thing.lines) + 1))}
    return {"command_id": thing.command_id}


def main(arguments: Sequence[str] | None = None) -> int:
    """Send until a signal says stop. The exit code is 0 if all of it was acknowledged."""
    wanted = _parser().parse_args(arguments)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    traffic = Traffic(wanted.seed, wanted.rate * TICK_S, first_id=(int(time.time() * 1000) << 22) | (wanted.seed % 1024) << 12)
    producer = OrderProducer(wanted.kafka, topic_prefix=wanted.prefix, columnar=wanted.columnar, ack_timeout_s=20)
    with Journal(wanted.journal) as journal:
        client = Client(producer, journal, traffic)
        while not stop.wait(TICK_S):
            client.tick()
        finished = client.finish(LEAVE_S)
        producer.close()
    return 0 if finished else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.faults.clients", description="Send a seeded load of orders and commands until SIGTERM.")
    parser.add_argument("--kafka", required=True, help="host:port[,host:port]")
    parser.add_argument("--prefix", default="", help="goes before every topic name")
    parser.add_argument("--seed", type=int, required=True, help="the same seed sends the same orders, but for their IDs and times")
    parser.add_argument("--rate", type=float, default=60, help="orders per second")
    parser.add_argument("--journal", type=Path, required=True, help="the file to write down in what is sent and acknowledged")
    parser.add_argument("--columnar", action="store_true", help="lines of several orders share records")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
