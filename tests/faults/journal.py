"""What a load client writes down: what it is about to send, before it sends it, and what the brokers acknowledged.

One JSON object a line, in UTF-8. `t` is the client's clock in ms since 1970-01-01 UTC. Three kinds of line:

    {"t": 1700000000000, "send": {"order_id": "123", "lines": [[1, "p7", 2], [2, "p9", 1]], "copies": 1}}
    {"t": 1700000000000, "send": {"command_id": "cancel-123", "kind": "CANCEL", "order_id": "123", "line": 0, "quantity": 0}}
    {"t": 1700000000000, "send": {"command_id": "receipt-p7-4", "kind": "RESTOCK", "product_id": "p7", "quantity": 5}}
    {"t": 1700000000040, "ack": {"order_id": "123", "lines": [1, 2]}}
    {"t": 1700000000040, "ack": {"command_id": "cancel-123"}}

- An order: `order_id` (decimal, as a string), its `lines` as [line, product_id, quantity], and `line_count` where it says
  another number than it sends (the client dies between the lines of its order, or forgets one). `copies`: how often each line is sent.
- A command: `kind` is a StockCommandKind or an OrderCommandKind; it names its `product_id` or its `order_id`.
- `send` is on the disk (fsync) before the first byte of it goes to the brokers; several sends share an fsync.
- `ack` follows once the brokers have said (acks=all) that they hold the lines named, or the command. It is not fsynced: an
  acknowledgement that the journal lost is one fewer to hold against the log, never a false one.
- A send without an ack may be in the log, in part or whole, or not at all: the client was told nothing, or died.
- The same order or command may be sent, and acknowledged, more than once: a client that heard nothing sends again.
- The last line may be torn (the client was killed while writing it) and then counts as not written. So may the last line
  before a client that went on in the same file; it starts with a new line.

What it is good for: acknowledged means decided. Every acknowledged line is on `orders`, answered on `stock.decisions` or in the
dead letters, and its order has its one decision; every acknowledged command is on its topic and has been taken.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any


class Journal:
    """Appends to a journal file; safe to use from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._file = path.open("ab")
        if self._file.tell():
            self._file.write(b"\n")  # ends a line that an earlier client left torn; an empty line means nothing

    def send(self, things: Iterable[dict[str, Any]]) -> None:
        """Write down what is about to be sent; returns once it is on the disk."""
        now = _now()
        lines = b"".join(_line({"t": now, "send": thing}) for thing in things)
        with self._lock:
            self._file.write(lines)
            self._file.flush()
            os.fsync(self._file.fileno())

    def ack(self, thing: dict[str, Any]) -> None:
        """Write down that the brokers hold what was sent."""
        with self._lock:
            if not self._file.closed:
                self._file.write(_line({"t": _now(), "ack": thing}))

    def close(self) -> None:
        with self._lock:
            self._file.close()

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def order_sent(order_id: int, lines: Sequence[tuple[int, str, int]], *, line_count: int | None = None, copies: int = 1) -> dict[str, Any]:
    """Return the `send` of an order."""
    said = {} if line_count in (None, len(lines)) else {"line_count": line_count}
    return {"order_id": str(order_id), "lines": [list(line) for line in lines], "copies": copies, **said}


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, separators=(",", ":")).encode() + b"\n"


def _now() -> int:
    return int(time.time() * 1000)
