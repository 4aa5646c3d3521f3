"""Order IDs over HTTP, for programs in other processes: GET /ids?count=n -> {"ids": ["...", ...]}; figures at /metrics.

IDs are strings, since not every JSON reader keeps 63-bit numbers. Errors are {"error": "..."}: 400 for a bad count,
503 (with Retry-After where waiting helps) when no ID can be given now.
"""

from __future__ import annotations

import asyncio
import math
from typing import Final

from aiohttp import web
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from ingest.errors import IdError
from ingest.order_ids import OrderIds
from telemetry import figures

MAX_COUNT: Final = 10_000
_IDS: Final = web.AppKey("ids", OrderIds)
_NO_STORE: Final = {"Cache-Control": "no-store"}


def app(ids: OrderIds) -> web.Application:
    """Return the service over a generator that the caller closes."""
    application = web.Application()
    application[_IDS] = ids
    application.router.add_get("/ids", _give, allow_head=False)
    application.router.add_get("/health", _health)
    application.router.add_get("/metrics", _figures)
    return application


def count_of(text: str) -> int:
    """Read the `count` of a request; raises ValueError, with what to send instead."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= MAX_COUNT):
        raise ValueError(f"count is {text[:40]!r}: send a whole number from 1 to {MAX_COUNT:,}")
    return int(text)


async def _give(request: web.Request) -> web.Response:
    try:
        count = count_of(request.query.get("count", "1"))
        ids = await asyncio.to_thread(request.app[_IDS].take, count)
    except ValueError as error:
        return _error(400, str(error), {})
    except IdError as error:
        return _error(503, str(error), {"Retry-After": str(math.ceil(error.retry_after_s))} if error.retry_after_s else {})
    figures.IDS_GIVEN.inc(count)
    return web.json_response({"ids": [str(order_id) for order_id in ids]}, headers=_NO_STORE)


async def _health(request: web.Request) -> web.Response:
    """A generator that can give no ID now is not well."""
    try:
        await asyncio.to_thread(request.app[_IDS].take, 1)
    except IdError as error:
        return _error(503, str(error), {})
    return web.json_response({"status": "ok", "worker": request.app[_IDS].worker}, headers=_NO_STORE)


async def _figures(_request: web.Request) -> web.Response:
    return web.Response(body=generate_latest(), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _error(status: int, text: str, headers: dict[str, str]) -> web.Response:
    return web.json_response({"error": text}, status=status, headers={**_NO_STORE, **headers})
