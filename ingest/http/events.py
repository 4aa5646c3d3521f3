"""`GET /v1/orders/{order_id}/events`: what happens to an order, as it happens (server-sent events)."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Literal

from ingest.followers import Said, Watch
from ingest.http.errors import Problem, ProblemType, malformed
from ingest.http.media import text_of
from ingest.http.messages import Answer, Headers, Request, Response, Streamed
from ingest.http.order_commands import ORDER_ID, order_id_of
from ingest.http.order_events import HEARTBEAT, PREAMBLE, Event, EventId, Teller, event_id_of
from ingest.http.owners import check_owner
from ingest.http.routes import Parameter, Route
from ingest.http.seams import Caller, Scope
from ingest.http.waiting import key_of_order
from ingest.order_history import Past, Place
from ingest.order_ids import clock_ms, parts_of

if TYPE_CHECKING:
    from ingest.gateway import Gateway

MEDIA_TYPE: Final = "text/event-stream"
PER_USER: Final = 100
"""Streams of one user at a time: nobody takes all there are."""
YOUNG_MS: Final = 60_000
DECIDED_WITHIN_S: Final = 2.0
"""So long an order that was placed just now, at another gateway, may take to say whose it is."""
SEND_WITHIN_S: Final = 30.0
"""For the next piece; a client that reads more slowly has to come back."""
_FULL_RETRY_S: Final = 5.0
_HEADERS: Final[Headers] = [("content-type", MEDIA_TYPE), ("cache-control", "no-store"), ("x-accel-buffering", "no")]


class Streams:
    """How many streams there are, of whom."""

    def __init__(self, most: int) -> None:
        self.open = 0
        self._most = most
        self._of_user: Counter[str] = Counter()

    def take(self, user: str | None) -> None:
        """Count one more; raises Problem: OVERLOADED, or TOO_MANY_REQUESTS for a user who has as many as one may."""
        if self.open >= self._most:
            raise Problem(ProblemType.OVERLOADED, f"{self._most} streams are open here, as many as there may be", retry_after_s=_FULL_RETRY_S)
        if user is not None and self._of_user[user] >= PER_USER:
            raise Problem(ProblemType.TOO_MANY_REQUESTS, f"a user may have {PER_USER} streams open at a time", retry_after_s=_FULL_RETRY_S)
        self.open += 1
        if user is not None:
            self._of_user[user] += 1

    def give_back(self, user: str | None) -> None:
        """Count one less."""
        self.open -= 1
        if user is not None:
            self._of_user[user] -= 1
            if not self._of_user[user]:
                del self._of_user[user]


class _Seat:
    """A stream's place among the others, and its watch. Given back when the stream ends; one that never began is given back by `__del__`."""

    def __init__(self, streams: Streams, user: str | None) -> None:
        streams.take(user)
        self._streams = streams
        self._user = user
        self._watch: Watch | None = None
        self._taken = True

    async def watch(self, gateway: Gateway, order_id: int) -> Watch:
        """Watch an order from now on; raises BrokerUnavailableError."""
        self._watch = await gateway.outcomes.watch(key_of_order(order_id))
        return self._watch

    def leave(self) -> None:
        """Give it back."""
        if self._taken:
            self._taken = False
            self._streams.give_back(self._user)
            if self._watch is not None:
                self._watch.__exit__()

    def __del__(self) -> None:
        if getattr(self, "_taken", False):
            self.leave()


async def events(gateway: Gateway, request: Request) -> Answer:
    """Tell what happened to an order since the last event the client knows, then what happens."""
    order_id, known = order_id_of(request), _known(request)
    seat = _Seat(gateway.events, request.caller.user)
    try:
        # First watched, then read: what is said in between is in both, and told once.
        watch = await seat.watch(gateway, order_id)
        past = await gateway.history.read(order_id, known.place)
        await _check_owner(gateway, request.caller, order_id, past, watch)
        stream = _Stream(gateway, order_id, watch, past)
        first = await stream.first(known)
    except BaseException:
        seat.leave()
        raise
    if (known.ended or stream.teller.ended) and not first:
        seat.leave()
        # To an EventSource this says: do not come back.
        return Response(204, headers=[("cache-control", "no-store")])
    if request.method == "HEAD":
        seat.leave()
        return Response(200, headers=_HEADERS)
    return Streamed(200, stream.pieces(seat, first), _HEADERS, SEND_WITHIN_S)


def _known(request: Request) -> EventId:
    said = text_of(request, "last-event-id")
    try:
        return event_id_of(said) if said else EventId()
    except ValueError as error:
        raise malformed(str(error)) from error


