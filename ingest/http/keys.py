"""Who asks: `Authorization: Bearer KEY`. What MySQL says about a key is kept for a few seconds, and longer while MySQL is down."""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar

from ingest.api_keys import ApiKey, KeyText, parse_key, read_keys, secret_hash
from ingest.errors import StoreError
from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Request
from ingest.http.seams import REALM, Caller, Limit, Scope
from ingest.store_thread import Gatherer, StoreThread

V = TypeVar("V")
NOT_A_KEY_S: Final = 2.0
"""For how long an ID that is not there is not looked for again."""
MOST_KEYS: Final = 100_000
MOST_NOT_KEYS: Final = 10_000
LOOK_GAP_S: Final = 0.02
"""IDs that are not known here are looked up together, this often at most: made-up keys cost MySQL 50 short look-ups per second, however many they are."""
_ID_IN_HEADER: Final = slice(len("Bearer hf_"), len("Bearer hf_") + 16)
_UNKNOWN: Final = "this API key is not known"


@dataclass(slots=True)
class _Verified:
    """An `Authorization` header that was right, and until when (the clock's s) it is so without another look."""

    said: str
    caller: Caller
    until: float


@dataclass(slots=True)
class _Known:
    """A key as MySQL had it at `at` (the clock's s). `expires`: s since 1970-01-01 UTC."""

    caller: Caller
    hashed: bytes
    at: float
    expires: float | None
    revoked: bool


