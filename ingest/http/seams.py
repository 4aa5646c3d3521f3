"""The interfaces between the handlers and what is behind them. Each is filled by a file of its own (docs/gateway.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Headers, Request

MAX_KEY_LENGTH: Final = 128
"""Characters of an Idempotency-Key."""


class Scope(StrEnum):
    """What an API key may allow. ADMIN allows everything, for every user."""

    PLACE = "place"
    READ = "read"
    STOCK = "stock"
    ADMIN = "admin"
    # Enum's own hash is a Python function, and scopes are looked up for every request.
    __hash__ = str.__hash__


@dataclass(frozen=True)
class Caller:
    """Who asks. `user` None: acts for every user. `key_id` names the API key in logs and limits; it is not the key."""

    user: str | None
    scopes: frozenset[Scope]
    key_id: str = ""

    def may(self, scope: Scope) -> bool:
        """Say whether the key allows this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def check_scopes(self, scopes: Sequence[Scope]) -> None:
        """Raise the 403 of a caller who has none of these scopes."""
        if scopes[0] not in self.scopes and not any(map(self.may, scopes)):
            raise Problem(ProblemType.FORBIDDEN, f"this needs a key with the scope {' or '.join(scopes)}")

    def check_user(self, user: str) -> None:
        """Raise the 403 of a caller who acts for another user."""
        if self.user is not None and self.user != user and Scope.ADMIN not in self.scopes:
            raise Problem(ProblemType.FORBIDDEN, "this key acts for another user")


class Authorize(Protocol):
    """Says who asks."""

    async def __call__(self, request: Request) -> Caller:
        """Return the caller of a request; raises Problem UNAUTHENTICATED. Asked for every route with a scope."""


@dataclass(frozen=True)
class Admission:
    """Whether a caller may go on; `headers` (RateLimit, RateLimit-Policy) go on the answer either way."""

    headers: Headers = field(default_factory=list)
    retry_after_s: float | None = None
    """None: go on. Else: 429 with this Retry-After."""


class Throttle(Protocol):
    """Token buckets per API key and per user."""

    async def __call__(self, caller: Caller, cost: int) -> Admission:
        """Take `cost` tokens: 1 before a request's handler runs, then n for each part of n lines of a batch."""


@dataclass(frozen=True)
class Asked:
    """An order somebody wants to place under a key, and the ID it gets if the key is new. `body_hash`: 16 bytes."""

    user: str
    key: str
    body_hash: bytes
    order_id: int


@dataclass(frozen=True)
class Claim:
    """The order a key stands for. `acknowledged`: known to be in the log, so it need not be sent again."""

    order_id: int
    acknowledged: bool = False


class Idempotency(Protocol):
    """(user, key) -> order ID and body hash, durable before anything is sent."""

    async def claim(self, asked: Sequence[Asked]) -> Sequence[Claim | Problem]:
        """Return one answer per item: the claim, or REQUEST_IN_FLIGHT (409) or KEY_REUSED (422); raises Problem UNAVAILABLE.

        A claim is in flight from now until `settle`. Items of one call may repeat a key: the later one is in flight.
        """

    def settle(self, asked: Sequence[Asked], acknowledged: bool) -> None:
        """Say that the claims of these items are in flight no more: acknowledged by the brokers, or given up."""


class Reads(Protocol):
    """Answers from what the sinks wrote. Fields as in docs/gateway.md; IDs are strings; `version` and `age_ms` always there."""

    async def order(self, order_id: int, min_version: int = 0) -> Mapping[str, Any] | None:
        """Return an order; None if it is unknown or not decided yet. Raises Problem UNAVAILABLE."""

    async def orders_of(self, user: str, limit: int, cursor: str | None) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Return a page of a user's orders, newest first, and the cursor of the next page; raises Problem for a bad cursor."""

    async def product(self, product_id: str, min_version: int = 0) -> Mapping[str, Any] | None:
        """Return a product's stock; None if it never had any."""

    async def products(self, product_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return those that are known, by ID."""


class Everybody:
    """Authorize without keys: whoever reaches the gateway may do everything."""

    def __init__(self) -> None:
        self._caller = Caller(None, frozenset(Scope))

    async def __call__(self, request: Request) -> Caller:  # noqa: ARG002
        """See Authorize."""
        return self._caller


class Unlimited:
    """Throttle without limits."""

    def __init__(self) -> None:
        self._admission = Admission()

    async def __call__(self, caller: Caller, cost: int) -> Admission:  # noqa: ARG002
        """See Throttle."""
        return self._admission
