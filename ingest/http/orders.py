"""`POST /v1/orders`: one order into the log."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

import failpoints
from ingest.http.bodies import ORDER, Accepted, OrderBody, canonical, check_order, line_items
from ingest.http.errors import Problem, ProblemType, json_body
from ingest.http.idempotency import KEY_PARAMETER, body_hash, key_of
from ingest.http.media import check_json
from ingest.http.messages import JSON, Answer, Headers, Request, Response
from ingest.http.routes import Route
from ingest.http.seams import Asked, Claim, Scope
from ingest.http.throttle import check_admitted
from ingest.http.waiting import WAIT_PARAMETER, DecidedOrder, applied, decision, key_of_order, wait_of
from ingest.order_ids import clock_ms
from schemas.partitions import product_partition

if TYPE_CHECKING:
    from ingest.gateway import Gateway

PATH: Final = "/v1/orders"


async def place(gateway: Gateway, request: Request) -> Answer:
    """Take an order in: 202 once every line is acknowledged by the brokers."""
    check_json(request)
    order = ORDER.decode(await request.incoming.whole())
    check_order(order)
    request.caller.check_user(order.user)
    if request.caller.user is None:
        check_admitted(await gateway.throttle.user(order.user))
    key, wait_s = key_of(request), wait_of(request, gateway.most_wait_s)
    home = product_partition(order.lines[0].product_id, gateway.ids.partitions)
    order_id = gateway.ids.next(home) or (await gateway.ids.take([home]))[0]
    if key is not None or wait_s:
        return await _place_with_care(gateway, request, Asked(order.user, key or "", b"", order_id), order, wait_s)
    await gateway.log.place(line_items(order, order_id, clock_ms()), request.trace.parent)
    gateway.owners.note([(order_id, order.user)])
    return accepted(order_id)


async def _place_with_care(gateway: Gateway, request: Request, asked: Asked, order: OrderBody, wait_s: float) -> Answer:
    """Place an order that has a key, or whose decision is waited for; the claim is in flight until the acknowledgement, not while waiting."""
    deadline = asyncio.get_running_loop().time() + wait_s
    with ExitStack() as until_answered:
        async with _claimed(gateway, asked, order) as claim:
            watch = until_answered.enter_context(await gateway.outcomes.watch(key_of_order(claim.order_id))) if wait_s else None
            if not claim.acknowledged:
                await gateway.log.place(line_items(order, claim.order_id, clock_ms()), request.trace.parent)
        gateway.owners.note([(claim.order_id, order.user)])
        if watch is None:
            return accepted(claim.order_id)
        decided = await _decided_before(gateway, claim.order_id) if claim.order_id != asked.order_id else None
        return _waited(claim.order_id, decided or await decision(watch, deadline), wait_s)


async def _decided_before(gateway: Gateway, order_id: int) -> Any:
    """Return what is known of an order that was placed before; where nobody can say, its decision is waited for like a new one's."""
    with suppress(Problem):
        return await gateway.reads.order(order_id)


@asynccontextmanager
async def _claimed(gateway: Gateway, asked: Asked, order: OrderBody) -> AsyncIterator[Claim]:
    """The claim of an order's key, in flight within the block; without a key, the order's own new ID. Raises Problem."""
    if not asked.key:
        yield Claim(asked.order_id)
        return
    keyed = (replace(asked, body_hash=body_hash(canonical(order))),)
    (claim,) = await gateway.idempotency.claim(keyed)
    if isinstance(claim, Problem):
        raise claim
    acknowledged = False
    try:
        failpoints.reach("gateway.claimed")
        yield claim
        failpoints.reach("gateway.sent")
        acknowledged = True
    finally:
        gateway.idempotency.settle(keyed, acknowledged)


def _waited(order_id: int, decided: Any, wait_s: float) -> Response:
    own = applied(wait_s)
    if decided is None:
        answer = accepted(order_id)
        return Response(answer.status, answer.body, [*answer.headers, own])
    return Response(200, json_body(decided), [*headers_of(order_id), own])


def accepted(order_id: int) -> Response:
    """Return the answer for an order that is in the log."""
    return Response(202, b'{"order_id":"%d","status":"accepted"}' % order_id, headers_of(order_id))


def headers_of(order_id: int) -> Headers:
    """Return the headers of every answer about a placed order."""
    return [JSON, ("location", f"{PATH}/{order_id}")]


_PROBLEMS: Final = (
    *(ProblemType.TOO_LARGE, ProblemType.UNSUPPORTED_MEDIA_TYPE, ProblemType.INVALID_REQUEST, ProblemType.KEY_REUSED),
    *(ProblemType.REQUEST_IN_FLIGHT, ProblemType.REQUEST_TIMEOUT, ProblemType.OVERLOADED, ProblemType.NOT_ACKNOWLEDGED, ProblemType.UNAVAILABLE),
)
ROUTES: Final = (
    Route(
        "POST",
        PATH,
        place,
        "Place an order",
        (Scope.PLACE,),
        "Answers 202 once the brokers have every line. The same Idempotency-Key and body gives the same order ID for ever after. "
        "With `Prefer: wait=N` answers 200 with the decision if it comes within N seconds.",
        OrderBody,
        answers={202: Accepted, 200: DecidedOrder},
        parameters=(KEY_PARAMETER, WAIT_PARAMETER),
        problems=_PROBLEMS,
        sheds=True,
        headers=("Location", "Preference-Applied"),
    ),
)
