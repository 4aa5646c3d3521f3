"""Refuse early (pure): what cannot be acknowledged soon is not taken in, so that what was taken in is."""

from __future__ import annotations

from typing import Final

SLOW_S: Final = 2.0
"""Brokers that have acknowledged nothing of a flush for this long are given no more."""
RETRY_S: Final = 1.0


def shed(unacknowledged: int, oldest_s: float, most_bytes: int) -> float | None:
    """Return after how many seconds to try again, or None to go on, by the bytes not acknowledged and the age of the oldest of them.

    The fuller, the longer: those who come back should not all come at once to a queue that has hardly emptied.
    """
    if unacknowledged >= most_bytes:
        return RETRY_S * 2
    if oldest_s >= SLOW_S:
        return max(RETRY_S, oldest_s)
    return None
