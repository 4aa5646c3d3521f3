"""What the shadow is to take, by when. Pure."""

from __future__ import annotations

import heapq
from typing import Any, Final

LATE: Final = 2**62


class Queue:
    """Things by when they are to be taken, and then as they came."""

    def __init__(self) -> None:
        self._heap: list[tuple[Any, int, Any]] = []
        self._numbers = 0

    def put(self, when: Any, thing: Any) -> None:
        self._numbers += 1
        heapq.heappush(self._heap, (when, self._numbers, thing))

    def next_at(self) -> int:
        """Return when there is something to take (ms)."""
        if not self._heap:
            return LATE
        when = self._heap[0][0]
        return int(when[0] if isinstance(when, tuple) else when)

    def take(self, now: int) -> list[Any]:
        """Return all that is to be taken by now, in order."""
        found = []
        while self.next_at() <= now:
            found.append(heapq.heappop(self._heap)[2])
        return found
