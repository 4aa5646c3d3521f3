"""What /metrics says. Counting is a few additions per request; the figures become metrics when somebody asks."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
BOUNDS_S: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Figures:
    """Requests by route and status, and how long they took by route."""

    def __init__(self) -> None:
        self.requests: dict[tuple[str, int], int] = {}
        self.seconds: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}
        self.in_hand = 0
        self.counters: dict[tuple[str, str], Callable[[], float]] = {}
        """(name, help) of further counters -> what says their value."""
        self.gauges: dict[tuple[str, str], Callable[[], float]] = {}
        self.counters_by: dict[tuple[str, str, str], Callable[[], Mapping[str, float]]] = {}
        """(name, help, label) of counters with a label -> what says their values, by the label's."""

    def count(self, route: str, status: int, seconds: float) -> None:
        """Count one answer."""
        key = (route, status)
        try:
            self.requests[key] += 1
        except KeyError:
            self.requests[key] = 1
            self.seconds.setdefault(route, [0] * (len(BOUNDS_S) + 1))
            self.sums.setdefault(route, 0.0)
        self.seconds[route][bisect_left(BOUNDS_S, seconds)] += 1
        self.sums[route] += seconds

    def collect(self) -> Iterable[Metric]:
        """Return the metrics; called by the registry."""
        requests = CounterMetricFamily("holdfast_gateway_requests", "Answers, by route and status.", labels=("route", "status"))
        for (route, status), count in self.requests.items():
            requests.add_metric((route, str(status)), count)
        yield requests
        yield self._histogram()
        yield GaugeMetricFamily("holdfast_gateway_requests_in_hand", "Requests being worked on.", self.in_hand)
        for (name, text), value in self.counters.items():
            yield CounterMetricFamily(name, text, value())
        for (name, text, label), values in self.counters_by.items():
            family = CounterMetricFamily(name, text, labels=(label,))
            for said, counted in values().items():
                family.add_metric((said,), counted)
            yield family
        for (name, text), value in self.gauges.items():
            yield GaugeMetricFamily(name, text, value())

    def _histogram(self) -> HistogramMetricFamily:
        family = HistogramMetricFamily("holdfast_gateway_request_seconds", "From the request's head to its answer.", labels=("route",))
        for route, counts in self.seconds.items():
            total, buckets = 0, []
            for bound, count in zip((*map(str, BOUNDS_S), "+Inf"), counts, strict=True):
                total += count
                buckets.append((bound, total))
            family.add_metric((route,), buckets, self.sums[route])
        return family


def registry_of(figures: Figures) -> CollectorRegistry:
    """Return a registry with our figures and the process's own."""
    registry = CollectorRegistry()
    registry.register(figures)
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    return registry


def text_of(registry: CollectorRegistry) -> bytes:
    """Return the exposition text."""
    return generate_latest(registry)
