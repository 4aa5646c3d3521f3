"""The latency curve of the whole path: order to outcome at 10 % to 90 % of a rate, with both sinks and a gateway running beside the worker.

    python -m bench.curve --ceiling 12000 [--seconds 10] [--partitions 8]

Open loop, as in bench/latency.py: an order's clock starts when it was due to be sent. A stack of its own, removed in the end.
"""

from __future__ import annotations

import json
import os
from typing import Final

import click
from confluent_kafka import Producer

from bench.fill_orders import restock
from bench.latency import PRODUCTS, WARM_SECONDS, Outcomes, answered, send
from bench.whole_path import stack
from holdfast.stack.endpoints import endpoints
from streams.config import settings

SHARES: Final = tuple(range(10, 100, 10))
WARM_SHARE: Final = 0.3


def measured(ceiling: int, seconds: float) -> list[dict[str, float]]:
    """Return, for each share of the ceiling, the rate and the percentiles in ms. Needs a running stack."""
    config = settings()
    producer = Producer({"bootstrap.servers": config.kafka, "linger.ms": 2, "enable.idempotence": True})
    restock(producer, PRODUCTS, 10_000_000)
    producer.flush()
    outcomes = Outcomes(config)
    outcomes.start()
    answered(outcomes, send(producer, config, round(ceiling * WARM_SHARE), WARM_SECONDS))
    return [_step(producer, outcomes, share, ceiling, seconds) for share in SHARES]


def _step(producer: Producer, outcomes: Outcomes, share: int, ceiling: int, seconds: float) -> dict[str, float]:
    rate = max(1, ceiling * share // 100)
    found = {"share": share, "rate": rate, **answered(outcomes, send(producer, settings(), rate, seconds))}
    click.echo(json.dumps(found), err=True)
    return found


@click.command()
@click.option("--ceiling", type=click.IntRange(100), required=True, help="Orders per second that count as 100 %.")
@click.option("--seconds", default=10.0, show_default=True, help="At each share.")
@click.option("--partitions", default=8, show_default=True)
def main(ceiling: int, seconds: float, partitions: int) -> None:
    """Measure and print one JSON object."""
    with stack(partitions):
        os.environ.update(HOLDFAST_KAFKA=endpoints().kafka, HOLDFAST_TOPIC_PREFIX="")
        settings.cache_clear()
        curve = measured(ceiling, seconds)
    click.echo(json.dumps({"p99_ms": curve[len(curve) // 2]["p99"], "ceiling": ceiling, "partitions": partitions, "curve": curve}))


if __name__ == "__main__":
    main()
