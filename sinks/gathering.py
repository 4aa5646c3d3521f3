"""For how long a sink gathers records for a batch: not at all while little comes, up to half a second while much comes. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeVar

M = TypeVar("M")

BUSY, STILL_BUSY = 200, 1_000
"""Records of a poll: from so many on the next one gathers, and goes on gathering while it brings so many."""
SLICE_S: Final = 0.125
FULL_SLICE: Final = 500
"""Records: a slice of time that brings fewer is the last."""
SLICES: Final = 4


def slices(read: int, gathered: bool) -> int:
    """Return for how many slices of time at most to gather after a poll of `read` records.

    A sink with much to do is behind anyhow; writing less often it writes of a row that changes again and again the newest version alone.
    """
    return SLICES if read >= (STILL_BUSY if gathered else BUSY) else 0


def gather(consume: Callable[[int, float], list[M]], room: int, most_slices: int) -> list[M]:
    """Return what `consume(most, timeout in s)` brings: what is there without a slice, else what comes while they are full and there is room."""
    found = consume(room, SLICE_S if most_slices else 0)
    brought = len(found)
    for _ in range(most_slices - 1):
        if brought < FULL_SLICE or len(found) >= room:
            break
        more = consume(room - len(found), SLICE_S)
        found += more
        brought = len(more)
    return found
