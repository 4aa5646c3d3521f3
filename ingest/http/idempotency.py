"""`Idempotency-Key`: reading the header, and keeping what each key stands for."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

from pymysql.cursors import Cursor

from ingest.errors import StoreError
from ingest.http.errors import Problem, ProblemType, malformed
from ingest.http.media import text_of
from ingest.http.messages import Request
from ingest.http.routes import Parameter
from ingest.http.seams import MAX_KEY_LENGTH, Asked, Claim
from ingest.order_keys import Answered, KeyAsked, Standing, claim_all, mark
from ingest.store_thread import MOST, REST_S, Gatherer, StoreThread

HEADER: Final = "idempotency-key"
REMEMBERED: Final = 50_000
"""Settled keys that are answered without asking MySQL."""
MARK_S: Final = 0.02
"""What is settled gathers for so long before it is written down."""
CLOSE_S: Final = 3.0
KEY_PARAMETER: Final = Parameter(
    "Idempotency-Key",
    "header",
    f"1 to {MAX_KEY_LENGTH} visible ASCII characters, made up by the client. The same key and body gives the same order or command for ever.",
    {"type": "string", "minLength": 1, "maxLength": MAX_KEY_LENGTH, "pattern": "^[!-~]+$"},
)


def key_of(request: Request) -> str | None:
    """Return the request's key, None where it has none; raises Problem for one that cannot be."""
    key = text_of(request, HEADER)
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY_LENGTH or not all("!" <= c <= "~" for c in key):
        raise malformed(f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} visible ASCII characters")
    return key


def body_hash(canonical: bytes) -> bytes:
    """Return 16 bytes that differ where bodies do."""
    return hashlib.blake2b(canonical, digest_size=16).digest()


class KeptKeys:
    """Idempotency kept in MySQL. Concurrent claims share a transaction; what this process settled lately is answered without asking."""

    def __init__(self, store: StoreThread, lease_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._lease_s = lease_s
        self._clock = clock
        self._claims: Gatherer[KeyAsked, Answered] = Gatherer(store, lambda cursor, asked: claim_all(cursor, asked, int(lease_s * 1000)))
        self._in_flight: dict[tuple[str, str], tuple[Asked, float]] = {}
        """(user, key) -> what is claimed here, and until when (the clock's s)."""
        self._settled: dict[tuple[str, str], tuple[int, bytes]] = {}
        self._unmarked: dict[int, bool] = {}
        self._marking: asyncio.Task[None] | None = None

    async def claim(self, asked: Sequence[Asked]) -> Sequence[Claim | Problem]:
        """See Idempotency."""
        here = [self._known_here(each) for each in asked]
        new = [each for each, known in zip(asked, here, strict=True) if known is None and self._begin(each)]
        try:
            answered = await self._claims.ask([KeyAsked(each.user, each.key, each.body_hash, each.order_id) for each in new]) if new else ()
        except StoreError:
            self._end(new)
            raise Problem(ProblemType.UNAVAILABLE, "the store of Idempotency-Keys does not answer; nothing was sent", retry_after_s=2) from None
        except BaseException:
            # Whoever asked went away: the rows may be written, and are free again when their lease is over.
            self._end(new)
            raise
        claims = {each.order_id: self._claimed(each, answer) for each, answer in zip(new, answered, strict=True)}
        return [claims.get(each.order_id) or known or in_flight(1.0) for each, known in zip(asked, here, strict=True)]

    def settle(self, asked: Sequence[Asked], acknowledged: bool) -> None:
        """See Idempotency."""
        for each in asked:
            begun = self._in_flight.pop((each.user, each.key), None)
            if begun is None:
                continue
            order_id = begun[0].order_id
            self._unmarked[order_id] = acknowledged
            if acknowledged:
                self._remember(each, order_id)
        if self._unmarked and self._marking is None:
            self._marking = asyncio.ensure_future(self._mark())

    async def close(self) -> None:
        """Write down what is settled, if that is possible now."""
        marking = self._marking  # which forgets itself at its end
        if marking is not None:
            await asyncio.wait((marking,), timeout=CLOSE_S)
            marking.cancel()
        await self._store.close()

    def _known_here(self, asked: Asked) -> Claim | Problem | None:
        key = (asked.user, asked.key)
        if settled := self._settled.get(key):
            return Claim(settled[0], True) if settled[1] == asked.body_hash else reused()
        begun = self._in_flight.get(key)
        if begun is None or begun[1] < self._clock():
            return None
        return in_flight(1.0) if begun[0].body_hash == asked.body_hash else reused()

    def _begin(self, asked: Asked) -> bool:
        """Note a claim as begun; False for a key that is asked for twice at once."""
        begun = self._in_flight.get((asked.user, asked.key))
        if begun is not None and begun[1] >= self._clock():
            return False
        self._in_flight[asked.user, asked.key] = (asked, self._clock() + self._lease_s)
        return True

    def _end(self, asked: Sequence[Asked]) -> None:
        for each in asked:
            self._in_flight.pop((each.user, each.key), None)

    def _claimed(self, asked: Asked, answer: Answered) -> Claim | Problem:
        if answer.standing is Standing.OURS:
            self._in_flight[asked.user, asked.key] = (replace(asked, order_id=answer.order_id), self._clock() + self._lease_s)
            return Claim(answer.order_id)
        self._end([asked])
        if answer.standing is Standing.REUSED:
            return reused()
        if answer.standing is Standing.IN_FLIGHT:
            return in_flight(answer.wait_ms / 1000)
        self._remember(asked, answer.order_id)
        return Claim(answer.order_id, True)

    def _remember(self, asked: Asked, order_id: int) -> None:
        self._settled[asked.user, asked.key] = (order_id, asked.body_hash)
        if len(self._settled) > REMEMBERED:
            del self._settled[next(iter(self._settled))]

    async def _mark(self) -> None:
        """Write down what is settled, many at a time. What cannot be written is found out by the next to ask: it sends again, which is harmless."""
        try:
            while self._unmarked:
                await asyncio.sleep(MARK_S)
                some = dict(islice(self._unmarked.items(), MOST))
                try:
                    await self._store.run(_marked, list(some.items()))
                except StoreError:
                    if len(self._unmarked) > REMEMBERED:
                        self._unmarked.clear()
                    await asyncio.sleep(REST_S)
                    continue
                for order_id, known in some.items():
                    if self._unmarked.get(order_id) == known:
                        del self._unmarked[order_id]
        finally:
            self._marking = None


def _marked(cursor: Cursor, settled: Sequence[tuple[int, bool]]) -> Sequence[None]:
    mark(cursor, dict(settled))
    return ()


def in_flight(after_s: float) -> Problem:
    """Return the 409 of a key that somebody is at work on."""
    return Problem(ProblemType.REQUEST_IN_FLIGHT, "an order with this Idempotency-Key is on its way into the log", retry_after_s=after_s)


def reused() -> Problem:
    """Return the 422 of a key that stands for another body."""
    return Problem(ProblemType.KEY_REUSED, "this Idempotency-Key was used for another order, and stands for that one")
