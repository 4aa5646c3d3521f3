"""What can go wrong on the way out of the log. Anything not named here is a bug and ends the process."""

from __future__ import annotations


class SinkError(Exception):
    """A sink that cannot run as it is set up; the text says what, where and what to do."""


class NotNowError(Exception):
    """The store, or the dead-letter topic, cannot take the batch now: try again in `delay_s` seconds or later."""

    def __init__(self, reason: str, delay_s: float = 0.0) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


class PositionMovedError(Exception):
    """The store does not stand where this process left it: another one writes these partitions, or the store lost data."""
