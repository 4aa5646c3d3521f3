"""The short way of the plainest request there is, and the most frequent: `POST /v1/orders` without an Idempotency-Key or a wait.

It does what `rsgi.py`, `gateway.py` and `orders.py` do with it, without a task, a future and a wake-up of its own: Granian's thread notes it and has its
body read, the next tick of the order log takes in all that came, and the acknowledgement of a flight answers all of it at once. Whatever is not as it mostly
is (a key not seen lately, a wrong body, a limit, a full queue) goes the long way, with its body as far as it came, and hears there what is wrong.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Final

from granian.rsgi import HTTPProtocol

from ingest.errors import IngestError, PublishError
from ingest.http.access import Line
from ingest.http.bodies import ORDER, OrderBody, check_order, line_items
from ingest.http.errors import problem_of
from ingest.http.handover import LongWay, Watcher
from ingest.http.idempotency import HEADER as KEY_HEADER
from ingest.http.messages import JSON, Headers
from ingest.http.orders import PATH, ROUTES
from ingest.http.rsgi import Begun
from ingest.http.seams import Caller
from ingest.http.trace import Trace, sent_trace, trace_of
from ingest.order_ids import clock_ms
from schemas.partitions import product_partition

if TYPE_CHECKING:
    from ingest.gateway import Gateway

PATIENCE_S: Final = 0.1
"""A body that is not there by then is waited for on the long way."""
MANY: Final = 16
"""So many orders need not wait for the tick that is due: a wake-up for all of them costs little, and acknowledgements are heard sooner."""
_ROUTE: Final = ROUTES[0]
_NAME: Final = _ROUTE.name
_now: Final = time.perf_counter


class PlainOrder:
    """One such request. To the order log it is who waits for the acknowledgement."""

    __slots__ = ("began", "begun", "body", "caller", "client", "limits", "order_id", "orders", "proto", "said", "trace", "traceparent", "watcher")

    method, path = "POST", PATH

    def __init__(self, orders: PlainOrders, watcher: Watcher, proto: HTTPProtocol, begun: Any, said: str, traceparent: str | None, client: str) -> None:
        self.orders = orders
        self.watcher = watcher
        self.proto = proto
        self.begun = begun
        """Granian's future of the body."""
        self.said = said
        """The `Authorization` header."""
        self.traceparent = traceparent
        self.client = client
        self.began = _now()
        self.caller: Caller
        self.body: OrderBody
        self.order_id: int
        self.trace: Trace
        self.limits: Headers

    def done(self) -> bool:
        """See order_log.Waiter."""
        return False

    def set_result(self, _result: None) -> None:
        """See order_log.Waiter."""
        self.orders.accepted(self)

    def set_exception(self, error: PublishError) -> None:
        """See order_log.Waiter."""
        self.orders.refused(self, error)


