"""Whose an order is: from what was placed lately, here or at another gateway, or from what can be read."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from ingest.http.errors import Problem, ProblemType
from ingest.http.seams import Caller, Placed, Scope
from ingest.order_ids import clock_ms, parts_of

if TYPE_CHECKING:
    from ingest.gateway import Gateway

REMEMBERED: Final = 200_000
YOUNG_MS: Final = 1_000
LOOK_AGAIN_S: Final = 0.1
"""An order of the last second that nobody knows is looked for once more after this: the note of another gateway may be on its way."""


class Owners:
    """The users of the last orders placed here, and of what others noted: an order cannot be read before it is decided, but it can be cancelled."""

    def __init__(self, elsewhere: Placed, most: int = REMEMBERED) -> None:
        self._elsewhere = elsewhere
        self._users: dict[int, str] = {}
        self._oldest: deque[int] = deque()
        self._most = most

    def note(self, placed: Sequence[tuple[int, str]]) -> None:
        """Remember whose new orders are (ID and user), and tell the others."""
        users, oldest = self._users, self._oldest
        users.update(placed)
        oldest.extend([order_id for order_id, _ in placed])
        while len(oldest) > self._most:
            users.pop(oldest.popleft(), None)
        self._elsewhere.note(placed)

    def get(self, order_id: int) -> str | None:
        """Return the user of an order placed here, None if it is not remembered."""
        return self._users.get(order_id)

    async def find(self, order_id: int) -> str | None:
        """Return the user of an order placed here or elsewhere, None if it is not known."""
        user = self._users.get(order_id) or await self._elsewhere.user_of(order_id)
        if user is None and abs(clock_ms() - parts_of(order_id)[0]) < YOUNG_MS:
            await asyncio.sleep(LOOK_AGAIN_S)
            user = await self._elsewhere.user_of(order_id)
        return user


async def check_owner(gateway: Gateway, caller: Caller, order_id: int) -> None:
    """Raise the 404 of an order that is not the caller's: whether it exists is not for others to know."""
    if caller.user is None or caller.may(Scope.ADMIN):
        return
    user = gateway.owners.get(order_id)
    if user is None:
        found = await gateway.reads.order(order_id)
        user = await gateway.owners.find(order_id) if found is None else found["user_id"]
    if user != caller.user:
        raise Problem(ProblemType.NOT_FOUND, f"order {order_id} is not known as one of yours")
