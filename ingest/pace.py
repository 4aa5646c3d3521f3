"""Holds a load or a backfill to so many rows per second."""

from __future__ import annotations

import time
from collections.abc import Callable


class Pace:
    """`rate`: rows per second, None: as fast as it goes. Time counts from when it is made."""

    def __init__(self, rate: float | None) -> None:
        self._rate = rate
        self._began = time.monotonic()

    def wait(self, rows: int, meanwhile: Callable[[], None]) -> None:
        """Return when so many rows may have been sent; `meanwhile` is called now and then."""
        while self._rate and (early := self._began + rows / self._rate - time.monotonic()) > 0:
            meanwhile()
            time.sleep(min(early, 0.1))
