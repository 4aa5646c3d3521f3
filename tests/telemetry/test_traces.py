"""When spans are on, and what a span says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

from ingest.http.spans import RequestSpans
from ingest.http.trace import sent_trace
from schemas.outcomes import PaymentKind
from streams.domain.payment import Pending, Request
from streams.payments.sandbox import SLOW_TOKEN, Sandbox
from telemetry import TelemetryError, traces
from telemetry.context import Causes, Context, context_of
from tests.support.collector import Collector, collecting

HERE = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        (HERE, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "https://c/v1/traces"}, True),
        ({"OTEL_TRACES_EXPORTER": "otlp"}, True),
        ({**HERE, "OTEL_TRACES_EXPORTER": "none"}, False),
        ({**HERE, "OTEL_SDK_DISABLED": "true"}, False),
        ({**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, True),
    ],
)
def test_spans_are_on_where_the_environment_says_so(environ: dict[str, str], wanted: bool) -> None:
    assert traces.is_wanted(environ) is wanted


@pytest.mark.parametrize(
    "environ",
    [{**HERE, "OTEL_TRACES_EXPORTER": "zipkin"}, {**HERE, "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, {"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}],
)
def test_what_cannot_be_done_is_said(environ: dict[str, str]) -> None:
    with pytest.raises(TelemetryError, match="OTEL_"):
        traces.is_wanted(environ)


def test_nothing_of_opentelemetry_is_imported_while_spans_are_off() -> None:
    code = (
        "import sys, streams.runtime.spans, sinks.worker, ingest.http.spans, sinks.webhooks.run; sys.exit(any('opentelemetry' in name for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with collecting() as found:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", found.url)
        monkeypatch.setattr(traces, "_tracing", None)
        yield found


def test_a_batch_has_links_and_keeps_what_it_follows(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_always_off")
    assert traces.start("test") is not None
    cause = Context("1" * 32, "2" * 16, True)
    causes = Causes()
    causes.root([cause])
    with traces.batch("batch", causes, {"n": 1}):
        assert traces.here() is not None
        with traces.call("call", traces.here(), {}):
            assert list(traces.outgoing()) == ["traceparent"]
    with traces.batch("nobody follows this", Causes(), {}):
        pass
    with pytest.raises(ValueError, match="x"), traces.batch("failed", causes, {}):
        raise ValueError("x")
    traces.stop()
    spans = {span.name: span for span in collector.spans()}
    assert set(spans) == {"batch", "call", "failed"}
    assert spans["batch"].service == "test"
    assert spans["batch"].links == {(cause.trace_id, cause.span_id)}
    assert spans["call"].parent == spans["batch"].span_id
    assert (spans["batch"].error, spans["failed"].error) == ("", "ValueError")
    assert traces.here() is None
    assert not traces.outgoing()


def test_an_answer_that_comes_later_comes_from_the_batch_that_asked(collector: Collector) -> None:
    assert collector.url
    assert traces.start("test") is not None
    cause, causes, later = Context("1" * 32, "2" * 16, True), Causes(), Causes()
    causes.root([cause])
    desk = Sandbox(slow_ms=0).desk()
    request = Request(PaymentKind.CHARGE, 1, 1, 0, 100, "GBP", SLOW_TOKEN, "u1")
    with traces.batch("payments batch", causes, {}) as span:
        assert span is not None
        desk.leave([Pending(request, 0, 0, 0)] * 2)
    with traces.noting(later):
        assert [heard.request for heard in desk.collect(1)] == [request, request]
    assert set(later.links) == {span.context, cause}
    assert list(later.roots) == [cause]


@pytest.mark.parametrize(("sent", "state"), [(f"00-{'1' * 32}-{'2' * 16}-01", "rojo=1"), ("nonsense", "")])
def test_a_request_hands_on_its_callers_tracestate_with_its_own_span(collector: Collector, sent: str, state: str) -> None:
    assert collector.url
    tracing = traces.start("test")
    assert tracing is not None
    trace = RequestSpans(tracing).trace_of(sent_trace({"traceparent": sent, "tracestate": "rojo=1"}.get))
    parent, _, carried = trace.parent.partition("\n")
    found = context_of(parent)
    assert found is not None
    assert (found.trace_id, carried) == (trace.trace_id, state)
    assert (found.trace_id == "1" * 32, found.span_id != "2" * 16) == (bool(state), True)


def test_a_collector_that_is_away_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(traces, "_tracing", None)
    traces.start("test")
    with traces.batch("batch", None, {}):
        pass
    traces.stop()
