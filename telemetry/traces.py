"""Spans, sent to a collector by OTLP. Off, and no cost, unless the variables that OpenTelemetry has for it say where to.

A request's span is the gateway's. What stages and sinks do is done for many requests at once: a span per batch, each of a trace of its
own, with links to the requests and to the batches before it. A batch that comes from a sampled request is kept; of the others
OTEL_TRACES_SAMPLER decides.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

from telemetry.context import PARENT, Causes, Context, Headers
from telemetry.server import TelemetryError

if TYPE_CHECKING:
    from opentelemetry import trace as api
    from opentelemetry.sdk.trace import TracerProvider

_Value = TypeVar("_Value")
Attributes: TypeAlias = Mapping[str, str | int]
ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
PROTOCOLS: Final = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
PROTOCOL: Final = "http/protobuf"
EXPORTER: Final = "OTEL_TRACES_EXPORTER"
REMEMBERED: Final = 10_000
CLOSE_SECONDS: Final = 1.5

_noting: ContextVar[Causes | None] = ContextVar("what the batch under way comes from", default=None)
_under: ContextVar[Span | None] = ContextVar("the span under way", default=None)
_tracing: Tracing | None = None


def start(service: str, environ: Mapping[str, str] = os.environ) -> Tracing | None:
    """Begin to send this process's spans, where the environment says so; `service` is its name unless OTEL_SERVICE_NAME is set. Raises TelemetryError."""
    global _tracing
    if is_wanted(environ):
        from telemetry.export import provider_of

        _tracing = Tracing(provider_of(service, environ))
    return _tracing


def current() -> Tracing | None:
    """Return what `start` began; None while spans are off."""
    return _tracing


def stop() -> None:
    """Send what is left, for a moment at most."""
    if _tracing is not None:
        _tracing.close()


def is_wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a collector; raises TelemetryError for what cannot be done."""
    exporter = environ.get(EXPORTER) or "otlp"
    endpoint = next(filter(None, map(environ.get, ENDPOINTS)), None)
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or exporter == "none" or not (endpoint or environ.get(EXPORTER)):
        return False
    if exporter != "otlp":
        raise TelemetryError(f"{EXPORTER} is {exporter!r}: otlp, none, or leave it unset")
    protocol = next(filter(None, map(environ.get, PROTOCOLS)), PROTOCOL)
    if protocol != PROTOCOL:
        raise TelemetryError(f"{PROTOCOLS[1]} is {protocol!r}: spans are sent as {PROTOCOL} (a collector's port 4318)")
    if endpoint and not (urlsplit(endpoint).scheme in ("http", "https") and urlsplit(endpoint).hostname):
        raise TelemetryError(f"{ENDPOINTS[1]} is no URL like http://collector:4318")
    return True


class Span:
    """A span under way; `context` is what goes into headers. `causes`: what it comes from."""

    def __init__(self, span: api.Span, causes: Causes) -> None:
        said = span.get_span_context()
        self._span = span
        self.causes = causes
        self.context = Context(f"{said.trace_id:032x}", f"{said.span_id:016x}", bool(said.trace_flags))

    def headers(self) -> list[tuple[str, bytes]]:
        """Return the Kafka headers of what follows from it; none where nobody keeps it."""
        return self.causes.headers(self.context) if self.context.is_sampled else []

    def say(self, **attributes: str | int) -> None:
        """Add attributes; `a__b` is named `a.b`."""
        for name, value in attributes.items():
            self._span.set_attribute(name.replace("__", "."), value)

    def named(self, name: str) -> None:
        self._span.update_name(name)

    def end(self, error: str = "") -> None:
        """It is over, and with `error` it has failed."""
        if error:
            from opentelemetry.trace import Status, StatusCode

            self._span.set_status(Status(StatusCode.ERROR, error))
        self._span.end()


class Tracing:
    """Makes the spans of one process."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry import trace

        self._api = trace
        self._provider = provider
        self._tracer = provider.get_tracer("holdfast")
        self._recent: dict[str, Span] = {}

    def request(self, parent: Context | None) -> Span:
        """Begin the span of a request that is answered here; `parent` is the caller's."""
        around = self._api.set_span_in_context(self._api.NonRecordingSpan(self._context(parent))) if parent else None
        return Span(self._tracer.start_span("request", around, self._api.SpanKind.SERVER), Causes())

    def batch(self, name: str, causes: Causes, attributes: Attributes, began_ns: int | None = None) -> Span:
        """Begin the span of a batch, in a trace of its own, with links."""
        links = [self._api.Link(self._context(each)) for each in causes.links]
        span = self._tracer.start_span(name, None, self._api.SpanKind.CONSUMER, attributes, links, began_ns)
        return Span(span, causes)

    def call(self, name: str, under: Span | None, attributes: Attributes) -> Span:
        """Begin the span of a request of ours to somebody else, as part of `under`."""
        around = self._api.set_span_in_context(under._span) if under else None
        return Span(self._tracer.start_span(name, around, self._api.SpanKind.CLIENT, attributes), under.causes if under else Causes())

    def remember(self, what: str, span: Span) -> None:
        """Keep in mind which span something comes from that is done later; the last so many."""
        self._recent[what] = span
        while len(self._recent) > REMEMBERED:
            del self._recent[next(iter(self._recent))]

    def recalled(self, what: str) -> Span | None:
        """Return the span that is remembered."""
        return self._recent.get(what)

    def close(self) -> None:
        """Send what is left; a collector that does not answer keeps nobody for long."""
        ending = threading.Thread(target=self._provider.shutdown, name="last spans", daemon=True)
        ending.start()
        ending.join(CLOSE_SECONDS)

    def _context(self, context: Context) -> api.SpanContext:
        flags = self._api.TraceFlags(int(context.is_sampled))
        return self._api.SpanContext(int(context.trace_id, 16), int(context.span_id, 16), is_remote=True, trace_flags=flags)


