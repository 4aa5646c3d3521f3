"""`POST /v1/products/{product_id}/restock | write-off | count | freeze`."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import msgspec

from ingest.http.bodies import NO_ZERO, Body, CountBody, FreezeBody, UnitsBody
from ingest.http.errors import ProblemType, json_body, malformed
from ingest.http.idempotency import KEY_PARAMETER, key_of
from ingest.http.media import check_json
from ingest.http.messages import JSON, Answer, Request, Response
from ingest.http.order_commands import actor_of
from ingest.http.routes import Handler, Parameter, Route
from ingest.http.seams import Scope
from ingest.http.waiting import WAIT_PARAMETER, applied, wait_of
from ingest.order_ids import clock_ms
from ingest.requests import StockCommand
from schemas.outcomes import MAX_ID_LENGTH, Refusal, StockCommandKind

if TYPE_CHECKING:
    from ingest.gateway import Gateway

PRODUCT_ID: Final = Parameter(
    "product_id",
    "path",
    "Product (SKU), percent-encoded.",
    {"type": "string", "minLength": 1, "maxLength": MAX_ID_LENGTH, "pattern": NO_ZERO, "examples": ["22423"]},
    required=True,
)
Command = Callable[[str, str, Any, str], StockCommand]


class StockCommandAnswer(msgspec.Struct, frozen=True, omit_defaults=True):
    """What became of a command: `accepted` (in the log, not carried out yet), `done`, or `refused` with a code of docs/outcomes.md.

    The product's units after it, once that is known.
    """

    command_id: str
    status: str
    refusal: str = ""
    product_id: str | None = None
    available: int | None = None
    reserved: int | None = None
    shipped: int | None = None
    version: int | None = None


def product_id_of(request: Request) -> str:
    """Return the product ID of the path; raises Problem (400)."""
    text = request.params["product_id"]
    # Bytes that are no UTF-8 come from the server as U+FFFD: nobody's product, and not to be stocked.
    if not 1 <= len(text) <= MAX_ID_LENGTH or "\0" in text or "\ufffd" in text:
        raise malformed(f"{text[:80]!r} is no product ID: it has 1 to {MAX_ID_LENGTH} characters of UTF-8, none of them zero")
    return text


def _handler(body: Body[Any], command_of: Command) -> Handler:
    async def handle(gateway: Gateway, request: Request) -> Answer:
        check_json(request)
        product_id = product_id_of(request)
        said = body.decode(await request.incoming.whole())
        command_id = key_of(request) or f"gateway-{uuid.uuid4().hex}"
        return await _send(gateway, request, command_of(command_id, product_id, said, actor_of(request)))

    return handle


async def _send(gateway: Gateway, request: Request, command: StockCommand) -> Answer:
    wait_s = wait_of(request, gateway.settings.gateway_max_wait)
    if not wait_s:
        await gateway.log.command_stock(command, request.trace.parent)
        return Response(202, json_body(StockCommandAnswer(command.command_id, "accepted")), [JSON])
    deadline = asyncio.get_running_loop().time() + wait_s
    with await gateway.movements.watch((command.command_id, command.product_id)) as watch:
        await gateway.log.command_stock(command, request.trace.parent)
        answer = _answer(command, await watch.next(deadline))
    return Response(202 if answer.status == "accepted" else 200, json_body(answer), [JSON, applied(wait_s)])


def _answer(command: StockCommand, moved: dict[str, Any] | None) -> StockCommandAnswer:
    if moved is None:
        return StockCommandAnswer(command.command_id, "accepted")
    refusal = Refusal(moved["refusal"])
    units = (moved["available"], moved["reserved"], moved["shipped"], moved["version"])
    said = "refused" if refusal else "done"
    return StockCommandAnswer(command.command_id, said, refusal.name if refusal else "", command.product_id, *units)


def _units(kind: StockCommandKind) -> Command:
    return lambda command_id, product_id, said, actor: StockCommand(command_id, kind, product_id, said.quantity, actor=actor, note=said.note)


def _count(command_id: str, product_id: str, said: CountBody, actor: str) -> StockCommand:
    as_of = clock_ms() if said.as_of is None else said.as_of
    return StockCommand(command_id, StockCommandKind.COUNT, product_id, said.quantity, as_of, actor=actor, note=said.note)


def _freeze(command_id: str, product_id: str, said: FreezeBody, actor: str) -> StockCommand:
    kind = StockCommandKind.FREEZE if said.frozen else StockCommandKind.UNFREEZE
    return StockCommand(command_id, kind, product_id, actor=actor, note=said.note)


_PROBLEMS: Final = (
    *(ProblemType.TOO_LARGE, ProblemType.UNSUPPORTED_MEDIA_TYPE, ProblemType.INVALID_REQUEST, ProblemType.REQUEST_TIMEOUT),
    *(ProblemType.OVERLOADED, ProblemType.NOT_ACKNOWLEDGED, ProblemType.UNAVAILABLE),
)


def _route(action: str, body: Body[Any], command_of: Command, summary: str, body_required: bool = True) -> Route:
    return Route(
        "POST",
        f"/v1/products/{{product_id}}/{action}",
        _handler(body, command_of),
        summary,
        (Scope.STOCK,),
        "Answers 202 once the brokers have the command; with `Prefer: wait=N`, 200 with what became of it. The Idempotency-Key is the command's ID "
        "(of a restock, its receipt): the same one is carried out once per product, and a repeat gets no second answer.",
        body.kind,
        answers={202: StockCommandAnswer, 200: StockCommandAnswer},
        parameters=(PRODUCT_ID, KEY_PARAMETER, WAIT_PARAMETER),
        problems=_PROBLEMS,
        tag="products",
        sheds=True,
        body_required=body_required,
        headers=("Preference-Applied",),
    )


ROUTES: Final = (
    _route("restock", Body(UnitsBody), _units(StockCommandKind.RESTOCK), "Book units that arrived"),
    _route("write-off", Body(UnitsBody), _units(StockCommandKind.WRITE_OFF), "Book units that are lost"),
    _route("count", Body(CountBody), _count, "Book a stock-take"),
    _route("freeze", Body(FreezeBody), _freeze, "Refuse reservations, or take them again", body_required=False),
)
