"""OpenTelemetry's own part: imported only where spans are wanted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from telemetry.server import TelemetryError

try:
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
    from opentelemetry.sdk.resources import SERVICE_NAME, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor
    from opentelemetry.sdk.trace.sampling import Decision, Sampler, SamplingResult
except ImportError as error:
    raise TelemetryError(f"spans are asked for (OTEL_...), but OpenTelemetry is not installed: pip install 'holdfast[traces]' ({error})") from error


class Linked(Sampler):
    """Keeps every span that links to one that is kept: who follows a request must not lose it half-way. Of others the environment's sampler decides."""

    def __init__(self, otherwise: Sampler) -> None:
        self._otherwise = otherwise

    def should_sample(
        self, parent_context: Any, trace_id: int, name: str, kind: Any = None, attributes: Any = None, links: Any = None, *more: Any
    ) -> SamplingResult:
        if links:
            return SamplingResult(Decision.RECORD_AND_SAMPLE, attributes)
        return self._otherwise.should_sample(parent_context, trace_id, name, kind, attributes, links, *more)

    def get_description(self) -> str:
        return f"Linked{{{self._otherwise.get_description()}}}"


def provider_of(service: str, environ: Mapping[str, str]) -> TracerProvider:
    """Return what makes spans and sends them, as the environment says: OTEL_EXPORTER_OTLP_..., OTEL_BSP_..., OTEL_TRACES_SAMPLER."""
    is_named = environ.get("OTEL_SERVICE_NAME") or f"{SERVICE_NAME}=" in environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    provider = TracerProvider(resource=Resource.create({} if is_named else {SERVICE_NAME: service}), shutdown_on_exit=False)
    provider.sampler = Linked(provider.sampler)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return provider