class PlainOrders:
    """The short way (handover.ShortWay), and a source of the order log. `takes` is called in Granian's thread, all else in the event loop's."""

    def __init__(self, gateway: Gateway, long_way: LongWay, max_body: int, trace: Callable[[str | None], Trace] = trace_of) -> None:
        self._gateway = gateway
        self._long_way = long_way
        self._max_body = max_body
        self._trace_of = trace
        self._came: deque[PlainOrder] = deque()
        self._placed: list[tuple[int, str]] = []
        self._taken = 0
        gateway.figures.counters["holdfast_gateway_plain_orders", "Orders that needed no task of their own."] = lambda: self._taken
        self._ticks = False
        """Whether a tick comes without being asked for. Granian's thread notes an order, then looks here; `rest` denies it here, then looks for orders."""

    # -- in Granian's thread -------------------------------------------------------------------------------------------------

    def takes(self, watcher: Watcher) -> bool:
        """See handover.ShortWay."""
        scope = watcher.scope
        if scope.path != PATH or scope.method != "POST":
            return False
        headers: Any = scope.headers
        get = headers.get
        length, said = get("content-length"), get("authorization")
        if said is None or length is None or get("content-type") != "application/json" or KEY_HEADER in headers or "prefer" in headers:
            return False
        if not int(length) <= self._max_body:
            return False
        proto = watcher.proto
        self._came.append(PlainOrder(self, watcher, proto, proto(), said, sent_trace(get), scope.client))
        if not self._ticks:
            self._ticks = True
            self._gateway.loop.call_soon_threadsafe(self._gateway.log.wake)
        elif len(self._came) == MANY:
            self._gateway.loop.call_soon_threadsafe(self._gateway.log.hurry)
        return True

    # -- in the event loop's -------------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """See order_log.Source."""
        if self._placed:
            self._gateway.owners.note(self._placed)
            self._placed = []
        came = self._came
        if came:
            self._take_in(self._read(), self._gateway.shed_after() is None)
        return bool(came) or bool(self._placed)

    def rest(self) -> bool:
        """See order_log.Source."""
        self._ticks = False
        self._ticks = bool(self._came)
        return self._ticks

    def accepted(self, order: PlainOrder) -> None:
        """Answer an order that the brokers have."""
        order_id = order.order_id
        self._placed.append((order_id, order.body.user))
        headers = [JSON, ("location", f"{PATH}/{order_id}"), *order.limits]
        order.proto.response_bytes(202, headers, b'{"order_id":"%d","status":"accepted"}' % order_id)
        self._note(order, 202, "")

    def refused(self, order: PlainOrder, error: IngestError) -> None:
        """Answer an order that they may not have."""
        answer = problem_of(error).response(order.trace.trace_id)
        order.proto.response_bytes(answer.status, answer.headers, answer.body)
        self._note(order, answer.status, f"{type(error).__name__}: {error}")

    def _read(self) -> list[PlainOrder]:
        """Return the orders whose bodies are there; those whose bodies are late go the long way."""
        came, read, late = self._came, [], _now() - PATIENCE_S
        for _ in range(len(came)):
            order = came.popleft()
            if order.begun.done():
                read.append(order)
            elif order.began > late:
                came.append(order)
            else:
                self._go_the_long_way(order)
        return read

    def _take_in(self, read: Iterable[PlainOrder], may: bool) -> None:
        """Put orders into the log, those of one caller at a time; `may`: the log has room."""
        groups: dict[tuple[str, str | None], list[PlainOrder]] = {}
        for order in read:
            if may and self._is_plain(order):
                caller = order.caller
                groups.setdefault((caller.key_id, order.body.user if caller.user is None else None), []).append(order)
            else:
                self._go_the_long_way(order)
        for (_, acts_for), orders in groups.items():
            limits = self._gateway.throttle.at_once(orders[0].caller, acts_for, len(orders))
            for order in orders:
                if limits is None or not self._is_placed(order, limits):
                    self._go_the_long_way(order)

    def _is_plain(self, order: PlainOrder) -> bool:
        """Say whether nothing is wrong with an order, by what is known here and now; it has its body and its ID then."""
        gateway = self._gateway
        caller = gateway.authorize.verified(order.said)
        if caller is None:
            return False
        try:
            body = ORDER.decode(order.begun.result())
            check_order(body)
            caller.check_scopes(_ROUTE.scopes)
            caller.check_user(body.user)
        except Exception:
            # Whatever it is, the long way meets it too, and says it.
            return False
        order_id = gateway.ids.next(product_partition(body.lines[0].product_id, gateway.ids.partitions))
        if order_id is None:
            return False
        order.caller, order.body, order.order_id = caller, body, order_id
        return True

    def _is_placed(self, order: PlainOrder, limits: Headers) -> bool:
        """Put an order into the log; False if it takes none now."""
        gateway = self._gateway
        order.limits, order.trace = limits, self._trace_of(order.traceparent)
        try:
            gateway.log.take(line_items(order.body, order.order_id, clock_ms()), order.trace.parent, order)
        except IngestError:
            # Before anything of the order was taken; the long way meets it too.
            return False
        gateway.figures.in_hand += 1
        self._taken += 1
        return True

    def _go_the_long_way(self, order: PlainOrder) -> None:
        self._long_way.begin(order.watcher, Begun(order.begun))

    def _note(self, order: PlainOrder, status: int, error: str) -> None:
        gateway, caller, seconds = self._gateway, order.caller, _now() - order.began
        gateway.figures.in_hand -= 1
        gateway.figures.count(_NAME, status, seconds)
        if gateway.spans is not None:
            gateway.spans.end(order, _NAME, status, error)
        line = Line(time.time(), "POST", PATH, status, seconds * 1000, order.trace.trace_id, order.client, caller.key_id, caller.user or "", error)
        gateway.access.write(line)
