"""How many rows the stages hold, by the figures of real endpoints."""

from __future__ import annotations

from contextlib import closing

from prometheus_client import CollectorRegistry, Gauge, start_http_server

from holdfast.stack.rows import GAUGE, rows_by_stage
from telemetry import figures


def test_rows_are_summed_by_stage_over_workers_and_who_is_silent_has_none() -> None:
    servers, urls = [], ["http://127.0.0.1:9/metrics", "no address"]
    for rows in ({"orders": 7, "stock": 40}, {"orders": 5}):
        registry = CollectorRegistry()
        gauge = Gauge(GAUGE, "rows", ("stage", "partition"), registry=registry)
        for stage, number in rows.items():
            gauge.labels(stage, 0).set(number)
            gauge.labels(stage, 1).set(1)
        server, _ = start_http_server(0, "127.0.0.1", registry)
        servers.append(server)
        urls.append(f"http://127.0.0.1:{server.server_port}/metrics")
    try:
        assert rows_by_stage(urls) == {"orders": 14, "stock": 41}
    finally:
        for server in servers:
            with closing(server.socket):
                server.shutdown()


def test_the_gauge_is_the_one_that_workers_have() -> None:
    assert figures.ROWS._name == GAUGE
