"""Which rows it is time to look at, because their orders may be over for long enough. Pure; knows order IDs only."""

from __future__ import annotations

import heapq
from collections.abc import Iterable
from typing import Final

from schemas.order_times import born

AT_ONCE: Final = 5_000
"""Rows looked at in one batch, and ..."""
PAUSE_MS: Final = 1_000
"""... how long until the next such batch: orders that come in do not wait for those that go."""
LEAST_WAIT_MS: Final = 1_000


class Retention:
    """Order IDs by when their rows are due to be looked at. `ms` is the retention; 0: rows are kept for ever, and nothing is remembered here."""

    def __init__(self, ms: int) -> None:
        self.ms = ms
        self._young: list[int] = []
        """A heap of IDs, so by the time that they carry: looked at once their retention is over."""
        self._again: list[tuple[int, int]] = []
        """A heap of (when to look again, ID), of orders that were not over."""
        self._next = 0

    def recover(self, order_ids: Iterable[int]) -> None:
        """Begin with these rows."""
        self._young = sorted(order_ids) if self.ms else []
        self._again = []

    def note(self, order_id: int) -> None:
        """There is a new row."""
        if self.ms:
            heapq.heappush(self._young, order_id)

    def later(self, order_id: int, when: int) -> None:
        """Look at a row again, at `when` at the earliest."""
        heapq.heappush(self._again, (max(when, self._next), order_id))

    def wait(self, now: int) -> int:
        """Return when to look again at an order that is not over."""
        return now + max(self.ms // 8, LEAST_WAIT_MS)

    def is_due(self, now: int) -> bool:
        """Whether there is a row to be looked at."""
        return now >= self._next and (self._is_old(now) or self._is_again(now))

    def due(self, now: int) -> list[int]:
        """Take out the IDs of the rows to be looked at now."""
        if now < self._next:
            return []
        found: list[int] = []
        while len(found) < AT_ONCE and self._is_old(now):
            found.append(heapq.heappop(self._young))
        while len(found) < AT_ONCE and self._is_again(now):
            found.append(heapq.heappop(self._again)[1])
        if found:
            self._next = now + PAUSE_MS
        return found

    def _is_old(self, now: int) -> bool:
        return bool(self._young) and self.ms <= now - born(self._young[0])

    def _is_again(self, now: int) -> bool:
        return bool(self._again) and self._again[0][0] <= now
