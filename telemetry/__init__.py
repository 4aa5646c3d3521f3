"""What a process says of itself while it works: figures for Prometheus, spans for a collector. Imports nothing else of Holdfast.

HOLDFAST_METRICS_PORT (0: any free port) makes a worker, a sink or the webhooks listen on HOLDFAST_METRICS_HOST (127.0.0.1) and answer GET /metrics;
unset, nothing listens. The gateway answers /metrics at its own address.
"""

from telemetry.server import TelemetryError, serve

__all__ = ["TelemetryError", "serve"]
