"""The interfaces between the handlers and what is behind them. Each is filled by a file of its own (docs/gateway.md)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, NamedTuple, Protocol

from ingest.http.errors import Problem, ProblemType
from ingest.http.messages import Headers, Request

MAX_KEY_LENGTH: Final = 128
"""Characters of an Idempotency-Key."""
REALM: Final = 'Bearer realm="holdfast"'
"""How `WWW-Authenticate` begins (RFC 6750)."""


class Scope(StrEnum):
    """What an API key may allow. ADMIN allows everything, for every user."""

    PLACE = "place"
    READ = "read"
    STOCK = "stock"
    ADMIN = "admin"
    # Enum's own hash is a Python function, and scopes are looked up for every request.
    __hash__ = str.__hash__


class Limit(NamedTuple):
    """A token bucket's size: `rate` tokens come per s, `burst` are there at most."""

    rate: float
    burst: int


@dataclass(frozen=True)
class Caller:
    """Who asks. `user` None: acts for every user. `key_id` names the API key in logs and limits; it is not the key. `limit`: the key's own."""

    user: str | None
    scopes: frozenset[Scope]
    key_id: str = ""
    limit: Limit | None = None

    def may(self, scope: Scope) -> bool:
        """Say whether the key allows this."""
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def check_scopes(self, scopes: Sequence[Scope]) -> None:
        """Raise the 403 of a caller who has none of these scopes."""
        if scopes[0] not in self.scopes and not any(map(self.may, scopes)):
            needed = f'{REALM}, error="insufficient_scope", scope="{" ".join(scopes)}"'
            raise Problem(ProblemType.FORBIDDEN, f"this needs a key with the scope {' or '.join(scopes)}", headers=[("www-authenticate", needed)])

    def check_user(self, user: str) -> None:
        """Raise the 403 of a caller who acts for another user."""
        if self.user is not None and self.user != user and Scope.ADMIN not in self.scopes:
            raise Problem(ProblemType.FORBIDDEN, "this key acts for another user")


class Authorize(Protocol):
    """Says who asks."""

    def at_hand(self, request: Request) -> Caller | None:
        """Return the caller of a request where that can be said at once."""

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

    def at_once(self, caller: Caller, acts_for: str | None = None, cost: int = 1) -> Headers | None:
        """Take one token, or `cost`, where that can be done without asking anybody; return the answer's headers, None where it cannot.

        With `acts_for` as many of that user as well, as `user` does, where the caller has no user of its own.
        """

    async def __call__(self, caller: Caller, cost: int) -> Admission:
        """Take `cost` tokens: 1 before a request's handler runs, then n for each part of n lines of a batch."""

    async def user(self, user: str) -> Admission:
        """Take a token of the user for whom a caller without a user acts."""


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


class Placed(Protocol):
    """Whose the orders are that all gateways took lately, and that may not be decided."""

    def note(self, placed: Sequence[tuple[int, str]]) -> None:
        """Tell the others of orders, by ID and user, soon."""

    async def user_of(self, order_id: int) -> str | None:
        """Return whose an order is, None if that is not known."""


class Reads(Protocol):
    """Answers from what the sinks wrote. Fields as in docs/gateway.md; IDs are strings; `version` and `age_ms` always there."""

    @property
    def placed(self) -> Placed:
        """What the sinks have not written yet."""

    async def order(self, order_id: int, min_version: int = 0, user: str | None = None) -> Mapping[str, Any] | None:
        """Return an order; None if it is unknown, not decided yet, or not of `user` where one is named.

        Raises Problem UNAVAILABLE, or NOT_YET where `min_version` is asked for and does not come in time.
        """

    async def orders_of(self, user: str, limit: int, cursor: str | None) -> tuple[Sequence[Mapping[str, Any]], str | None]:
        """Return a page of a user's orders, newest first, and the cursor of the next page; raises Problem for a bad cursor."""

    async def product(self, product_id: str, min_version: int = 0) -> Mapping[str, Any] | None:
        """Return a product's stock; None if it never had any. Raises like `order`."""

    async def products(self, product_ids: Sequence[str]) -> Mapping[str, Mapping[str, Any]]:
        """Return those that are known, by ID. Raises Problem UNAVAILABLE."""

    async def close(self) -> None:
        """Let go of the stores."""
