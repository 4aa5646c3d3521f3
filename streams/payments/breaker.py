"""A circuit breaker: whoever does not answer is asked now and then, not all the time. Pure: time in seconds is an argument."""

from __future__ import annotations

from enum import Enum
from typing import Final

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 8.0
LOOK_AGAIN: Final = 0.1
"""How long the others wait while one request tries."""


class State(Enum):
    CLOSED = "closed"  # everybody may ask
    OPEN = "open"  # nobody may, until the pause is over
    HALF_OPEN = "half open"  # one asks; its answer decides


class Breaker:
    """Opens when so many different requests in a row were not answered; any answer closes it.

    Different ones: a request that is never answered, however often it is asked, says nothing of the others.
    """

    def __init__(self, failures: int) -> None:
        self._failures = failures
        self.state = State.CLOSED
        self._failed: set[str] = set()
        self._pause = FIRST_PAUSE
        self._until = 0.0

    def admit(self, now: float) -> float:
        """Return 0 if a request may be asked now, else how many seconds later to come again. Whoever is admitted reports what came of it."""
        if self.state is State.CLOSED:
            return 0.0
        if self.state is State.HALF_OPEN:
            return LOOK_AGAIN
        if now < self._until:
            return self._until - now
        self.state = State.HALF_OPEN
        return 0.0

    def answered(self) -> None:
        """A request was answered, whatever the answer was."""
        self.state = State.CLOSED
        self._failed.clear()
        self._pause = FIRST_PAUSE

    def failed(self, key: str, now: float) -> None:
        """A request was asked and there is no answer."""
        self._failed.add(key)
        if self.state is State.HALF_OPEN:
            self._pause = min(LONGEST_PAUSE, self._pause * 2)
            self._open(now)
        elif self.state is State.CLOSED and len(self._failed) >= self._failures:
            self._open(now)

    def withdrawn(self, now: float) -> None:
        """A request that was admitted was not asked after all."""
        if self.state is State.HALF_OPEN:
            self._open(now - self._pause)

    def _open(self, now: float) -> None:
        self.state = State.OPEN
        self._until = now + self._pause
