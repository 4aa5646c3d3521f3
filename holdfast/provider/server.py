"""The provider over HTTP. POST /charges, POST /refunds (streams/payments/contract.py); from this machine alone GET /ledger, GET and PUT /mode."""

from __future__ import annotations

import asyncio
import hmac
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, Final, Literal

import msgspec
from aiohttp import web

from holdfast.provider.conduct import Conduct, Delays, Mode, Reply, conduct
from holdfast.provider.ledger import Entry, Ledger, decided
from schemas.outcomes import MAX_ORDER_ID, MAX_TOKEN_LENGTH
from streams.payments.sandbox import Sandbox

LARGEST_BODY: Final = 16_384
LONGEST_KEY: Final = 255
SECOND_ANSWER_S: Final = 0.02
"""A second answer comes at most so long after the first: its connection may carry another request by then."""
_STATUS: Final = {"paid": 200, "refunded": 200, "declined": 402, "rejected": 422}
_CURRENCY: Final = re.compile(r"[A-Z]{3}")


class BadRequestError(ValueError):
    """A request that is none; the text says what to send instead."""


class Asked(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The body of a request."""

    order_id: str
    attempt: int
    amount: int
    currency: str
    charge: str = ""
    token: str = ""
    user: str = ""


class ProviderServer:
    """Carries out each key once, and answers as its mode says. `key`: the bearer token it wants; empty: none."""

    def __init__(self, ledger: Ledger, sandbox: Sandbox, delays: Delays, key: str = "", seed: int | None = None) -> None:
        self.ledger = ledger
        self.mode = Mode()
        self._sandbox = sandbox
        self._delays = delays
        self._key = key
        self._dice = Random(seed)  # noqa: S311 - decides who is answered badly, guards nothing

    def app(self) -> web.Application:
        """Return the service; the caller closes the ledger."""
        application = web.Application(client_max_size=LARGEST_BODY)
        application.router.add_post("/charges", lambda request: self._take(request, "charge"))
        application.router.add_post("/refunds", lambda request: self._take(request, "refund"))
        application.router.add_get("/health", _health)
        application.router.add_get("/ledger", _from_here(self._show_ledger))
        application.router.add_get("/mode", _from_here(self._show_mode))
        application.router.add_put("/mode", _from_here(self._set_mode))
        return application

    # -- money ---------------------------------------------------------------------------------------------------------

    async def _take(self, request: web.Request, kind: Literal["charge", "refund"]) -> web.StreamResponse:
        if not self._is_known(request):
            return _error(401, "the bearer token is missing or wrong (HOLDFAST_PAYMENT_KEY)")
        try:
            asked = read(request.headers.get("Idempotency-Key", ""), kind, await request.read(), now_ms())
        except BadRequestError as error:
            return _error(400, str(error))
        return await self._answer(request, asked, conduct(self.mode, asked.token, self._dice))

    def _is_known(self, request: web.Request) -> bool:
        given = request.headers.get("Authorization", "").removeprefix("Bearer ")
        return not self._key or hmac.compare_digest(given.encode(), self._key.encode())

    async def _answer(self, request: web.Request, asked: Entry, does: Conduct) -> web.StreamResponse:
        before = self.ledger.find(asked.key)
        if before is not None and not before.asks_the_same(asked):
            return _error(422, "this key was used for another request", key=asked.key, result="rejected", reason="this key was used for another request")
        done = before or (self._carry_out(asked) if does.carries_out else None)
        await self.ledger.synced()
        if done is None or does.reply is not Reply.TRUTH:
            return self._fail(request, does.reply)
        await asyncio.sleep(self._delays.due_in(self.mode, done, now_ms()))
        if does.lies and before is not None:
            return web.json_response(_lie(done), status=402)
        return await _answer_twice(request, done) if does.lies else web.json_response(_truth(done), status=_STATUS[done.result])

    def _carry_out(self, asked: Entry) -> Entry:
        done = decided(asked, self.ledger, self._sandbox)
        self.ledger.add(done)
        return done

    def _fail(self, request: web.Request, reply: Reply) -> web.StreamResponse:
        if reply is Reply.NOTHING:
            assert request.transport is not None
            request.transport.abort()
            return web.Response(status=500)
        status = 503 if self.mode.down else self._dice.choice((500, 503, 429))
        return _error(status, "out of order, by request", headers={} if status == 500 else {"Retry-After": "1"})

    # -- looking in ----------------------------------------------------------------------------------------------------

    async def _show_ledger(self, request: web.Request) -> web.StreamResponse:
        """One JSON object a line, in the order in which money moved."""
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for entry in list(self.ledger):
            await response.write(msgspec.json.encode(entry) + b"\n")
        await response.write_eof()
        return response

    async def _show_mode(self, _request: web.Request) -> web.StreamResponse:
        return web.json_response(msgspec.to_builtins(self.mode))

    async def _set_mode(self, request: web.Request) -> web.StreamResponse:
        """Take a whole mode: what is left out is well again."""
        try:
            mode = msgspec.json.decode(await request.read(), type=Mode)
        except msgspec.DecodeError as error:
            return _error(400, f"{error}: send an object of {', '.join(Mode.__struct_fields__)}")
        fault = mode.fault()
        if fault:
            return _error(400, fault)
        self.mode = mode
        return await self._show_mode(request)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def read(key: str, kind: Literal["charge", "refund"], body: bytes, now: int) -> Entry:
    """Return a request, not decided yet; raises BadRequestError. Pure."""
    if not (0 < len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
        raise BadRequestError(f"send an Idempotency-Key of 1 to {LONGEST_KEY} printable characters")
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except msgspec.DecodeError as error:
        raise BadRequestError(f"{error}: send JSON with {', '.join(Asked.__struct_fields__)}") from error
    fault = _fault(asked, kind)
    if fault:
        raise BadRequestError(fault)
    return Entry(key=key, kind=kind, result="rejected", at=now, **msgspec.structs.asdict(asked))


def _fault(asked: Asked, kind: str) -> str | None:
    is_number = asked.order_id.isascii() and asked.order_id.isdigit() and len(asked.order_id) < 20
    checks = (
        (is_number and 0 < int(asked.order_id) <= MAX_ORDER_ID, "order_id is a string of digits, over 0"),
        (asked.attempt > 0, "attempt is over 0"),
        (0 < asked.amount < 2**63, "amount is over 0, in minor units"),
        (bool(_CURRENCY.fullmatch(asked.currency)), "currency is three capital letters (ISO 4217)"),
        (len(asked.token) <= MAX_TOKEN_LENGTH, f"token has at most {MAX_TOKEN_LENGTH} characters"),
        (bool(asked.charge) == (kind == "refund"), "a refund names its charge's key as charge; a charge has none"),
    )
    return next((what for is_fine, what in checks if not is_fine), None)


def _truth(done: Entry) -> dict[str, str]:
    return {"key": done.key, "result": done.result, "reason": done.reason}


def _lie(done: Entry) -> dict[str, str]:
    return {"key": done.key, "result": "declined", "reason": "said otherwise before"}


async def _answer_twice(request: web.Request, done: Entry) -> web.StreamResponse:
    """Answer, and send another answer after it on the same connection, as no server should."""
    body = msgspec.json.encode(_truth(done))
    response = web.Response(body=body, status=_STATUS[done.result], content_type="application/json")
    transport, lie = request.transport, msgspec.json.encode(_lie(done))
    head = f"HTTP/1.1 402 Payment Required\r\nContent-Type: application/json\r\nContent-Length: {len(lie)}\r\n\r\n"

    def send() -> None:
        if transport is not None and not transport.is_closing():
            transport.write(head.encode() + lie)

    asyncio.get_running_loop().call_later(SECOND_ANSWER_S, send)
    return response


async def _health(_request: web.Request) -> web.StreamResponse:
    return web.json_response({"status": "ok"})


def _error(status: int, text: str, headers: dict[str, str] | None = None, **fields: str) -> web.Response:
    return web.json_response({"error": text, **fields}, status=status, headers=headers)


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def _from_here(handler: Handler) -> Handler:
    """Answer only those on this machine: the ledger and the mode are nobody else's."""

    async def guarded(request: web.Request) -> web.StreamResponse:
        if not is_loopback(request.remote):
            return _error(403, "only from the provider's own machine")
        return await handler(request)

    return guarded


def is_loopback(address: str | None) -> bool:
    try:
        return ipaddress.ip_address(address or "").is_loopback
    except ValueError:
        return False


def options() -> dict[str, Any]:
    """Return how the service is to be run: who hangs up is not waited for, nor who waits for a slow answer at the end."""
    return {"handler_cancellation": True, "access_log": None, "shutdown_timeout": 1.0}
