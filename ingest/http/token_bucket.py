"""Token buckets (pure): a caller's local bucket, and how far it may go before it asks what other gateways gave out.

Each gateway has a bucket of its own per key and user and takes from it without asking. What it took it reports to the bucket that all share, which
answers how much is left; so a request waits for that answer only where little is left to be unsure of. A gateway gives out at most `unsure` more
than it knows to be there. With the shared bucket out of reach each gateway gives out what its own has.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from ingest.http.seams import Limit

_ceil: Final = math.ceil
UNSURE: Final = 0.1
"""Of the burst: so much may be taken before the shared bucket has answered, and at least one token."""


def unsure(limit: Limit) -> float:
    """Return how many tokens a gateway may take beyond what the shared bucket knows."""
    return max(1.0, limit.burst * UNSURE)


@dataclass(slots=True)
class Bucket:
    """A local bucket. Times are in s of one clock; tokens may be below zero: a large part of a batch is let through and paid for afterwards."""

    limit: Limit
    tokens: float
    at: float
    unreported: float = 0.0
    """Taken and not yet known to the shared bucket, nor on its way there."""
    on_the_way: float = 0.0
    unsure: float = 0.0
    """Of its limit, as `unsure` says; `due`: taken and not reported, at which it should be."""
    due: float = 0.0

    def __post_init__(self) -> None:
        self.unsure = unsure(self.limit)
        self.due = self.unsure / 2

    @classmethod
    def full(cls, limit: Limit, now: float) -> Bucket:
        """Return one that nobody has taken from."""
        return cls(limit, limit.burst, now)

    def refill(self, now: float) -> None:
        """Add what came since."""
        at = self.at
        if now > at:
            rate, burst = self.limit
            tokens = self.tokens + (now - at) * rate
            self.tokens = tokens if tokens < burst else burst
            self.at = now

    def wait_s(self, cost: float) -> float:
        """Return after how many seconds `cost` can be taken, 0 for now. More than the burst can never be there: then a full bucket is enough."""
        if self.tokens >= cost:
            return 0.0
        lacking = min(cost, self.limit.burst) - self.tokens
        # Sums of many small refills fall short by less than this.
        return lacking / self.limit.rate if lacking > 1e-6 else 0.0

    def is_sure(self, shares: bool, cost: int = 1) -> bool:
        """Say whether so many tokens may be taken at once; `shares`: there is a shared bucket to be unsure of."""
        if self.tokens < cost:
            return False
        pending = self.unreported + self.on_the_way
        return not (shares and pending + cost > self.unsure and (pending > 0 or cost > 1))

    def take(self, cost: float) -> None:
        """Take tokens, which `wait_s` has said are there."""
        self.tokens -= cost
        self.unreported += cost

    def is_unsure(self, cost: float) -> bool:
        """Say whether to hear of the shared bucket before taking `cost` more."""
        pending = self.unreported + self.on_the_way
        return pending > 0 and pending + cost > self.unsure

    def is_due(self) -> bool:
        """Say whether what was taken should be reported."""
        return self.unreported >= self.due

    def report(self) -> float:
        """Return what to tell the shared bucket; it is on its way then."""
        self.on_the_way, self.unreported = self.unreported, 0.0
        return self.on_the_way

    def reported(self, left: float | None) -> None:
        """Take the shared bucket's answer in: what it has left; None: it did not answer. What was sent is not sent again, it may have arrived."""
        self.on_the_way = 0.0
        if left is not None:
            self.tokens = min(self.tokens, left - self.unreported)

    def is_idle(self, now: float) -> bool:
        """Say whether it is full again, so that it need not be remembered."""
        return self.on_the_way == 0.0 and self.tokens + (now - self.at) * self.limit.rate >= self.limit.burst


def policy_of(name: str, limit: Limit) -> str:
    """Return the bucket's RateLimit-Policy item: `q` tokens come back within `w` s (draft-ietf-httpapi-ratelimit-headers-10)."""
    return f'"{name}";q={limit.burst};w={max(1, math.ceil(limit.burst / limit.rate))}'


def state_of(name: str, bucket: Bucket) -> str:
    """Return the bucket's RateLimit item: `r` tokens left, full again in `t` s."""
    left, (rate, burst) = bucket.tokens, bucket.limit
    return f'"{name}";r={int(left + 1e-6) if left > 0 else 0};t={_ceil((burst - left) / rate)}'
