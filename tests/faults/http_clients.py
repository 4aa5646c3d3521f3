"""A load client that knows nothing of Kafka: it posts orders to the gateway until SIGTERM. `python -m tests.faults.http_clients --help`.

It gives each order an Idempotency-Key and repeats it until it is accepted, now and then once more. Its ID is known only then: the
journal has an order's `send` and its `ack` together. What was posted before that is in a file of its own beside the journal,
one JSON object a line, on the disk before the first byte goes out:

    {"key": "7-1", "status": 0, "order_id": ""}          about to be posted
    {"key": "7-1", "status": 202, "order_id": "123"}     an answer
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Final

import httpx

from ingest.requests import Order
from tests.faults.clients import LEAVE_S, acknowledgement_of, entry_of
from tests.faults.journal import Journal
from tests.faults.traffic import Traffic
from tests.support.gateway import bearer, new_key

AT_ONCE: Final = 4
TIMEOUT_S: Final = 8.0
REPEAT_SHARE: Final = 0.05
AGAIN: Final = frozenset({409, 429, 503})
"""Answers after which a client repeats: they promise that this is safe."""
ACCEPTED: Final = 202


def keys_file(journal: Path) -> Path:
    """Where the client of this journal writes down its keys and the answers."""
    return journal.with_suffix(".keys")


class KeyBook:
    """The keys file, safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        self._file = path.open("ab")

    def note(self, key: str, status: int = 0, order_id: str = "") -> None:
        """Write down what is about to be posted (status 0), or an answer; returns once it is on the disk."""
        with self._lock:
            self._file.write(json.dumps({"key": key, "status": status, "order_id": order_id}).encode() + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


@dataclass(frozen=True)
class Front:
    """One of the connections of a client; `stop` ends it after what it has in hand."""

    client: httpx.Client
    journal: Journal
    book: KeyBook
    stop: threading.Event
    leave: threading.Event

    def send_all(self, name: str, traffic: Traffic, pause_s: float) -> None:
        """Post order after order, each until it is accepted."""
        random, number = Random(name), 0
        while not self.stop.wait(pause_s):
            for order in orders_of(traffic):
                number += 1
                self.place(f"{name}-{number}", order)
                if random.random() < REPEAT_SHARE:
                    self.place(f"{name}-{number}", order, again=True)

    def place(self, key: str, order: Order, *, again: bool = False) -> None:
        """Post one order under its key until the gateway has accepted it, or refuses it for good."""
        self.book.note(key)
        while not self.leave.is_set():
            status, order_id = self._post(key, order)
            if status == ACCEPTED and not again:
                # From here on the audit holds it against the log.
                known = Order(int(order_id), order.user_id, order.lines, order.currency, order.payment_token, order.placed_at)
                self.journal.send([entry_of(known)])
                self.journal.ack(acknowledgement_of(known))
            if status:
                self.book.note(key, status, order_id)
                return
            self.leave.wait(0.3)

    def _post(self, key: str, order: Order) -> tuple[int, str]:
        try:
            answer = self.client.post("/v1/orders", json=body_of(order), headers={"Idempotency-Key": key})
        except httpx.TransportError:
            return 0, ""
        if answer.status_code == ACCEPTED:
            return ACCEPTED, str(answer.json()["order_id"])
        return (0 if answer.status_code in AGAIN else answer.status_code), ""


def orders_of(traffic: Traffic) -> Iterable[Order]:
    """Return one batch's orders, without what goes to the log alone."""
    seen: dict[int, Order] = {thing.order_id: thing for thing in traffic.batch(int(time.time() * 1000)) if isinstance(thing, Order)}
    return seen.values()


def body_of(order: Order) -> dict[str, Any]:
    """Return an order as the gateway takes it."""
    lines = [{"product_id": line.product_id, "quantity": line.quantity, "unit_price": line.unit_price} for line in order.lines]
    return {"user": order.user_id, "currency": order.currency, "lines": lines, "payment": {"token": order.payment_token}}


def faults_of(books: Iterable[Path]) -> list[str]:
    """Return what the gateway may not have answered: another order under the same key, or neither acceptance nor a repeatable refusal."""
    found: list[str] = []
    ids: dict[str, set[str]] = {}
    for line in (line for book in books if book.exists() for line in book.read_bytes().split(b"\n")[:-1]):
        said = json.loads(line)
        if said["status"] == ACCEPTED:
            ids.setdefault(said["key"], set()).add(said["order_id"])
        elif said["status"]:
            found.append(f"the gateway answered {said['status']} to the order under key {said['key']}")
    return found + [f"key {key} stands for the orders {', '.join(sorted(orders))}" for key, orders in ids.items() if len(orders) > 1]


def main(arguments: Sequence[str] | None = None) -> int:
    """Post until a signal says stop. The exit code is 0 if all of it was answered."""
    wanted = _parser().parse_args(arguments)
    stop, leave = threading.Event(), threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    headers = bearer(new_key(os.environ["HOLDFAST_MYSQL"]))
    book = KeyBook(keys_file(wanted.journal))
    with Journal(wanted.journal) as journal, httpx.Client(base_url=wanted.url, headers=headers, timeout=TIMEOUT_S, trust_env=False) as client:
        front = Front(client, journal, book, stop, leave)
        threads = [threading.Thread(target=front.send_all, args=_share(wanted, n), daemon=True) for n in range(AT_ONCE)]
        for thread in threads:
            thread.start()
        stop.wait()
        deadline = time.monotonic() + LEAVE_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        leave.set()
        return int(any(thread.is_alive() for thread in threads))


def _share(wanted: argparse.Namespace, number: int) -> tuple[str, Traffic, float]:
    """Return a connection's name, which is new for each process, its traffic and its pause."""
    seed = wanted.seed * AT_ONCE + number
    return f"{seed}-{time.time_ns()}", Traffic(seed, 1, first_id=1 + (seed % 1024) * 1_000_000), AT_ONCE / wanted.rate


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m tests.faults.http_clients", description="Post a seeded load of orders to a gateway until SIGTERM.")
    parser.add_argument("--url", required=True, help="the gateway; its key is made in HOLDFAST_MYSQL")
    parser.add_argument("--seed", type=int, required=True, help="the same seed posts the same orders under other keys")
    parser.add_argument("--rate", type=float, default=10, help="orders per second")
    parser.add_argument("--journal", type=Path, required=True, help="the file to write down in what is accepted")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
