"""How long a stock task with many product rows takes to open: fence, read its changelog, stand at its positions.

    python -m bench.recovery [--rows 1000000]

Needs a running Kafka (HOLDFAST_KAFKA, or `holdfast up --servers-only`). Uses topics of its own, with one partition.
"""

from __future__ import annotations

import asyncio
import json
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor

import click
from confluent_kafka import Producer

from bench.fill_orders import put
from holdfast.stack.endpoints import endpoints
from holdfast.topics import create
from schemas import codec
from schemas.topics import STOCK_STATE
from streams.config import StreamSettings, settings
from streams.domain.stock import Product, to_row
from streams.runtime.records import Place
from streams.runtime.task import Task
from streams.stages.stock import STOCK


def fill_changelog(config: StreamSettings, rows: int) -> None:
    """Write one row for each of so many products."""
    producer = Producer({"bootstrap.servers": config.kafka, "linger.ms": 50, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
    encode, topic = codec.encoder("ProductRow"), STOCK_STATE.named(config.topic_prefix)
    for i in range(rows):
        product = Product(f"p{i}", available=100 + i % 7, reserved=3, received=103 + i % 7, version=9, recent_commands=[f"opening-p{i}"], moves=[(1, 103)])
        put(producer, topic, encode(to_row(product)), product.product_id.encode(), 0)
        if i % 10_000 == 0:
            producer.poll(0)
    producer.flush()


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
def main(rows: int) -> None:
    """Measure and print one JSON object."""
    os.environ.update(HOLDFAST_KAFKA=endpoints().kafka, HOLDFAST_TOPIC_PREFIX=f"bench{int(time.time())}.", HOLDFAST_PARTITIONS="1")
    settings.cache_clear()
    config = settings()
    create(config.kafka, config.topic_prefix, 1)
    fill_changelog(config, rows)
    with ThreadPoolExecutor(1) as threads:
        task = Task(STOCK, Place(0, 1), config, asyncio.Queue(), threads)
        started = time.monotonic()
        task.open()
        seconds = time.monotonic() - started
    assert task.stage.rows.count_all() == rows
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps({"rows": rows, "seconds": round(seconds, 2), "rows_per_s": round(rows / seconds), "peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
