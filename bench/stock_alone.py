"""How fast the stock agent alone drains single-line orders, exactly once, in one process; for profiling: `python -m bench` compares.

    python -m bench.stock_alone [--orders 1000000] [--products 1000] [--hot 10] [--per-record 1]

Needs a running Kafka (HOLDFAST_KAFKA, or `holdfast up --servers-only`). Uses topics of its own.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time

import click
from confluent_kafka import Consumer, TopicPartition

from bench.fill_orders import fill
from bench.processes import cpu_seconds, peak_mb
from holdfast.stack.endpoints import endpoints
from holdfast.topics import create
from schemas.topics import ORDERS
from streams.config import settings


def committed(orders_topic: str, partitions: int, consumer: Consumer) -> int:
    """Return how many records of the topic the worker has committed."""
    return sum(max(0, tp.offset) for tp in consumer.committed([TopicPartition(orders_topic, p) for p in range(partitions)], timeout=10))


def end(orders_topic: str, partitions: int, consumer: Consumer) -> int:
    """Return how many records the topic holds."""
    return sum(consumer.get_watermark_offsets(TopicPartition(orders_topic, p), timeout=10)[1] for p in range(partitions))


def drain(total: int, consumer: Consumer, topic: str, partitions: int, worker: subprocess.Popen[bytes]) -> dict[str, float]:
    """Watch the worker until everything is committed; times run from the first commit seen."""
    first: tuple[float, int, float] | None = None
    while True:
        time.sleep(0.25)
        if worker.poll() is not None:
            raise click.ClickException(f"the worker ended with {worker.returncode}")
        done = committed(topic, partitions, consumer)
        if done and first is None:
            first = (time.monotonic(), done, cpu_seconds([worker.pid]))
        if done >= total and first is not None:
            seconds, records = time.monotonic() - first[0], done - first[1]
            return {"seconds": seconds, "records": records, "cpu": cpu_seconds([worker.pid]) - first[2], "peak_mb": peak_mb([worker.pid])}


@click.command()
@click.option("--orders", default=1_000_000, show_default=True)
@click.option("--products", default=1_000, show_default=True)
@click.option("--hot", default=0, show_default=True, help="send 90 % of the orders to this many products")
@click.option("--per-record", default=1, show_default=True)
def main(orders: int, products: int, hot: int, per_record: int) -> None:
    """Measure and print one JSON object."""
    os.environ["HOLDFAST_KAFKA"] = endpoints().kafka
    os.environ["HOLDFAST_TOPIC_PREFIX"] = f"bench{int(time.time())}."
    settings.cache_clear()
    config = settings()
    create(config.kafka, config.topic_prefix, config.partitions)
    fill(orders, products, hot, per_record)
    consumer = Consumer({"bootstrap.servers": config.kafka, "group.id": config.app_id})
    topic = ORDERS.named(config.topic_prefix)
    total = end(topic, config.partitions, consumer)
    worker = subprocess.Popen([sys.executable, "-m", "faust", "-A", "bench.stock_worker", "worker", "--without-web", "-l", "warn"])
    try:
        seen = drain(total, consumer, topic, config.partitions, worker)
    finally:
        worker.kill()
    drained = seen["records"] * orders / total
    click.echo(
        json.dumps(
            {
                **{"orders": orders, "products": products, "hot": hot, "per_record": per_record, "orders_per_s": round(drained / seen["seconds"])},
                **{"us_cpu_per_order": round(seen["cpu"] / drained * 1e6, 2), "peak_mb": round(seen["peak_mb"])},
            }
        )
    )


if __name__ == "__main__":
    main()
