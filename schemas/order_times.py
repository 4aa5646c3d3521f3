"""The time that an order ID carries."""

from __future__ import annotations

from typing import Final

EPOCH_MS: Final = 1_767_225_600_000
"""2026-01-01 UTC: where the time of order IDs begins."""
BELOW_TIME_BITS: Final = 22
"""Bits of an ID below its ms: worker number and sequence."""


def born(order_id: int) -> int:
    """Return when an ID was given out, in ms since 1970. Of a number that is not from our generator it says nothing."""
    return (order_id >> BELOW_TIME_BITS) + EPOCH_MS
