"""Granian's RSGI to `Request` and back: bounded bodies, slow clients, clients that go away."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeAlias

from granian.rsgi import HTTPProtocol, ProtocolClosed, Scope

from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Answer, Request, Response, Streamed
from ingest.http.trace import Trace, sent_trace, trace_of

Answerer: TypeAlias = Callable[[Request], Awaitable[Answer]]
_BODILESS: Final = frozenset({204, 304})


class SlowBodies:
    """Ends the reading of bodies that take too long. One look at all of them now and then costs less than a timer for each."""

    def __init__(self, timeout_s: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.timeout_s = timeout_s
        self.reading: dict[asyncio.Task[None], float] = {}
        """Task -> when it began, in the event loop's time."""
        self.ended: set[asyncio.Task[None]] = set()

    async def watch(self) -> None:
        """Look until cancelled."""
        while True:
            await asyncio.sleep(min(1.0, self.timeout_s / 4))
            begun_by = self.loop.time() - self.timeout_s
            for task, begun in list(self.reading.items()):
                if begun < begun_by:
                    del self.reading[task]
                    self.ended.add(task)
                    task.cancel()


class Body:
    """The body as it comes in, bounded in bytes and in time."""

    __slots__ = ("_length", "_most", "_protocol", "_slow")

    def __init__(self, protocol: HTTPProtocol, length: str | None, most: int, slow: SlowBodies) -> None:
        self._protocol = protocol
        self._length = length
        self._most = most
        self._slow = slow

    async def whole(self) -> bytes:
        """See Incoming. The server itself holds a body to its Content-Length."""
        if self._length is not None and not int(self._length) <= self._most:
            raise self._too_large()
        task = asyncio.current_task(self._slow.loop)
        assert task is not None
        self._slow.reading[task] = self._slow.loop.time()
        try:
            return await (self._protocol() if self._length is not None else self._counted())
        except asyncio.CancelledError:
            if task not in self._slow.ended:
                raise
            self._slow.ended.discard(task)
            task.uncancel()
            raise self._too_slow() from None
        finally:
            self._slow.reading.pop(task, None)

    async def pieces(self) -> AsyncIterator[bytes]:
        """See Incoming."""
        incoming = aiter(self._protocol)
        while True:
            try:
                async with asyncio.timeout(self._slow.timeout_s):
                    piece = await anext(incoming)
            except StopAsyncIteration:
                return
            except TimeoutError:
                raise self._too_slow() from None
            yield piece

    async def _counted(self) -> bytes:
        parts, size = [], 0
        async for piece in self._protocol:
            size += len(piece)
            if size > self._most:
                raise self._too_large()
            parts.append(piece)
        return b"".join(parts)

    def _too_large(self) -> Problem:
        return Problem(ProblemType.TOO_LARGE, f"a body has at most {self._most:,} bytes", headers=[("connection", "close")])

    def _too_slow(self) -> Problem:
        detail = f"nothing more of the body came for {self._slow.timeout_s:g} s, or it took longer than that"
        return Problem(ProblemType.REQUEST_TIMEOUT, detail, headers=[("connection", "close")])


class Begun:
    """A body whose reading has begun, in the place of the protocol that Body asks for it."""

    __slots__ = ("_body",)

    def __init__(self, body: Awaitable[bytes]) -> None:
        self._body = body

    def __call__(self) -> Awaitable[bytes]:
        """Return it as the protocol does."""
        return self._body


class RsgiApp:
    """What Granian calls for each request."""

    def __init__(self, answer: Answerer, max_body: int, body_timeout_s: float, trace: Callable[[str | None], Trace] = trace_of) -> None:
        self._answer = answer
        self._trace_of = trace
        self.max_body = max_body
        self._slow = SlowBodies(body_timeout_s)
        self.watching = asyncio.ensure_future(self._slow.watch())

    async def __rsgi__(self, scope: Scope, protocol: HTTPProtocol) -> None:
        """Answer one request."""
        await self.respond(scope, protocol, protocol)

    async def respond(self, scope: Scope, protocol: HTTPProtocol, body: Any) -> None:
        """Answer one request; `body` is what gives its body: the protocol, or a Begun."""
        headers = scope.headers
        incoming = Body(body, headers.get("content-length"), self.max_body, self._slow)
        trace = self._trace_of(sent_trace(headers.get))
        answer = await self._answer(Request(scope.method, scope.path, scope.query_string, headers, scope.client, incoming, trace))
        if isinstance(answer, Response):
            body = b"" if scope.method == "HEAD" or answer.status in _BODILESS else answer.body
            protocol.response_bytes(answer.status, answer.headers, body)
        else:
            await _stream(protocol, answer)


async def _stream(protocol: HTTPProtocol, answer: Streamed) -> None:
    """Send piece by piece; a client that goes away ends the answer's making, wherever it waits."""
    transport = protocol.response_stream(answer.status, answer.headers)
    sending = asyncio.ensure_future(_send(transport, answer.pieces, answer.send_within_s))
    gone = asyncio.ensure_future(protocol.client_disconnect())
    try:
        await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
    finally:
        sending.cancel()
        gone.cancel()
        with suppress(asyncio.CancelledError, ProtocolClosed, TimeoutError):
            await sending


async def _send(transport: Any, pieces: AsyncIterator[bytes], within_s: float | None) -> None:
    try:
        async for piece in pieces:
            async with asyncio.timeout(within_s):
                await transport.send_bytes(piece)
    finally:
        close = getattr(pieces, "aclose", None)
        if close is not None:
            await close()
