"""Refuse early (pure): what cannot be acknowledged soon is not taken in, so that what was taken in is."""

from __future__ import annotations

from typing import Final, NamedTuple

SLOW_S: Final = 2.0
"""Brokers that have acknowledged nothing of a flush for this long are given no more."""
RETRY_S: Final = 1.0


class Fill(NamedTuple):
    """How full the way into the log is: bytes not acknowledged, and for how long the oldest of them."""

    bytes: int
    oldest_s: float


def shed(fill: Fill, most_bytes: int) -> float | None:
    """Return after how many seconds to try again, or None to go on.

    The fuller, the longer: those who come back should not all come at once to a queue that has hardly emptied.
    """
    if fill.bytes >= most_bytes:
        return RETRY_S * 2
    if fill.oldest_s >= SLOW_S:
        return max(RETRY_S, fill.oldest_s)
    return None
