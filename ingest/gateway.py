"""The gateway: every route, what is opened at the start, and what happens around each request."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Final

from ingest.errors import IngestError
from ingest.followers import Follower, pick_movements, pick_outcome
from ingest.http import batch, events, health, order_commands, orders, pages, reads, schema_routes, stock
from ingest.http.access import AccessLog, Line
from ingest.http.config import GatewaySettings
from ingest.http.errors import Problem, ProblemType, problem_of
from ingest.http.idempotency import KeptKeys
from ingest.http.keys import Keys
from ingest.http.messages import Answer, Request, Streamed
from ingest.http.metrics import Figures, registry_of
from ingest.http.owners import Owners
from ingest.http.routes import Route, RouteTable
from ingest.http.seams import Caller, Limit, Reads, Scope
from ingest.http.shared_buckets import SharedBuckets
from ingest.http.shedding import shed
from ingest.http.spans import RequestSpans
from ingest.http.throttle import SharedThrottle, check_admitted
from ingest.id_blocks import IdBlocks
from ingest.log_writer import LogWriter
from ingest.order_history import OrderHistory
from ingest.order_ids import OrderIds
from ingest.order_log import OrderLog
from ingest.reads.store import StoreReads
from ingest.store_thread import StoreThread
from schemas.topics import ORDER_OUTCOMES, STOCK_DECISIONS

log = logging.getLogger(__name__)

ROUTES: Final = (
    *(*orders.ROUTES, *batch.ROUTES, *order_commands.ROUTES, *stock.ROUTES, *reads.ROUTES),
    *(*events.ROUTES, *schema_routes.ROUTES, *health.ROUTES, *pages.ROUTES),
)
LINGER_MS: Final = 0.0
"""Lines have gathered before they are sent; librdkafka need not wait for more."""
NOBODY: Final = Caller(None, frozenset())
MOVING: Final = "the number of partitions is being changed: nothing is taken for some seconds"
MOVING_S: Final = 2.0
ID_LEASE_S: Final = 300.0
"""Orders without a key go on for two thirds of it at least while MySQL is down; a gateway that was killed keeps its worker number for so long."""


class Gateway:
    """What handlers work with. Made and closed in the event loop's thread. `more`: routes of whoever starts the gateway."""

    def __init__(self, settings: GatewaySettings, loop: asyncio.AbstractEventLoop, more: Sequence[Route] = ()) -> None:
        self.settings, self.loop = settings, loop
        # pydantic's attributes are slow to read, and these are read for every order.
        self._queue_bytes, self.most_wait_s = settings.gateway_queue_bytes, settings.gateway_max_wait
        kafka, prefix = settings.kafka, settings.topic_prefix
        self._writer = LogWriter(kafka, prefix, ack_timeout_s=settings.gateway_ack_timeout, linger_ms=LINGER_MS, full_wait_s=0)
        self.log = OrderLog(self._writer, loop)
        self._ids = OrderIds(settings.mysql.get_secret_value(), lease_s=ID_LEASE_S)
        self.ids = IdBlocks(self._ids, self._writer.partitions(STOCK_DECISIONS))
        self.log.resized = self.ids.resize
        self.outcomes = Follower(kafka, lambda: self._writer.where(ORDER_OUTCOMES), pick_outcome, loop)
        self.movements = Follower(kafka, lambda: self._writer.where(STOCK_DECISIONS), pick_movements, loop)
        self.history = OrderHistory(kafka, lambda: self._writer.where(ORDER_OUTCOMES), settings.gateway_events_history)
        self.events = events.Streams(settings.gateway_events_streams)
        reads = stores_of(settings)
        self.reads: Reads = reads
        self.owners = Owners(self.reads.placed)
        self.authorize = keys_of(settings)
        self.throttle = throttle_of(settings)
        self.idempotency = KeptKeys(StoreThread(settings.mysql.get_secret_value(), "order keys"), settings.gateway_claim_lease)
        self.table = RouteTable((*(ROUTES if settings.metrics_are_open else map(_closed_metrics, ROUTES)), *more))
        self.documentation = pages.Documentation(self.table.routes)
        self.access = AccessLog(settings.gateway_access_log, loop)
        self.figures = _figures(self.log, self.access, reads)
        self.figures.gauges["holdfast_gateway_limits_shared", "1 while the limits of keys and users are shared through Redis."] = lambda: self.throttle.shares
        self.registry = registry_of(self.figures)
        self.stopping = asyncio.Event()
        self.spans: RequestSpans | None = None

    async def open(self) -> None:
        """Open what needs the event loop to be running; raises IngestError."""

    async def answer(self, request: Request) -> Answer:
        """Answer one request, whatever comes; count it and log it."""
        began, name, error = time.perf_counter(), "none", ""
        request.caller = NOBODY
        self.figures.in_hand += 1
        try:
            route, request.params = self.table.find(request.method, request.path)
            name = route.name
            answer = await self._admitted(route, request)
        except Problem as problem:
            answer, error = problem.response(request.trace.trace_id), problem.kind.name
        except IngestError as fault:
            answer, error = problem_of(fault).response(request.trace.trace_id), f"{type(fault).__name__}: {fault}"
        except Exception as fault:
            log.exception("trace %s: %s %s failed", request.trace.trace_id, request.method, request.path)
            answer, error = Problem(ProblemType.INTERNAL, "see the gateway's log").response(request.trace.trace_id), type(fault).__name__
        if isinstance(answer, Streamed):
            return replace(answer, pieces=self._until_sent(answer.pieces, request, name, answer.status, began))
        self._note(request, name, answer.status, began, error)
        return answer

    async def unready(self) -> str:
        """Return why no orders can be taken now, or nothing."""
        if self.stopping.is_set():
            return "this gateway is stopping"
        if self._writer.is_moving:
            return MOVING
        if self.shed_after() is not None:
            return "the brokers do not acknowledge"
        try:
            await self.ids.take([0])
        except IngestError:
            return "no order ID can be given out"
        return ""

    def shed_after(self) -> float | None:
        """Return after how many seconds to come back, None while there is room."""
        if self._writer.is_moving:
            return MOVING_S
        return shed(self.log.unacknowledged_bytes, self.log.oldest_s(), self._queue_bytes)

    async def close(self) -> None:
        """Wait for what is due, then let go of everything."""
        if not await self.log.drain(self.settings.gateway_ack_timeout):
            log.warning("some records are not acknowledged: their requests were not answered")
        await asyncio.gather(self.outcomes.close(), self.movements.close(), self.authorize.close(), self.throttle.close(), self.idempotency.close())
        await asyncio.to_thread(self.history.close)
        await asyncio.to_thread(self._writer.flush, 1.0)
        await self.reads.close()
        self.ids.close()
        await asyncio.to_thread(self._ids.close)
        self.access.close()

    async def _admitted(self, route: Route, request: Request) -> Answer:
        if not route.scopes:
            return await route.handler(self, request)
        caller = request.caller = self.authorize.at_hand(request) or await self.authorize(request)
        caller.check_scopes(route.scopes)
        headers = self.throttle.at_once(caller)
        if headers is None:
            admission = await self.throttle(caller, 1)
            check_admitted(admission)
            headers = admission.headers
        if route.sheds and (after_s := self.shed_after()) is not None:
            why = MOVING if self._writer.is_moving else "the way into the log is nearly full"
            raise Problem(ProblemType.OVERLOADED, why, headers=headers, retry_after_s=after_s)
        try:
            answer = await route.handler(self, request)
        except Problem as problem:
            problem.headers = [*problem.headers, *headers]
            raise
        answer.headers = [*answer.headers, *headers]
        return answer

    async def _until_sent(self, pieces: AsyncIterator[bytes], request: Request, name: str, status: int, began: float) -> AsyncIterator[bytes]:
        error = "client went away"
        try:
            async for piece in pieces:
                yield piece
            error = ""
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
            self._note(request, name, status, began, error)

    def _note(self, request: Request, name: str, status: int, began: float, error: str) -> None:
        seconds = time.perf_counter() - began
        self.figures.in_hand -= 1
        self.figures.count(name, status, seconds)
        if self.spans is not None:
            self.spans.end(request, name, status, error)
        caller = request.caller
        line = Line(
            time.time(), request.method, request.path, status, seconds * 1000, request.trace.trace_id, request.client, caller.key_id, caller.user or "", error
        )
        self.access.write(line)


