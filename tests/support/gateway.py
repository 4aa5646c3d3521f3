"""A gateway as a process of its own, and clients of it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from holdfast.stack.ports import free_port
from tests.support.pipeline import Child, Pipeline, until


@dataclass
class GatewayProcess:
    """A running gateway; `run_file` is where it says so."""

    url: str
    port: int
    child: Child
    run_dir: Path

    def client(self, **options: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=60, **options)

    def post(self, path: str, body: Any = None, **headers: str) -> httpx.Response:
        """One request on a connection of its own; header names with `_` for `-`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        with self.client() as client:
            return client.post(path, headers=named) if body is None else client.post(path, json=body, headers=named)

    def get(self, path: str) -> httpx.Response:
        with self.client() as client:
            return client.get(path)

    def connect(self) -> socket.socket:
        """A bare connection, for what no client library sends."""
        found = socket.create_connection(("127.0.0.1", self.port))
        found.settimeout(60)
        return found

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
    child = pipeline.start("gateway", "holdfast", "gateway", "--port", str(port))
    gateway = GatewayProcess(f"http://127.0.0.1:{port}", port, child, pipeline.folder)
    until(lambda: ready(gateway), 60, "the gateway is ready", child)
    try:
        yield gateway
    finally:
        child.popen.terminate()
        child.popen.wait(60)


def ready(gateway: GatewayProcess) -> bool:
    assert gateway.child.alive(), gateway.child.log.read_text()
    try:
        return gateway.get("/readyz").status_code == 200
    except httpx.TransportError:
        return False


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
