"""The span of each request; only while spans are on (telemetry/traces.py)."""

from __future__ import annotations

from http import HTTPStatus
from typing import Final, Protocol

from ingest.http.trace import Trace
from telemetry.context import carried, context_of
from telemetry.traces import Span, Tracing

SHOWN: Final = "/v1/"
"""Looks at health, figures and pages make no spans: one that does not end is not sent."""


class Traced(Trace):
    """A trace with the span that goes on from the caller's."""

    span: Span


class Asked(Protocol):
    """What a span says of a request."""

    @property
    def trace(self) -> Trace:
        """Its trace, from `RequestSpans.trace_of`."""

    @property
    def method(self) -> str:
        """Its method."""

    @property
    def path(self) -> str:
        """Its path."""


class RequestSpans:
    """Begins and ends them."""

    def __init__(self, tracing: Tracing) -> None:
        self._tracing = tracing

    def trace_of(self, sent: str | None) -> Trace:
        """Return the trace that a request's `traceparent` names, or a new one, with a span of this request; `sent` as `sent_trace` has it."""
        header, _, state = (sent or "").partition("\n")
        parent = context_of(header)
        span = self._tracing.request(parent)
        trace = Traced(span.context.trace_id, carried(str(span.context), state if parent else None))
        trace.span = span
        return trace

    def end(self, request: Asked, route: str, status: int, error: str) -> None:
        """The request is answered."""
        trace = request.trace
        if not isinstance(trace, Traced) or not request.path.startswith(SHOWN):
            return
        trace.span.named(route)
        trace.span.say(http__request__method=request.method, http__route=route.partition(" ")[2], http__response__status_code=status, url__path=request.path)
        # As OpenTelemetry has it, a caller's fault is no error of the server.
        trace.span.end(error if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "")
