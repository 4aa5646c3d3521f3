"""`POST /v1/orders:batch`: NDJSON both ways. One answer line per order line, in order, while the rest still comes in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Final

import msgspec

import failpoints
from ingest.columns import Line as LineRow
from ingest.errors import IngestError
from ingest.http.bodies import ORDER, OrderBody, canonical, check_order, line_items
from ingest.http.errors import Problem, ProblemBody, ProblemType, json_body, problem_of
from ingest.http.idempotency import KEY_PARAMETER, body_hash, key_of
from ingest.http.media import NDJSON, check_lines
from ingest.http.messages import Answer, Request, Streamed
from ingest.http.ndjson import parts_of
from ingest.http.routes import Route
from ingest.http.seams import Asked, Scope
from ingest.http.throttle import check_admitted
from ingest.order_ids import clock_ms
from ingest.order_log import Acknowledged
from schemas.partitions import product_partition

if TYPE_CHECKING:
    from ingest.gateway import Gateway

PARTS_IN_HAND: Final = 16
"""Parts of one request that wait for their acknowledgement; then no more of it is read."""
PAUSE_S: Final = 0.02
LONGEST_PAUSE_S: Final = 30.0
"""Lines that would have to wait for longer for the caller's tokens are refused."""


class BatchAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of one line: accepted with its order ID, or an error with the problem that a request of its own would have had."""

    line: Annotated[int, msgspec.Meta(ge=1, description="Number of the line, from 1; blank lines do not count.")]
    status: str
    order_id: str = ""
    problem: ProblemBody | None = None


@dataclass(slots=True)
class _Line:
    """One order of a part: either still `order`, under an ID, or a problem."""

    order: OrderBody | None
    problem: Problem | None = None
    order_id: int = 0
    acknowledged: bool = False


@dataclass(slots=True)
class _Part:
    """Lines that are answered together. `sent`: the acknowledgement that is due; None where nothing was sent."""

    first: int
    lines: list[_Line]
    sent: Acknowledged | None = None
    asked: Sequence[Asked] = ()


async def place_batch(gateway: Gateway, request: Request) -> Answer:
    """Take orders in, as many as come; each is answered once the brokers have it."""
    check_lines(request)
    return Streamed(200, _Batch(gateway, request, key_of(request)).answers(), [("content-type", NDJSON)])


class _Batch:
    """One batch request: a task reads and sends ahead of the answers."""

    def __init__(self, gateway: Gateway, request: Request, key: str | None) -> None:
        self._gateway = gateway
        self._request = request
        self._key = key
        self._parts: asyncio.Queue[_Part | None] = asyncio.Queue(PARTS_IN_HAND)
        self._line = 1

    async def answers(self) -> AsyncIterator[bytes]:
        """Yield the answer lines of part after part."""
        reading = asyncio.ensure_future(self._read())
        try:
            while (part := await self._parts.get()) is not None:
                yield await self._answer(part)
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading
            while not self._parts.empty():
                self._settle(self._parts.get_nowait(), False)

    async def _read(self) -> None:
        """Send what comes in. What makes the rest unreadable is the answer of the line at which it stood."""
        try:
            async for data in parts_of(self._request.incoming.pieces(), self._gateway.settings.gateway_max_body):
                await self._take(data)
        except Problem as problem:
            await self._parts.put(_Part(self._line, [_Line(None, problem)]))
        await self._parts.put(None)

    async def _take(self, data: bytes) -> None:
        part = _Part(self._line, _decoded(data))
        self._line += len(part.lines)
        if part.lines:
            try:
                await self._admit(len(part.lines))
                await self._place(part)
            except (Problem, IngestError) as error:
                _fail(part, error)
            try:
                await self._parts.put(part)
            except asyncio.CancelledError:
                self._settle(part, False)
                raise

    async def _admit(self, lines: int) -> None:
        """Wait for the caller's next tokens and for room in the log: a batch is slowed down, not refused."""
        while (after_s := (admission := await self._gateway.throttle(self._request.caller, lines)).retry_after_s) is not None:
            if after_s > LONGEST_PAUSE_S:
                check_admitted(admission)
            await asyncio.sleep(min(after_s, 1.0))
        deadline = asyncio.get_running_loop().time() + self._gateway.settings.gateway_ack_timeout
        while self._gateway.shed_after() is not None:
            if asyncio.get_running_loop().time() > deadline:
                raise Problem(ProblemType.OVERLOADED, "the brokers do not keep up; this line was not sent", retry_after_s=2)
            await asyncio.sleep(PAUSE_S)

    async def _place(self, part: _Part) -> None:
        ids = self._gateway.ids
        for line in part.lines:
            self._check(line)
        homes = [0 if line.order is None else product_partition(line.order.lines[0].product_id, ids.partitions) for line in part.lines]
        for line, order_id in zip(part.lines, await ids.take(homes), strict=True):
            line.order_id = order_id
        if self._key is not None:
            await self._claim(part)
        now, items = clock_ms(), list[LineRow]()
        for line in part.lines:
            if line.order is not None and not line.acknowledged:
                items += line_items(line.order, line.order_id, now)
        if items:
            part.sent = self._gateway.log.place(items, self._request.trace.parent)

    def _check(self, line: _Line) -> None:
        if line.order is None:
            return
        try:
            check_order(line.order)
            self._request.caller.check_user(line.order.user)
        except Problem as problem:
            line.order, line.problem = None, problem

    async def _claim(self, part: _Part) -> None:
        """Claim one key per line: the request's, and the line's number."""
        numbered = [(f"{self._key}/{part.first + at}", line) for at, line in enumerate(part.lines) if line.order is not None]
        asked = [Asked(line.order.user, key, body_hash(canonical(line.order)), line.order_id) for key, line in numbered if line.order]
        claimed = []
        for item, (_, line), claim in zip(asked, numbered, await self._gateway.idempotency.claim(asked), strict=True):
            if isinstance(claim, Problem):
                line.order, line.problem = None, claim
            else:
                line.order_id, line.acknowledged = claim.order_id, claim.acknowledged
                claimed.append(item)
        part.asked = claimed
        failpoints.reach("gateway.claimed")

    async def _answer(self, part: _Part) -> bytes:
        acknowledged = False
        try:
            if part.sent is not None:
                await part.sent
            acknowledged = all(line.problem is None for line in part.lines if line.order is not None)
            self._gateway.owners.note([(line.order_id, line.order.user) for line in part.lines if line.order is not None and line.problem is None])
        except IngestError as error:
            _fail(part, error)
        finally:
            self._settle(part, acknowledged)
        return b"".join([self._said(number, line) for number, line in enumerate(part.lines, part.first)])

    def _settle(self, part: _Part | None, acknowledged: bool) -> None:
        if part is not None and part.asked:
            self._gateway.idempotency.settle(part.asked, acknowledged)

    def _said(self, number: int, line: _Line) -> bytes:
        if line.problem is None:
            return b'{"line":%d,"status":"accepted","order_id":"%d"}\n' % (number, line.order_id)
        return json_body(BatchAnswer(number, "error", problem=line.problem.body(self._request.trace.trace_id))) + b"\n"


