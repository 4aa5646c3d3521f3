"""`POST /v1/orders/{order_id}/cancel | ship | return`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ingest.followers import Watch
from ingest.http.bodies import Body, CancelBody, ReturnBody, ShipBody
from ingest.http.errors import ProblemType, invalid, json_body, malformed
from ingest.http.idempotency import KEY_PARAMETER, key_of
from ingest.http.media import check_json
from ingest.http.messages import JSON, Answer, Request, Response
from ingest.http.owners import check_owner
from ingest.http.routes import Handler, Parameter, Route, up_to
from ingest.http.seams import Scope
from ingest.http.waiting import WAIT_PARAMETER, DecidedOrder, applied, decided_order, key_of_order, wait_of
from ingest.lookups import parse_order_id
from ingest.requests import OrderCommand
from schemas.outcomes import MAX_ORDER_ID, OrderCommandKind

if TYPE_CHECKING:
    from ingest.gateway import Gateway

ORDER_ID: Final = Parameter("order_id", "path", "Order ID.", {"type": "string", "pattern": up_to(MAX_ORDER_ID), "examples": [str(2**60)]}, required=True)
_MAX_ACTOR: Final = 64
_Bodies = CancelBody | ShipBody | ReturnBody


class OrderCommandAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command: `accepted` (in the log, not carried out yet), `done`, or `refused` with a code of docs/outcomes.md."""

    command_id: str
    status: str
    refusal: str = ""
    order: DecidedOrder | None = None


def order_id_of(request: Request) -> int:
    """Return the order ID of the path; raises Problem (400)."""
    text = request.params["order_id"]
    if not (text.isascii() and text.isdigit() and text[0] != "0" and len(text) <= len(str(MAX_ORDER_ID)) and int(text) <= MAX_ORDER_ID):
        raise malformed(f"{text[:40]!r} is no order ID: it is a whole number from 1 to {MAX_ORDER_ID}")
    return parse_order_id(text)


def _handler(kind: OrderCommandKind, body: Body[Any], acts_for_all: Scope | None) -> Handler:
    async def handle(gateway: Gateway, request: Request) -> Answer:
        check_json(request)
        order_id = order_id_of(request)
        said = body.decode(await request.incoming.whole())
        if acts_for_all is None or not request.caller.may(acts_for_all):
            await check_owner(gateway, request.caller, order_id)
        command = _command(kind, order_id, said, key_of(request) or f"gateway-{uuid.uuid4().hex}", request)
        return await _send(gateway, request, command)

    return handle


def _command(kind: OrderCommandKind, order_id: int, said: Any, command_id: str, request: Request) -> OrderCommand:
    line, quantity = getattr(said, "line", 0), getattr(said, "quantity", 0)
    if quantity and not line:
        raise invalid("/quantity", "units are returned of a line: name it in `line`", "INVALID_COMMAND")
    return OrderCommand(command_id, kind, order_id, line, quantity, actor=actor_of(request))


def actor_of(request: Request) -> str:
    """Return who gave a command, for the record."""
    return (request.caller.user or request.caller.key_id or "gateway")[:_MAX_ACTOR]


async def _send(gateway: Gateway, request: Request, command: OrderCommand) -> Answer:
    wait_s = wait_of(request, gateway.settings.gateway_max_wait)
    if not wait_s:
        await gateway.log.command_order(command, request.trace.parent)
        return Response(202, json_body(OrderCommandAnswer(command.command_id, "accepted")), [JSON])
    deadline = asyncio.get_running_loop().time() + wait_s
    with await gateway.outcomes.watch(key_of_order(command.order_id)) as watch:
        await gateway.log.command_order(command, request.trace.parent)
        answer = await _answer(watch, command, deadline)
    return Response(202 if answer.status == "accepted" else 200, json_body(answer), [JSON, applied(wait_s)])


async def _answer(watch: Watch, command: OrderCommand, deadline: float) -> OrderCommandAnswer:
    while (found := await watch.next(deadline)) is not None:
        if found.name == "OrderCommandRefused" and found.value["command_id"] == command.command_id:
            return OrderCommandAnswer(command.command_id, "refused", found.value["refusal"])
        if found.name == "OrderOutcome" and carries_out(found.value, command):
            return OrderCommandAnswer(command.command_id, "done", order=decided_order(found.value))
    return OrderCommandAnswer(command.command_id, "accepted")


def carries_out(outcome: Mapping[str, Any], command: OrderCommand) -> bool:
    """Say whether an outcome is what a command asked for. Outcomes do not name commands: it may be that of another with the same effect."""
    if command.kind == OrderCommandKind.CANCEL:
        return bool(outcome["status"] == "CANCELLED")
    moved = {OrderCommandKind.SHIP: "SHIPPED", OrderCommandKind.RETURN: "RETURNED"}[command.kind]
    if outcome["change"] != moved:
        return False
    if not command.line:
        return True
    line = next((x for x in outcome["lines"] if x["line"] == command.line), None)
    return line is not None and (line["status"] in {"SHIPPED", "RETURNED"} if command.kind == OrderCommandKind.SHIP else line["returned"] > 0)


_PROBLEMS: Final = (
    *(ProblemType.TOO_LARGE, ProblemType.UNSUPPORTED_MEDIA_TYPE, ProblemType.INVALID_REQUEST, ProblemType.REQUEST_TIMEOUT),
    *(ProblemType.OVERLOADED, ProblemType.NOT_ACKNOWLEDGED, ProblemType.UNAVAILABLE),
)
_ABOUT: Final = (
    "Answers 202 once the brokers have the command; with `Prefer: wait=N`, 200 with what became of it. The Idempotency-Key is the command's ID: "
    "the same one is carried out once. "
)


def _route(action: str, kind: OrderCommandKind, body: Body[Any], scopes: tuple[Scope, ...], summary: str, about: str) -> Route:
    for_all = Scope.STOCK if Scope.STOCK in scopes else None
    return Route(
        "POST",
        f"/v1/orders/{{order_id}}/{action}",
        _handler(kind, body, for_all),
        summary,
        scopes,
        _ABOUT + about,
        body.kind,
        answers={202: OrderCommandAnswer, 200: OrderCommandAnswer},
        parameters=(ORDER_ID, KEY_PARAMETER, WAIT_PARAMETER),
        problems=_PROBLEMS,
        sheds=True,
        body_required=False,
        headers=("Preference-Applied",),
    )


ROUTES: Final = (
    _route("cancel", OrderCommandKind.CANCEL, Body(CancelBody), (Scope.PLACE,), "Cancel an order", "Only before the decision."),
    _route("ship", OrderCommandKind.SHIP, Body(ShipBody), (Scope.STOCK,), "Ship an order or a line", "Only what is held by a confirmed order."),
    _route("return", OrderCommandKind.RETURN, Body(ReturnBody), (Scope.STOCK, Scope.PLACE), "Take units back", "Only what was shipped; money goes back."),
)
