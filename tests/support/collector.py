"""A collector of spans: OTLP over HTTP, as OpenTelemetry's own takes them."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Status

Id = tuple[str, str]


@dataclass(frozen=True)
class Span:
    """One span as it came; `links` and `id` are (trace ID, span ID) in hex digits."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent: str
    links: frozenset[Id]
    attributes: dict[str, Any]
    error: str

    @property
    def id(self) -> Id:
        return self.trace_id, self.span_id


@dataclass
class Collector:
    """What was sent so far."""

    url: str
    requests: list[ExportTraceServiceRequest] = field(default_factory=list)

    def spans(self) -> list[Span]:
        return [
            _span(found, {each.key: each.value.string_value for each in resource.resource.attributes}["service.name"])
            for request in list(self.requests)
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for found in scope.spans
        ]


def _span(found: Any, service: str) -> Span:
    values = {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in found.attributes}
    links = frozenset((each.trace_id.hex(), each.span_id.hex()) for each in found.links)
    error = found.status.message if found.status.code == Status.STATUS_CODE_ERROR else ""
    return Span(service, found.name, found.trace_id.hex(), found.span_id.hex(), found.parent_span_id.hex(), links, values, error)


@contextmanager
def collecting() -> Iterator[Collector]:
    """Run one, at a port of its own."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            assert self.path == "/v1/traces"
            request = ExportTraceServiceRequest()
            request.ParseFromString(gzip.decompress(body) if self.headers["content-encoding"] == "gzip" else body)
            collector.requests.append(request)
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.end_headers()
            self.wfile.write(ExportTraceServiceResponse().SerializeToString())

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector = Collector(f"http://127.0.0.1:{server.server_port}")
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield collector
    finally:
        server.shutdown()
        server.server_close()
