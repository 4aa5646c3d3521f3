"""How often: a token bucket per API key and per user, shared by all gateways (`token_bucket.py`, `shared_buckets.py`)."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Headers
from ingest.http.seams import Admission, Caller, Limit
from ingest.http.shared_buckets import SharedBuckets
from ingest.http.token_bucket import Bucket, policy_of, state_of
from schemas.views import bucket_key

MOST_BUCKETS: Final = 100_000
"""Of one kind; beyond so many that are not full the oldest are forgotten."""
SWEPT: Final = 10_000


@dataclass(slots=True)
class _Entry:
    """A bucket under its name in headers and its key in Redis; `policy` is its RateLimit-Policy item."""

    name: str
    key: str
    bucket: Bucket
    policy: str


class _Buckets:
    """The buckets of one kind: of keys, or of users."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._entries: dict[str, _Entry] = {}
        self._sweep_at = SWEPT

    def of(self, whose: str, limit: Limit, now: float) -> _Entry:
        """Return a bucket as it is now; one that is not known is full."""
        entry = self._entries.get(whose)
        if entry is None or (entry.bucket.limit is not limit and entry.bucket.limit != limit):
            if len(self._entries) >= self._sweep_at:
                self._sweep(now)
            entry = _Entry(self._name, bucket_key(self._name, whose), Bucket.full(limit, now), policy_of(self._name, limit))
            self._entries[whose] = entry
        entry.bucket.refill(now)
        return entry

    def _sweep(self, now: float) -> None:
        """Forget the buckets that are full again, and beyond MOST_BUCKETS the oldest half."""
        kept = {whose: entry for whose, entry in self._entries.items() if not entry.bucket.is_idle(now)}
        if len(kept) > MOST_BUCKETS:
            kept = dict(list(kept.items())[MOST_BUCKETS // 2 :])
        self._entries, self._sweep_at = kept, max(SWEPT, 2 * len(kept))


class SharedThrottle:
    """Throttle by API key and by user. `shared` None: every gateway for itself."""

    def __init__(self, of_key: Limit, of_user: Limit, shared: SharedBuckets | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._of_key = of_key
        self._of_user = of_user
        self._shared = shared
        self._clock = clock
        self._keys = _Buckets("key")
        self._users = _Buckets("user")

    def at_once(self, caller: Caller, acts_for: str | None = None, cost: int = 1) -> Headers | None:
        """See Throttle. What nearly every request needs, in few steps."""
        now, shares = self._clock(), self.shares
        key = self._keys.of(caller.key_id, caller.limit or self._of_key, now)
        whose = caller.user if caller.user is not None else acts_for
        if whose is None:
            if not key.bucket.is_sure(shares, cost):
                return None
            self._take(key, cost)
            return _headers([key])
        user = self._users.of(whose, self._of_user, now)
        if not (key.bucket.is_sure(shares, cost) and user.bucket.is_sure(shares, cost)):
            return None
        self._take(key, cost)
        self._take(user, cost)
        if caller.user is None:
            return _headers([key])
        return [("ratelimit-policy", f"{key.policy}, {user.policy}"), ("ratelimit", f"{state_of('key', key.bucket)}, {state_of('user', user.bucket)}")]

    async def __call__(self, caller: Caller, cost: int) -> Admission:
        """See Throttle."""
        now = self._clock()
        entries = [self._keys.of(caller.key_id, caller.limit or self._of_key, now)]
        if caller.user is not None:
            entries.append(self._users.of(caller.user, self._of_user, now))
        return await self._admit(entries, cost)

    async def user(self, user: str) -> Admission:
        """See Throttle."""
        return await self._admit([self._users.of(user, self._of_user, self._clock())], 1)

    @property
    def shares(self) -> bool:
        """Whether the limits are shared just now: Redis answered when it was asked last."""
        shared = self._shared
        return shared is not None and shared.answers

    async def close(self) -> None:
        """Let go of Redis."""
        if self._shared is not None:
            await self._shared.close()

    async def _admit(self, entries: list[_Entry], cost: int) -> Admission:
        """Take from all the buckets, or from none."""
        wait_s = _wait_s(entries, cost)
        while not wait_s and self._shared is not None and self._shared.answers and (unsure := _unsure(entries, cost)) is not None:
            await self._shared.hear(unsure.key, unsure.bucket)
            wait_s = _wait_s(entries, cost)
        if wait_s:
            return Admission(_headers(entries), wait_s)
        for entry in entries:
            self._take(entry, cost)
        return Admission(_headers(entries))

    def _take(self, entry: _Entry, cost: int) -> None:
        bucket = entry.bucket
        bucket.tokens -= cost
        bucket.unreported += cost
        if bucket.unreported >= bucket.due and self._shared is not None:
            self._shared.report(entry.key, bucket)


def check_admitted(admission: Admission) -> None:
    """Raise the 429 of who may not go on now."""
    if admission.retry_after_s is not None:
        detail = "this API key or user has made more requests than it may; the RateLimit headers say when there is room again"
        raise Problem(ProblemType.TOO_MANY_REQUESTS, detail, headers=admission.headers, retry_after_s=admission.retry_after_s)


def _wait_s(entries: list[_Entry], cost: int) -> float:
    longest = 0.0
    for entry in entries:
        longest = max(longest, entry.bucket.wait_s(cost))
    return longest


def _unsure(entries: list[_Entry], cost: int) -> _Entry | None:
    for entry in entries:
        if entry.bucket.is_unsure(cost):
            return entry
    return None


def _headers(entries: list[_Entry]) -> Headers:
    policy, state = entries[0].policy, state_of(entries[0].name, entries[0].bucket)
    for entry in entries[1:]:
        policy, state = f"{policy}, {entry.policy}", f"{state}, {state_of(entry.name, entry.bucket)}"
    return [("ratelimit-policy", policy), ("ratelimit", state)]
