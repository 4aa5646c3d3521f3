"""Asks a provider outside this process until it answers: in a thread of its own, so many at a time, less often in vain.

One per worker, shared by its tasks. A task leaves at its desk what is committed as pending and takes from it what was answered.
"""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Final, Protocol

import structlog

from streams.domain.payment import Answer, Pending, Request
from streams.payments import Heard, key_of
from streams.payments.breaker import Breaker, State
from streams.payments.contract import NoAnswer
from streams.runtime.exits import BUG, end_process
from telemetry import figures, traces

log = structlog.get_logger("holdfast.payments")
FIRST_DELAY: Final = 0.2
LONGEST_DELAY: Final = 15.0
SAY_EVERY: Final = 10.0
"""Seconds: what is asked in vain is logged together."""
LEAST_FAILURES: Final = 10


class Contact(Protocol):
    """The way to a provider, on the asker's event loop."""

    async def ask(self, request: Request) -> Answer | NoAnswer:
        """Ask once. A timeout, a broken connection or an unclear answer is a NoAnswer, not an error."""
        ...


def delay_after(asked: int, retry_after: float, chance: float) -> float:
    """Return how many seconds to wait after so many asks in vain: doubling, spread over its upper half by `chance` (0.0 to 1.0). Pure."""
    longest = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(asked - 1, 20))
    return max(retry_after, longest * (0.5 + chance / 2))


class Asking:
    """One request under way. `sent`: how often it may have reached the provider. `under`: the span of the batch that it follows from."""

    __slots__ = ("asked", "desk", "request", "sent", "under")

    def __init__(self, desk: AskerDesk, request: Request, *, recovered: bool) -> None:
        self.desk = desk
        self.request = request
        self.asked = 0
        self.sent = int(recovered)
        self.under = traces.here()


class AskerDesk:
    """One task's desk. Its methods are called by the task, `put` by the asker's thread."""

    def __init__(self, asker: Asker) -> None:
        self._asker = asker
        self._heard: deque[tuple[Heard, traces.Span | None]] = deque()
        self._left = 0
        self.is_closed = False

    def leave(self, pending: Sequence[Pending], *, recovered: bool = False) -> None:
        self._left += len(pending)
        if pending:
            self._asker.take([Asking(self, each.request, recovered=recovered) for each in pending])

    def put(self, heard: Heard, said_in: traces.Span | None = None) -> None:
        self._heard.append((heard, said_in))

    def is_due(self, now: int) -> bool:  # noqa: ARG002 - answers come when they come
        return bool(self._heard)

    def collect(self, now: int) -> list[Heard]:  # noqa: ARG002 - answers come when they come
        found = [self._heard.popleft() for _ in range(len(self._heard))]
        self._left -= len(found)
        for _, said_in in found:
            traces.came_from(said_in)
        return [heard for heard, _ in found]

    def is_asking(self) -> bool:
        return self._left > 0

    def close(self) -> None:
        self.is_closed = True


class Asker:
    """Asks through a `Contact` from its own thread, which starts with the first request; `concurrency` requests at a time."""

    def __init__(self, contact: Callable[[], AbstractAsyncContextManager[Contact]], concurrency: int) -> None:
        self._contact = contact
        self._concurrency = concurrency
        # More than are under way at one moment: what goes wrong for all of these together is soon over.
        self._breaker = Breaker(max(LEAST_FAILURES, 2 * concurrency))
        self._vain = 0
        self._said_at = time.monotonic()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._starting = threading.Lock()

    def desk(self) -> AskerDesk:
        return AskerDesk(self)

    def take(self, askings: Sequence[Asking]) -> None:
        """Have these asked; from any thread."""
        with self._starting:
            if self._loop is None:
                self._start()
        assert self._loop is not None
        self._loop.call_soon_threadsafe(self._enqueue, askings)

    # -- the thread ----------------------------------------------------------------------------------------------------

    def _start(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._queue: asyncio.Queue[Asking] = asyncio.Queue()
        threading.Thread(target=self._run, args=(self._loop,), name="payments", daemon=True).start()

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        try:
            loop.run_until_complete(self._work())
        except BaseException as error:
            end_process(BUG, "the payment provider is asked no more", error)

    async def _work(self) -> None:
        async with self._contact() as contact:
            await asyncio.gather(*(self._ask_for_ever(contact) for _ in range(self._concurrency)))

    def _enqueue(self, askings: Sequence[Asking]) -> None:
        for asking in askings:
            self._queue.put_nowait(asking)

    async def _ask_for_ever(self, contact: Contact) -> None:
        while True:
            asking = await self._queue.get()
            while pause := self._breaker.admit(time.monotonic()):
                await asyncio.sleep(pause)
            if asking.desk.is_closed:
                self._breaker.withdrawn(time.monotonic())
            else:
                await self._ask(contact, asking)

    async def _ask(self, contact: Contact, asking: Asking) -> None:
        with traces.call("payment", asking.under, {"holdfast.order_id": asking.request.order_id}) as span:
            said = await contact.ask(asking.request)
        asking.asked += 1
        if isinstance(said, NoAnswer):
            asking.sent += said.was_sent
            self._in_vain(asking, said)
        else:
            self._noting(self._breaker.answered)
            asking.desk.put(Heard(asking.request, said, doubtful=asking.sent > 0), span)

    def _in_vain(self, asking: Asking, said: NoAnswer) -> None:
        key = key_of(asking.request)
        self._noting(self._breaker.answered if said.is_unclear else lambda: self._breaker.failed(key, time.monotonic()))
        self._complain(key, said.why)
        delay = delay_after(asking.asked, said.retry_after, random.random())  # noqa: S311 - spreads retries, guards nothing
        asyncio.get_running_loop().call_later(delay, self._queue.put_nowait, asking)

    def _complain(self, key: str, why: str) -> None:
        self._vain += 1
        if time.monotonic() - self._said_at >= SAY_EVERY:
            log.warning("payments are not answered, asking again", asked_in_vain=self._vain, last=key, why=why)
            self._vain, self._said_at = 0, time.monotonic()

    def _noting(self, change: Callable[[], None]) -> None:
        """Log what becomes of the breaker."""
        before = self._breaker.state
        change()
        if self._breaker.state is not before:
            figures.BREAKERS.inc((self._breaker.state is not State.CLOSED) - (before is not State.CLOSED))
            log.warning("payment provider: the circuit is now " + self._breaker.state.value, before=before.value)