async def _check_owner(gateway: Gateway, caller: Caller, order_id: int, past: Past, watch: Watch) -> None:
    """Raise the 404 of an order that is not the caller's. What the log says of it is asked first, and waited for if it is new."""
    if caller.user is None or caller.may(Scope.ADMIN) or _is_of(caller, past.said):
        return
    try:
        await check_owner(gateway, caller, order_id)
    except Problem as problem:
        if problem.kind is not ProblemType.NOT_FOUND or abs(clock_ms() - parts_of(order_id)[0]) > YOUNG_MS:
            raise
        # Another's order is waited for as long: whether there is one is not for others to know.
        deadline = asyncio.get_running_loop().time() + DECIDED_WITHIN_S
        while (record := await watch.next(deadline)) is not None:
            past.said.append(record)
            if _is_of(caller, past.said):
                return
        raise


def _is_of(caller: Caller, records: list[Said]) -> bool:
    return any(record.name == "OrderOutcome" and record.value["user_id"] == caller.user for record in records)


class _Stream:
    """One client's events."""

    def __init__(self, gateway: Gateway, order_id: int, watch: Watch, past: Past) -> None:
        self._gateway = gateway
        self._order_id = order_id
        self._watch = watch
        self._past = past
        self.teller = Teller(0)

    async def first(self, known: EventId) -> list[Event]:
        """Return the events that are due at once."""
        self.teller = Teller(known.version)
        if known.ended:
            return []
        found = [] if self._past.whole else await self._stored()
        found += self.teller.of_log(self._past.said)
        if not found and not known.version and known.place is None and await self._gateway.owners.find(self._order_id) is not None:
            found = [self.teller.accepted(self._order_id, Place(self._past.partition, self._past.end))]
        return found

    async def pieces(self, seat: _Seat, first: list[Event]) -> AsyncIterator[bytes]:
        """Yield the stream: until the order came to rest, the gateway stops, or it has lasted long enough. Clients come back by themselves."""
        stopping = asyncio.ensure_future(self._gateway.stopping.wait())
        try:
            yield PREAMBLE + b"".join(event.text() for event in first)
            ends_at = asyncio.get_running_loop().time() + self._gateway.settings.gateway_events_lifetime
            while not self.teller.ended and not stopping.done() and (left_s := ends_at - asyncio.get_running_loop().time()) > 0:
                found = await self._next(stopping, left_s)
                yield b"".join(event.text() for event in found) or HEARTBEAT
        finally:
            stopping.cancel()
            seat.leave()

    async def _next(self, stopping: asyncio.Task[Literal[True]], left_s: float) -> list[Event]:
        """Return what comes next; nothing when it is time for a sign of life."""
        loop = asyncio.get_running_loop()
        coming = asyncio.ensure_future(self._watch.next(loop.time() + min(left_s, self._gateway.settings.gateway_events_heartbeat)))
        try:
            await asyncio.wait((coming, stopping), return_when=asyncio.FIRST_COMPLETED)
        finally:
            coming.cancel()
        with suppress(asyncio.CancelledError):
            if (record := await coming) is not None:
                return list(self.teller.of_log([record]))
        # The part of the log that was not read may hold what the stores did not have yet.
        return [] if self._past.whole or stopping.done() else await self._stored()

    async def _stored(self) -> list[Event]:
        try:
            found = await self._gateway.reads.order(self._order_id)
        except Problem:
            return []
        if found is None:
            return []
        versions = [record.value["version"] for record in self._past.said if record.name == "OrderOutcome"]
        # From there on the log itself tells, and tells more.
        told = any(self.teller.version < version <= found["version"] for version in versions)
        return [] if told else list(self.teller.of_store(found))


LAST_EVENT_ID: Final = Parameter(
    "Last-Event-ID",
    "header",
    "The `id` of the last event that was received, from any gateway: what came after it is sent.",
    {"type": "string", "pattern": r"^([0-9]{1,10}(\.[0-9]{1,9}\.[0-9]{1,18}(\.end)?)?)?$", "examples": ["1.3.4711"]},
)
_DATA: Final = {"type": "string", "contentMediaType": "application/json", "contentSchema": {"type": "object"}}
_EVENT: Final = {
    "type": "object",
    "description": "One event of the stream.",
    "properties": {"id": {"type": "string"}, "event": {"type": "string"}, "data": _DATA, "retry": {"type": "integer"}},
}
ROUTES: Final = (
    Route(
        "GET",
        "/v1/orders/{order_id}/events",
        events,
        "Follow an order",
        (Scope.READ,),
        "Server-sent events: `accepted`, `confirmed`, `rejected`, `payment_failed`, `expired`, `cancelled`, `amended`, `shipped`, `returned`, "
        "`command_refused`. The data is the order as it stands then. 204: it came to rest, and you know it.",
        answers={200: _EVENT, 204: None},
        answer_type=MEDIA_TYPE,
        parameters=(ORDER_ID, LAST_EVENT_ID),
        problems=(ProblemType.NOT_FOUND, ProblemType.OVERLOADED, ProblemType.UNAVAILABLE, ProblemType.MALFORMED_REQUEST),
    ),
)