@contextmanager
def batch(name: str, causes: Causes | None, attributes: Attributes) -> Iterator[Span | None]:
    """A batch's work, in a span; None while spans are off. An exception is the span's error, and goes on."""
    if _tracing is None:
        yield None
        return
    with under(_tracing.batch(name, causes or Causes(), attributes)) as span:
        yield span


@contextmanager
def call(name: str, parent: Span | None, attributes: Attributes) -> Iterator[Span | None]:
    """A request of ours to somebody else, in a span; `outgoing` are its headers."""
    if _tracing is None:
        yield None
        return
    with under(_tracing.call(name, parent, attributes)) as span:
        yield span


@contextmanager
def under(span: Span) -> Iterator[Span]:
    """Be in a span, and end it."""
    error = ""
    try:
        with within(span):
            yield span
    except BaseException as fault:
        error = type(fault).__name__
        raise
    finally:
        span.end(error)


def within(span: Span | None) -> AbstractContextManager[None]:
    """Be in a span that goes on."""
    return _holding(_under, span)


def here() -> Span | None:
    """Return the span under way."""
    return _under.get()


def remember(what: Iterable[str]) -> None:
    """Keep in mind that these come from the span under way; `recalled` says so later."""
    span = _under.get()
    if _tracing is not None and span is not None:
        for each in what:
            _tracing.remember(each, span)


def recalled(what: str) -> Span | None:
    """Return the span that something comes from, where this process knows."""
    return _tracing.recalled(what) if _tracing is not None else None


def outgoing() -> dict[str, str]:
    """Return the HTTP headers of a request that is made in the span under way."""
    span = _under.get()
    return {PARENT: str(span.context)} if span else {}


def noting(causes: Causes | None) -> AbstractContextManager[None]:
    """Let `came_from` add to a batch's causes."""
    return _holding(_noting, causes)


@contextmanager
def _holding(variable: ContextVar[_Value], value: _Value) -> Iterator[None]:
    token = variable.set(value)
    try:
        yield
    finally:
        variable.reset(token)


def came_from(span: Span | None) -> None:
    """Say that the batch under way comes from this span too."""
    causes = _noting.get()
    if causes is not None and span is not None:
        causes.link((span.context,))
        causes.root(span.causes.roots)


def causes_of(headers: Iterable[Headers]) -> Causes:
    """Return what records with these headers come from."""
    causes = Causes()
    for each in headers:
        causes.note(each)
    return causes


def counted(records: int) -> dict[str, str | int]:
    """Return the attributes of a batch of so many records of Kafka."""
    return {"messaging.system": "kafka", "messaging.batch.message_count": records}


def now_ns() -> int:
    """Return the time as spans have it."""
    return time.time_ns()
