"""GET /metrics of a process that has no other HTTP, in a thread of its own."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Final

from prometheus_client import start_http_server

PORT: Final = "HOLDFAST_METRICS_PORT"
HOST: Final = "HOLDFAST_METRICS_HOST"


class TelemetryError(ValueError):
    """A setting that cannot be: the text says which, and what it may be."""


def serve(environ: Mapping[str, str] = os.environ) -> str | None:
    """Listen where the environment says; return the URL of the figures, or None where they are not asked for. Raises TelemetryError."""
    wanted = environ.get(PORT, "")
    if not wanted:
        return None
    if not wanted.isdecimal() or int(wanted) > 65_535:
        raise TelemetryError(f"{PORT} is {wanted!r}: give a port, 0 for any that is free, or leave it unset")
    host = environ.get(HOST) or "127.0.0.1"
    try:
        server, _ = start_http_server(int(wanted), host)
    except OSError as error:
        raise TelemetryError(f"cannot listen on {host}:{wanted}: {error.strerror}. Set {HOST} and {PORT}, or leave {PORT} unset") from error
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{server.server_port}/metrics"