class Keys:
    """Authorize by API keys. Everything is for the event loop's thread.

    A key is asked for again after `cache_s`, in the background from half of it on; so a revocation takes effect within that. While MySQL does not
    answer, a key that was good stays good for `grace_s` more.
    """

    def __init__(self, store: StoreThread, cache_s: float, grace_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._store = store
        self._rows: Gatherer[str, ApiKey | None] = Gatherer(store, read_keys, gap_s=LOOK_GAP_S)
        self._cache_s = cache_s
        self._grace_s = grace_s
        self._clock = clock
        self._known: dict[str, _Known] = {}
        self._not_keys: dict[str, float] = {}
        self._verified: dict[str, _Verified] = {}
        self._looking: dict[str, asyncio.Task[_Known | None]] = {}

    def at_hand(self, request: Request) -> Caller | None:
        """Return the caller whose header was verified here a moment ago; None where it takes more to say."""
        return self.verified(request.headers.get("authorization"))

    def verified(self, said: str | None) -> Caller | None:
        """Return the caller of an `Authorization` header as `at_hand` does."""
        seen = self._verified.get(said[_ID_IN_HEADER]) if said is not None else None
        # Compared in constant time, as the hashes are.
        if seen is None or said is None or not said.isascii() or not hmac.compare_digest(said, seen.said) or self._clock() > seen.until:
            return None
        return seen.caller

    async def __call__(self, request: Request) -> Caller:
        """See Authorize."""
        key = _key_of(request)
        known = self._known.get(key.key_id)
        if known is None or self._clock() - known.at > self._cache_s / 2:
            known = await self._looked_up(key.key_id, known)
        # Compared whether or not there is such a key, and in constant time: how long it takes says nothing.
        same = hmac.compare_digest(secret_hash(key.secret), b"\0" * 32 if known is None else known.hashed)
        if known is None or not same:
            raise unauthenticated(_UNKNOWN)
        if known.revoked:
            raise unauthenticated("this API key was revoked")
        if known.expires is not None and known.expires <= time.time():
            raise unauthenticated("this API key has expired")
        self._remember(key.key_id, request.headers.get("authorization") or "", known)
        return known.caller

    def _remember(self, key_id: str, said: str, known: _Known) -> None:
        """Until half of `cache_s`, when the key is asked for again, or until it expires."""
        until = known.at + self._cache_s / 2
        if known.expires is not None:
            until = min(until, self._clock() + known.expires - time.time())
        if said[_ID_IN_HEADER] == key_id and said.isascii():
            remember(self._verified, key_id, _Verified(said, known.caller, until), MOST_KEYS)

    async def close(self) -> None:
        """Look for nothing more."""
        for task in self._looking.values():
            task.cancel()
        await self._store.close()

    async def _looked_up(self, key_id: str, known: _Known | None) -> _Known | None:
        """Return what is known of a key that may have changed; raises Problem UNAVAILABLE where nobody can say."""
        now = self._clock()
        if known is None and self._not_keys.get(key_id, 0.0) > now:
            return None
        age_s = now - known.at if known else 0.0
        if known is not None and self._store.rests:
            return self._in_grace(known, age_s)
        task = self._look(key_id)
        # While MySQL fails one request a second finds out whether it still does, and nobody waits for that.
        if known is not None and (age_s <= self._cache_s or self._store.fails):
            return self._in_grace(known, age_s)
        try:
            return await asyncio.shield(task)
        except StoreError:
            return self._in_grace(known, age_s)

    def _in_grace(self, known: _Known | None, age_s: float) -> _Known:
        if known is None or age_s > self._cache_s + self._grace_s:
            detail = "the store of API keys does not answer, and this key has not been seen here lately"
            raise Problem(ProblemType.UNAVAILABLE, detail, retry_after_s=2)
        return known

    def _look(self, key_id: str) -> asyncio.Task[_Known | None]:
        task = self._looking.get(key_id)
        if task is None:
            task = self._looking[key_id] = asyncio.ensure_future(self._ask(key_id))
            task.add_done_callback(lambda done: self._looked(key_id, done))
        return task

    def _looked(self, key_id: str, task: asyncio.Task[_Known | None]) -> None:
        self._looking.pop(key_id, None)
        if not task.cancelled():
            # Nobody may be waiting; whoever is hears of it by himself.
            task.exception()

    async def _ask(self, key_id: str) -> _Known | None:
        (row,) = await self._rows.ask([key_id])
        now = self._clock()
        self._verified.pop(key_id, None)
        if row is None:
            self._known.pop(key_id, None)
            remember(self._not_keys, key_id, now + NOT_A_KEY_S, MOST_NOT_KEYS)
            return None
        self._not_keys.pop(key_id, None)
        known = _known_of(row, now)
        remember(self._known, key_id, known, MOST_KEYS)
        return known


def unauthenticated(detail: str) -> Problem:
    """Return the 401 of a key that is no use (RFC 6750)."""
    return Problem(ProblemType.UNAUTHENTICATED, detail, headers=[("www-authenticate", f'{REALM}, error="invalid_token", error_description="{detail}"')])


def _key_of(request: Request) -> KeyText:
    said = request.headers.get("authorization")
    if said is None:
        raise Problem(ProblemType.UNAUTHENTICATED, "this needs an API key", headers=[("www-authenticate", REALM)])
    scheme, _, text = said.partition(" ")
    if scheme.lower() != "bearer":
        raise Problem(ProblemType.UNAUTHENTICATED, "an API key is sent as `Authorization: Bearer KEY`", headers=[("www-authenticate", REALM)])
    key = parse_key(text.strip())
    if key is None:
        raise unauthenticated(_UNKNOWN)
    return key


def _known_of(row: ApiKey, now: float) -> _Known:
    # A scope that an earlier version does not know allows nothing there.
    scopes = frozenset(Scope(scope) for scope in row.scopes if scope in set(Scope))
    limit = Limit(row.rate, row.burst) if row.rate is not None and row.burst is not None else None
    return _Known(Caller(row.user, scopes, row.key_id, limit), row.secret_hash, now, _seconds(row.expires_at), row.revoked_at is not None)


def _seconds(at: datetime | None) -> float | None:
    return None if at is None else at.timestamp()


def remember(found: dict[str, V], key: str, value: V, most: int) -> None:
    """Add an entry, keeping the newest `most`."""
    found.pop(key, None)
    found[key] = value
    if len(found) > most:
        del found[next(iter(found))]
