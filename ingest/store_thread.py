"""MySQL from an event loop: one thread, one connection, and what is asked at the same time done in one transaction."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Final, Generic, TypeAlias, TypeVar

import pymysql
from pymysql.constants import CR, ER
from pymysql.cursors import Cursor

from ingest.config import connect, reason
from ingest.errors import StoreError

Q = TypeVar("Q")
A = TypeVar("A")
Work: TypeAlias = Callable[[Cursor, Sequence[Q]], Sequence[A]]

TIMEOUT_S: Final = 2.0
"""For connecting and for each answer."""
REST_S: Final = 1.0
"""After a failure nobody is made to wait for the database for so long."""
ATTEMPTS: Final = 5
MOST: Final = 500
"""Items of one transaction."""
WAITING: Final = 20_000
"""Items that may wait; further ones are refused at once."""
_AGAIN: Final = frozenset({ER.LOCK_DEADLOCK, ER.LOCK_WAIT_TIMEOUT, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, 0})
"""A deadlock, or a connection that ended while it was not used: what was asked is asked again."""


class StoreThread:
    """Runs one kind of work, batch after batch. `ask` is for the event loop's thread; work must bear being repeated.

    Latency is the time of a transaction; a busy time makes the batches larger, not the waiting longer.
    """

    def __init__(self, mysql_url: str, what: str, timeout_s: float = TIMEOUT_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._url = mysql_url
        self._what = what
        self._timeout_s = timeout_s
        self._clock = clock
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=what)
        self._connection: pymysql.connections.Connection[Cursor] | None = None
        self._rests_until = 0.0
        self.fails = False
        """Whether the last attempt failed."""

    @property
    def rests(self) -> bool:
        """Whether the database failed a moment ago and is not asked yet."""
        return self._clock() < self._rests_until

    async def run(self, work: Work[Q, A], items: Sequence[Q]) -> Sequence[A]:
        """Do the work in a transaction; raises StoreError. Not bounded: use a `Gatherer` for what clients cause."""
        if self.rests:
            raise self._failed("it failed a moment ago")
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transaction, work, items)

    async def close(self) -> None:
        """Let go of the connection, after the work in hand."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown()

    def _transaction(self, work: Work[Q, A], items: Sequence[Q]) -> Sequence[A]:
        until = self._clock() + self._timeout_s
        for attempt in range(ATTEMPTS):
            try:
                return self._attempt(work, items)
            except (pymysql.MySQLError, StoreError) as error:
                self._disconnect()
                again = bool(error.args) and error.args[0] in _AGAIN and self._clock() < until
                if not again or attempt == ATTEMPTS - 1:
                    self.fails, self._rests_until = True, self._clock() + REST_S
                    raise self._failed(reason(error) if isinstance(error, pymysql.MySQLError) else str(error)) from error
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, work: Work[Q, A], items: Sequence[Q]) -> Sequence[A]:
        if self._connection is None:
            self._connection = connect(self._url, self._timeout_s)
        with self._connection.cursor() as cursor:
            answers = work(cursor, items)
        self._connection.commit()
        self.fails = False
        return answers

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _failed(self, why: str) -> StoreError:
        return StoreError(f"MySQL could not be asked for {self._what}: {why}")


class Gatherer(Generic[Q, A]):
    """Gathers what is asked while the thread works; the work gives one answer per item, in their order. `gap_s`: pause after each turn."""

    def __init__(self, store: StoreThread, work: Work[Q, A], gap_s: float = 0.0) -> None:
        self._store = store
        self._work = work
        self._gap_s = gap_s
        self._waiting: deque[tuple[Q, asyncio.Future[A]]] = deque()
        self._turns: asyncio.Task[None] | None = None

    async def ask(self, items: Sequence[Q]) -> Sequence[A]:
        """Return the answers; raises StoreError. Somebody who no longer waits does not end the others' work."""
        if self._store.rests or len(self._waiting) + len(items) > WAITING:
            raise StoreError("MySQL does not answer, or not fast enough")
        futures: list[asyncio.Future[A]] = [asyncio.get_running_loop().create_future() for _ in items]
        self._waiting.extend(zip(items, futures, strict=True))
        if self._turns is None:
            self._turns = asyncio.ensure_future(self._take_turns())
        answers = await asyncio.gather(*futures, return_exceptions=True)
        for answer in answers:
            if isinstance(answer, BaseException):
                raise answer
        return answers  # type: ignore[return-value]

    async def _take_turns(self) -> None:
        try:
            while self._waiting:
                turn = [self._waiting.popleft() for _ in range(min(MOST, len(self._waiting)))]
                await self._turn(turn)
                if self._gap_s:
                    await asyncio.sleep(self._gap_s)
        finally:
            self._turns = None

    async def _turn(self, turn: Sequence[tuple[Q, asyncio.Future[A]]]) -> None:
        try:
            answers = await self._store.run(self._work, [item for item, _ in turn])
        except Exception as error:
            for _, future in turn:
                if not future.done():
                    future.set_exception(error)
            return
        for (_, future), answer in zip(turn, answers, strict=True):
            if not future.done():
                future.set_result(answer)
