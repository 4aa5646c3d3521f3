"""W3C trace context: the trace a request belongs to, and its way on into the Kafka headers."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Final, NamedTuple

from telemetry.context import FORM, PARENT, STATE, carried

_BLOCK: Final = 1_024


class _Drawn:
    """Random hex digits, drawn for many traces at once; 48 for each: all zeroes, which would not be a trace, come once in 2^64 requests."""

    def __init__(self) -> None:
        self._digits = ""
        self._at = 0

    def next(self) -> str:
        at = self._at
        if at >= len(self._digits):
            self._digits, at = os.urandom(24 * _BLOCK).hex(), 0
        self._at = at + 48
        return self._digits[at : at + 48]


_draw: Final = _Drawn().next


class Trace(NamedTuple):
    """`trace_id` as 32 hex digits; `parent` is the traceparent that goes on from here, with a span ID of our own, and its tracestate (see `carried`)."""

    trace_id: str
    parent: str


def sent_trace(header: Callable[[str], str | None]) -> str | None:
    """Return a request's `traceparent`, with its `tracestate` behind it (see `carried`); None where it has none."""
    parent = header(PARENT)
    return None if parent is None else carried(parent, header(STATE))


def trace_of(sent: str | None) -> Trace:
    """Return the trace that a request's `traceparent` names, or a new one where it names none; `sent` as `sent_trace` has it."""
    drawn = _draw()
    if sent is None:
        return Trace(drawn[:32], f"00-{drawn[:32]}-{drawn[32:]}-00")
    header, _, state = sent.partition("\n")
    found = FORM.fullmatch(header)
    if found is None or (found[4] and header.startswith("00")):
        return Trace(drawn[:32], f"00-{drawn[:32]}-{drawn[32:]}-00")
    return Trace(found[1], carried(f"00-{found[1]}-{drawn[32:]}-{found[3]}", state))
