"""Pure but for the clock: a store that failed is left alone for a while, so that nobody else waits for its time-out."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

REST_S: Final = 1.0


class Breaker:
    """Closed while a store works. Its one field is written whole, so threads may share it."""

    def __init__(self, rest_s: float = REST_S, clock: Callable[[], float] = time.monotonic) -> None:
        self._rest_s = rest_s
        self._clock = clock
        self._until = 0.0

    def allows(self) -> bool:
        """Say whether the store may be asked."""
        return self._until <= self._clock()

    def failed(self) -> None:
        """Leave the store alone from now on for `rest_s`."""
        self._until = self._clock() + self._rest_s

    def worked(self) -> None:
        """The store answers again."""
        self._until = 0.0
