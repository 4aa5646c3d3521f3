"""W3C trace context: the trace a request belongs to, and its way on into the Kafka headers."""

from __future__ import annotations

import random
import re
from typing import Final, NamedTuple

HEADER: Final = "traceparent"
_FORM: Final = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(-.*)?")
# Not a secret: it only has to differ from the others'. Not seeded by anybody, unlike the shared generator.
_bits: Final = random.Random().getrandbits  # noqa: S311


class Trace(NamedTuple):
    """`trace_id` as 32 hex digits; `parent` is the traceparent that goes on from here, with a span ID of our own."""

    trace_id: str
    parent: str


def trace_of(header: str | None) -> Trace:
    """Return the trace that a request's `traceparent` names, or a new one where it names none."""
    drawn = f"{_bits(192):048x}"  # all zeroes, which would not be a trace, is drawn once in 2^64 requests
    if header is None:
        return Trace(drawn[:32], f"00-{drawn[:32]}-{drawn[32:]}-00")
    sent = _FORM.fullmatch(header)
    if sent is None or (sent[3] and header.startswith("00")):
        return Trace(drawn[:32], f"00-{drawn[:32]}-{drawn[32:]}-00")
    return Trace(sent[1], f"00-{sent[1]}-{drawn[32:]}-{sent[2]}")
