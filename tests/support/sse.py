"""A client of server-sent events, and a receiver of webhooks."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import httpx

from tests.support.gateway import GatewayProcess


class Heard(NamedTuple):
    """One event of a stream."""

    id: str
    name: str
    data: dict[str, Any]

    @property
    def said(self) -> tuple[str, int]:
        return self.name, self.data.get("version", 0)


class EventStream:
    """The events of one answer, one after the other."""

    def __init__(self, answer: httpx.Response) -> None:
        self.answer = answer
        self.heartbeats = 0
        self._lines = answer.iter_lines()

    def __iter__(self) -> Iterator[Heard]:
        return self

    def __next__(self) -> Heard:
        fields: dict[str, str] = {}
        for line in self._lines:
            if not line and "data" in fields:
                return Heard(fields["id"], fields["event"], json.loads(fields["data"]))
            if line.startswith(":"):
                self.heartbeats += 1
            elif line:
                name, _, value = line.partition(": ")
                fields[name] = value
        raise StopIteration

    def take(self, count: int) -> list[Heard]:
        return [next(self) for _ in range(count)]


@contextmanager
def following(gateway: GatewayProcess, order_id: int | str, last: str | None = None, key: str | None = None) -> Iterator[EventStream]:
    """Follow an order; `last` is the Last-Event-ID."""
    headers = {} if last is None else {"last-event-id": last}
    with gateway.client(key, headers=headers) as client, client.stream("GET", f"/v1/orders/{order_id}/events") as answer:
        assert answer.status_code == 200, answer.read()
        assert answer.headers["content-type"] == "text/event-stream"
        yield EventStream(answer)


class Posted(NamedTuple):
    """One request that a receiver got."""

    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def notice_id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.body)
        return found

    @property
    def state(self) -> tuple[str, int]:
        data = self.document["data"]
        return data["order_id"], data["version"]

    def is_signed_by(self, secret: str) -> bool:
        """Check the signature as Standard Webhooks says a receiver should."""
        signed = f"{self.headers['webhook-id']}.{self.headers['webhook-timestamp']}.".encode() + self.body
        wanted = hmac.new(base64.b64decode(secret.removeprefix("whsec_")), signed, hashlib.sha256).digest()
        return self.headers["webhook-signature"] == "v1," + base64.b64encode(wanted).decode()


@dataclass
class Receiver:
    """A server that takes notices. `answer(posted)` gives the status; `posted` is what came, in order."""

    url: str = ""
    answer: Callable[[Posted], int] = lambda _posted: 204
    posted: list[Posted] = field(default_factory=list)

    def of(self, path: str) -> list[Posted]:
        return [each for each in self.posted if each.path == path]


@contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on loopback."""
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            posted = Posted(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
            receiver.posted.append(posted)
            self.send_response(receiver.answer(posted))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    receiver.url = f"http://127.0.0.1:{server.server_port}"
    try:
        yield receiver
    finally:
        server.shutdown()
        server.server_close()
