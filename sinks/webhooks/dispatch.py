"""From the table of notices to the endpoints: a lane for each endpoint that has something due, so that a slow one holds up itself alone."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from typing import Final

import aiohttp
import structlog
from yarl import URL

import failpoints
from sinks.errors import NotNowError
from sinks.webhooks.addresses import PrivateAddressError, PublicResolver, is_private_host
from sinks.webhooks.config import WebhookSettings
from sinks.webhooks.notices import Endpoint, Notice, delay_s, headers_of
from sinks.webhooks.tables import Kept, Tables
from sinks.worker import back_off
from telemetry import figures, traces

log = structlog.get_logger()

LOOK_EVERY_S: Final = 0.5
CONNECTIONS: Final = 1_000
_MOST_RETRY_AFTER_DIGITS: Final = 6


class Dispatcher:
    """Sends what is due of `partitions()`. `wake` is to be set when something new may be due."""

    def __init__(self, settings: WebhookSettings, tables: Tables, partitions: Callable[[], frozenset[int]]) -> None:
        self._settings = settings
        self._tables = tables
        self._partitions = partitions
        self._lanes: dict[str, asyncio.Task[None]] = {}
        self._failures = 0
        self.wake = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        """Send until `stop` is set; what is under way then is finished."""
        async with self._session() as session:
            while not stop.is_set():
                await self._look(session, stop)
                self.wake.clear()
                try:
                    async with asyncio.timeout(LOOK_EVERY_S):
                        await self.wake.wait()
                except TimeoutError:
                    continue
            await asyncio.gather(*self._lanes.values())

    async def _look(self, session: aiohttp.ClientSession, stop: asyncio.Event) -> None:
        """Start a lane for each endpoint that needs one and has none."""
        for endpoint_id in [endpoint_id for endpoint_id, lane in self._lanes.items() if lane.done()]:
            self._lanes.pop(endpoint_id).result()
        try:
            waiting = await asyncio.to_thread(self._tables.waiting, self._partitions())
            endpoints = {e.endpoint_id: e for e in await asyncio.to_thread(self._tables.endpoints)} if waiting - self._lanes.keys() else {}
            self._failures = 0
        except NotNowError as error:
            self._failures += 1
            log.warning("not now; waiting", error=str(error))
            await asyncio.sleep(back_off(self._failures, error.delay_s, random.random()))  # noqa: S311 (no secret)
            return
        for endpoint_id in sorted(waiting - self._lanes.keys()):
            if endpoint_id in endpoints:
                self._lanes[endpoint_id] = asyncio.ensure_future(self._drive(session, endpoints[endpoint_id], stop))

    async def _drive(self, session: aiohttp.ClientSession, endpoint: Endpoint, stop: asyncio.Event) -> None:
        """One lane: round after round, until nothing is due. While all of a round fail, the next one is of one notice only."""
        width = self._settings.webhooks_at_once
        while not stop.is_set():
            try:
                notices = await asyncio.to_thread(self._tables.due, endpoint.endpoint_id, self._partitions(), width)
            except NotNowError:
                return
            if not notices:
                return
            kept = await asyncio.gather(*(self._try(session, endpoint, notice) for notice in notices))
            failpoints.reach("webhooks.sent")
            await self._keep(kept, stop)
            width = 1 if all(each.state != "delivered" for each in kept) else self._settings.webhooks_at_once

    async def _keep(self, kept: Sequence[Kept], stop: asyncio.Event) -> None:
        """Keep what became of a round. Until that is done nothing else is sent there: it would be the same again."""
        failures = 0
        while True:
            try:
                return await asyncio.to_thread(self._tables.keep, kept)
            except NotNowError as error:
                failures += 1
                if stop.is_set():
                    log.warning("what was sent could not be kept; it is sent again, under the same IDs", error=str(error))
                    return None
                await asyncio.sleep(back_off(failures, error.delay_s, random.random()))  # noqa: S311

    async def _try(self, session: aiohttp.ClientSession, endpoint: Endpoint, notice: Notice) -> Kept:
        about: dict[str, str | int] = {"holdfast.order_id": notice.order_id, "holdfast.event": notice.event, "holdfast.endpoint_id": endpoint.endpoint_id}
        with traces.call("webhook", traces.recalled(f"{notice.endpoint_id} {notice.notice_id}"), about):
            taken, error, wanted_s = await send(session, endpoint, notice, self._settings.webhooks_allow_private)
        figures.NOTICES.labels("yes" if taken else "no").inc()
        if taken:
            return Kept(notice, "delivered")
        tries, at = notice.attempts + 1, self._settings
        dead = tries >= at.webhooks_tries
        log.warning("notice given up" if dead else "notice not taken", endpoint=endpoint.endpoint_id, notice=notice.notice_id, tries=tries, error=error)
        if dead:
            return Kept(notice, "dead", error=error)
        wait_s = delay_s(tries, at.webhooks_first_delay, at.webhooks_longest_delay, random.random(), wanted_s)  # noqa: S311
        return Kept(notice, "due", int(wait_s * 1000), error)

    def _session(self) -> aiohttp.ClientSession:
        """Connections to public addresses alone, without cookies, proxies, or names remembered from before."""
        resolver = None if self._settings.webhooks_allow_private else PublicResolver()
        connector = aiohttp.TCPConnector(limit=CONNECTIONS, limit_per_host=0, resolver=resolver, use_dns_cache=False)
        timeout = aiohttp.ClientTimeout(total=self._settings.webhooks_timeout)
        return aiohttp.ClientSession(connector=connector, timeout=timeout, cookie_jar=aiohttp.DummyCookieJar(), trust_env=False)


async def send(session: aiohttp.ClientSession, endpoint: Endpoint, notice: Notice, allow_private: bool) -> tuple[bool, str, float]:
    """Send a notice once: whether it was taken (2xx), else why not, and how many seconds the endpoint asks for. A redirect is a no: it may lead anywhere."""
    headers = headers_of(notice, endpoint.secret, int(time.time())) | traces.outgoing()
    try:
        # An address needs no look-up, so the resolver never sees it.
        if not allow_private and is_private_host(URL(endpoint.url).host or ""):
            raise PrivateAddressError("not a public address")
        async with session.post(endpoint.url, data=notice.body, headers=headers, allow_redirects=False) as answer:
            if HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
                return True, "", 0.0
            return False, f"HTTP {answer.status}", _retry_after_s(answer.headers.get("retry-after", ""))
    except TimeoutError:
        return False, "no answer in time", 0.0
    except (aiohttp.ClientError, OSError, ValueError) as error:
        return False, f"{type(error).__name__}: {error}", 0.0


def _retry_after_s(said: str) -> float:
    return float(said) if said.isascii() and said.isdigit() and len(said) <= _MOST_RETRY_AFTER_DIGITS else 0.0
