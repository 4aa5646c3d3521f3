"""A gateway as a process of its own, and clients of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from holdfast.stack.ports import free_port
from ingest.api_keys import ApiKey, KeyTable
from tests.support.pipeline import Child, Pipeline, until


@dataclass
class GatewayProcess:
    """A running gateway; `run_file` is where it says so."""

    url: str
    port: int
    child: Child
    run_dir: Path
    key: str
    """An admin's API key, which acts for every user; clients send it unless they name another."""

    def client(self, key: str | None = None, **options: Any) -> httpx.Client:
        """A client with a key; `key` "" for none."""
        headers = {**bearer(self.key if key is None else key), **options.pop("headers", {})}
        return httpx.Client(base_url=self.url, timeout=60, headers=headers, **options)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request on a connection of its own; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client() as client:
            return client.post(path, headers=named) if body is None else client.post(path, json=body, headers=named)

    def get(self, path: str) -> httpx.Response:
        with self.client() as client:
            return client.get(path)

    def connect(self) -> socket.socket:
        """A bare connection, for what no client library sends; `authorization` is the header line for it."""
        found = socket.create_connection(("127.0.0.1", self.port))
        found.settimeout(60)
        return found

    @property
    def authorization(self) -> bytes:
        return f"Authorization: Bearer {self.key}\r\n".encode()

    @property
    def run_file(self) -> Path:
        return self.run_dir / f"gateway-{self.child.popen.pid}.json"

    def access_lines(self, trace_id: str) -> list[dict[str, Any]]:
        """The lines of the access log about one trace, waited for: they are written a moment later."""
        until(lambda: trace_id in self.child.log.read_text(), 20, f"access line of {trace_id}", self.child)
        return [json.loads(line) for line in self.child.log.read_text().splitlines() if trace_id in line]


@contextmanager
def running_gateway(pipeline: Pipeline, **settings: str) -> Iterator[GatewayProcess]:
    """A gateway on a free port, ready; `settings` as gateway_max_body="2048" for HOLDFAST_GATEWAY_MAX_BODY."""
    port = free_port()
    mine = {f"HOLDFAST_{name.upper()}": value for name, value in settings.items()}
    pipeline.settings.update({**mine, "HOLDFAST_RUN_DIR": str(pipeline.folder)})
    assert pipeline.mysql
    gateway = GatewayProcess(f"http://127.0.0.1:{port}", port, start_gateway(pipeline, port), pipeline.folder, new_key(pipeline.mysql))
    until(lambda: ready(gateway), 60, "the gateway is ready", gateway.child)
    try:
        yield gateway
    finally:
        gateway.child.popen.terminate()
        gateway.child.popen.wait(60)


def start_gateway(pipeline: Pipeline, port: int) -> Child:
    """Start a gateway's process; one that was killed is started again with this, as `gateway.child`."""
    return pipeline.start("gateway", "holdfast", "gateway", "--port", str(port))


def new_key(mysql_url: str, *scopes: str, user: str | None = None, **wished: Any) -> str:
    """Make an API key, an admin's unless scopes are named; `wished` as in ApiKey."""
    wish = ApiKey("", b"", "test", user, scopes or ("admin",), **wished)
    return KeyTable(mysql_url).create(wish)[0].text


def bearer(key: str) -> dict[str, str]:
    """The header that carries a key; none for an empty one."""
    return {"authorization": f"Bearer {key}"} if key else {}


def ready(gateway: GatewayProcess) -> bool:
    assert gateway.child.alive(), gateway.child.log.read_text()
    try:
        return gateway.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


def patient(send: Callable[[], httpx.Response], what: str = "the key") -> httpx.Response:
    """Repeat a request while its key is in flight: until a gateway has marked it as acknowledged, or the lease of one that died is over, the others say 409."""
    answers: list[httpx.Response] = []

    def told() -> bool:
        answers.append(send())
        return answers[-1].status_code != 409

    until(told, 60, f"{what} is in flight no more")
    return answers[-1]


def order_body(*lines: tuple[str, int], user: str = "u1", token: str = "tok_ok", price: int = 1275) -> dict[str, Any]:
    """The body of an order; lines as (product, quantity)."""
    named = [{"product_id": product, "quantity": quantity, "unit_price": price} for product, quantity in lines or (("22423", 1),)]
    return {"user": user, "currency": "GBP", "lines": named, "payment": {"token": token}}


def closed_after(connection: socket.socket) -> tuple[bytes, float]:
    """Read until the other side closes: what it said, and after how many seconds."""
    began, said = time.monotonic(), b""
    try:
        while piece := connection.recv(65_536):
            said += piece
    except ConnectionResetError:
        pass
    return said, time.monotonic() - began
