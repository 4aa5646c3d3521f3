"""The gateway as a process: Granian inside our own event loop, signals, the run file."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import structlog
import uvloop
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.server.embed import Server

import failpoints
from ingest.errors import ConfigError
from ingest.gateway import Gateway
from ingest.http.config import GatewaySettings
from ingest.http.handover import LongWay, spawner
from ingest.http.plain_orders import PlainOrders
from ingest.http.routes import Route
from ingest.http.rsgi import RsgiApp
from ingest.http.spans import RequestSpans
from ingest.http.trace import trace_of
from telemetry import TelemetryError, traces
from telemetry.run_file import RunFile

BACKLOG = 2_048
CONNECTIONS = 65_536
"""Requests that the server hands on at once; how many we take is decided by shedding."""
BUFFER = 65_536
"""Bytes of a request's head at most."""


def run(settings: GatewaySettings, more: Sequence[Route] = ()) -> None:
    """Serve our routes and `more` until SIGTERM or SIGINT, then answer what is in hand; raises IngestError when it cannot start."""
    set_up_logging()
    try:
        failpoints.arm_from_environment()
    except failpoints.FailpointsError as error:
        raise ConfigError(str(error)) from error
    try:
        tracing = traces.start("holdfast-gateway")
    except TelemetryError as error:
        raise ConfigError(str(error)) from error
    try:
        uvloop.run(_serve(settings, more, RequestSpans(tracing) if tracing else None))
    finally:
        traces.stop()


async def _serve(settings: GatewaySettings, more: Sequence[Route], spans: RequestSpans | None) -> None:
    loop = asyncio.get_running_loop()
    gateway = Gateway(settings, loop, more)
    await gateway.open()
    _collect_seldom()
    gateway.spans = spans
    trace = spans.trace_of if spans else trace_of
    app = RsgiApp(gateway.answer, settings.gateway_max_body, settings.gateway_body_timeout, trace)
    server, long_way = granian(settings, app), LongWay(app, loop)
    short_way = gateway.log.source = PlainOrders(gateway, long_way, app.max_body, trace)
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, gateway.stopping.set)
    try:
        serving = asyncio.ensure_future(server.serve(spawner(long_way, short_way)))
        with saying_where(settings):
            await asyncio.wait({serving, asyncio.ensure_future(gateway.stopping.wait())}, return_when=asyncio.FIRST_COMPLETED)
        if serving.done():
            raise _no_start(settings, serving.exception())
        server.stop()  # type: ignore[no-untyped-call]
        await asyncio.wait({serving}, timeout=settings.gateway_drain)
    finally:
        app.watching.cancel()
        await gateway.close()


def _collect_seldom() -> None:
    """What is here now stays; a request leaves no cycles behind, so looking for them after every 700 new objects is in vain."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)


def granian(settings: GatewaySettings, app: Any) -> Server:
    """Return the HTTP server of an RSGI application; the bench runs a bare one in the same way."""
    return Server(
        app,
        address=settings.gateway_host,
        port=settings.gateway_port,
        interface=Interfaces.RSGI,
        http=HTTPModes.http1,
        websockets=False,
        backlog=BACKLOG,
        backpressure=CONNECTIONS,
        log_enabled=False,
        http1_settings=HTTP1Settings(header_read_timeout=int(settings.gateway_header_timeout * 1000), max_buffer_size=BUFFER),
    )


def _no_start(settings: GatewaySettings, error: BaseException | None) -> ConfigError:
    return ConfigError(f"cannot listen on {settings.gateway_host}:{settings.gateway_port}: {error}. Set HOLDFAST_GATEWAY_HOST and HOLDFAST_GATEWAY_PORT")


@contextmanager
def saying_where(settings: GatewaySettings) -> Iterator[None]:
    """Keep the run file of this process: where it listens."""
    file = RunFile("gateway", settings.run_dir)
    file.write({}, url=settings.address)
    try:
        yield
    finally:
        file.remove()


def set_up_logging() -> None:
    """One JSON object a line, to stderr, as the access log; tracebacks without local variables, passwords among them."""
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.processors.TimeStamper(fmt="iso")],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(),
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