def _decoded(data: bytes) -> list[_Line]:
    """Decode whole lines: all at once where all are right, else one by one to say which is wrong."""
    try:
        return [_Line(order) for order in ORDER.decode_lines(data)]
    except Problem:
        return [_decoded_line(line) for line in data.split(b"\n") if line.strip()]


def _decoded_line(line: bytes) -> _Line:
    try:
        return _Line(ORDER.decode(line))
    except Problem as problem:
        return _Line(None, problem)


def _fail(part: _Part, error: Problem | IngestError) -> None:
    """Give the lines that have no problem yet this one."""
    problem = problem_of(error) if isinstance(error, IngestError) else error
    for line in part.lines:
        if line.problem is None and not line.acknowledged:
            line.problem = problem


ROUTES: Final = (
    Route(
        "POST",
        "/v1/orders:batch",
        place_batch,
        "Place many orders",
        (Scope.PLACE,),
        "One order per line in; one answer per line out, in order, each once the brokers have it. Answers come while the rest is still being sent. "
        "With an Idempotency-Key, line n has the key `KEY/n`. When the log or the caller's limit does not keep up, reading slows down.",
        OrderBody,
        NDJSON,
        body_required=False,
        answers={200: BatchAnswer},
        answer_type=NDJSON,
        parameters=(KEY_PARAMETER,),
        problems=(ProblemType.UNSUPPORTED_MEDIA_TYPE, ProblemType.OVERLOADED),
        sheds=True,
    ),
)