def keys_of(settings: GatewaySettings) -> Keys:
    """Return the seam that says who asks."""
    return Keys(StoreThread(settings.mysql.get_secret_value(), "API keys"), settings.gateway_key_cache, settings.gateway_key_grace)


def throttle_of(settings: GatewaySettings) -> SharedThrottle:
    """Return the seam that says how often; raises ConfigError."""
    redis = settings.redis.get_secret_value()
    of_key = Limit(settings.gateway_key_rate, settings.gateway_key_burst)
    shared = SharedBuckets(redis, settings.gateway_throttle_timeout) if redis else None
    return SharedThrottle(of_key, Limit(settings.gateway_user_rate, settings.gateway_user_burst), shared)


def stores_of(settings: GatewaySettings) -> StoreReads:
    """Return the seam that says what is known; raises ConfigError."""
    redis, mysql, shards = (store.get_secret_value() for store in (settings.redis, settings.mysql, settings.mysql_shards))
    return StoreReads(redis, mysql, shards, settings.gateway_read_wait, settings.gateway_cache_timeout, settings.gateway_placed)


def _closed_metrics(route: Route) -> Route:
    return replace(route, scopes=(Scope.ADMIN,)) if route.path == "/metrics" else route


def _figures(order_log: OrderLog, access: AccessLog, reads: StoreReads) -> Figures:
    figures = Figures()
    figures.counters["holdfast_gateway_lines_sent", "Order lines sent to the log."] = lambda: order_log.lines_sent
    figures.counters["holdfast_gateway_records_sent", "Records sent to the log."] = lambda: order_log.records_sent
    figures.counters["holdfast_gateway_access_lines_lost", "Lines of the access log that could not be written."] = lambda: access.lost
    figures.gauges["holdfast_gateway_unacknowledged_bytes", "Bytes sent and not yet acknowledged."] = lambda: order_log.unacknowledged_bytes
    figures.gauges["holdfast_gateway_oldest_unacknowledged_seconds", "Age of the oldest of them."] = order_log.oldest_s
    figures.counters_by["holdfast_gateway_cache_hits", "Looks into Redis that found what was asked for.", "kind"] = reads.cache_hits
    figures.counters_by["holdfast_gateway_cache_misses", "Looks into Redis that did not: MySQL is asked.", "kind"] = reads.cache_misses
    figures.gauges["holdfast_gateway_cache_away", "1 while Redis does not answer and every read comes from MySQL."] = reads.cache_is_away
    return figures
