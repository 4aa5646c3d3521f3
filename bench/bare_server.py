"""How fast the gateway's HTTP server is with nothing to do: a handler that reads the body and says 202. `python -m bench.bare_server PORT`."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any, Final

import uvloop

from ingest.http.config import GatewaySettings
from ingest.http.server import granian

HEADERS: Final = [("content-type", "application/json"), ("location", "/v1/orders/123456789012345678")]
BODY: Final = b'{"order_id":"123456789012345678","status":"accepted"}'


class Bare:
    """An RSGI application that does nothing."""

    async def __rsgi__(self, _scope: Any, protocol: Any) -> None:
        """Answer as the gateway would."""
        await protocol()
        protocol.response_bytes(202, HEADERS, BODY)


async def serve(port: int) -> None:
    """Serve until SIGTERM."""
    settings = GatewaySettings(kafka="none:1", mysql="mysql://none", gateway_port=port)  # type: ignore[arg-type]
    server = granian(settings, Bare())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, server.stop)
    await server.serve()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
