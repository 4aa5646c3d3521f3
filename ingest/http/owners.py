"""Whose an order is: from what this process placed itself lately, or from what can be read."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Final

from ingest.http.errors import Problem, ProblemType
from ingest.http.seams import Caller, Scope

if TYPE_CHECKING:
    from ingest.gateway import Gateway

REMEMBERED: Final = 200_000


class Owners:
    """The users of the last orders placed here: an order cannot be read before it is decided, but it can be cancelled."""

    def __init__(self, most: int = REMEMBERED) -> None:
        self._users: dict[int, str] = {}
        self._oldest: deque[int] = deque()
        self._most = most

    def note(self, order_id: int, user: str) -> None:
        """Remember whose a new order is."""
        self._users[order_id] = user
        self._oldest.append(order_id)
        if len(self._oldest) > self._most:
            self._users.pop(self._oldest.popleft(), None)

    def get(self, order_id: int) -> str | None:
        """Return the user, None if it is not remembered."""
        return self._users.get(order_id)


async def check_owner(gateway: Gateway, caller: Caller, order_id: int) -> None:
    """Raise the 404 of an order that is not the caller's: whether it exists is not for others to know."""
    if caller.user is None or caller.may(Scope.ADMIN):
        return
    user = gateway.owners.get(order_id)
    if user is None and gateway.reads is not None:
        found = await gateway.reads.order(order_id)
        user = None if found is None else found["user_id"]
    if user != caller.user:
        raise Problem(ProblemType.NOT_FOUND, f"order {order_id} is not known as one of yours")
