"""How long a stock task with many product rows takes to open: fence, read its changelog, stand at its positions.

    python -m bench.recovery [--rows 1000000]

Needs a running Kafka (HOLDFAST_KAFKA, or `holdfast up --servers-only`). Uses topics of its own, with one partition.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import click

from bench.topics import new_producer, put, remove
from holdfast.stack.endpoints import endpoints
from holdfast.topics import create
from schemas import codec
from schemas.topics import STOCK_STATE
from streams.config import StreamSettings, settings
from streams.domain.stock import Product, to_row
from streams.runtime.brokers import Brokers
from streams.runtime.clock import Clock
from streams.runtime.records import Place
from streams.runtime.shared import Room, Shared
from streams.runtime.task import Task
from streams.stages.stock import STOCK


def fill_changelog(config: StreamSettings, rows: int) -> None:
    """Write one row for each of so many products."""
    producer = new_producer(config.kafka)
    encode, topic = codec.encoder("ProductRow"), STOCK_STATE.named(config.topic_prefix)
    for i in range(rows):
        product = Product(f"p{i}", available=100 + i % 7, reserved=3, received=106 + i % 7, version=9, recent_commands=[f"opening-p{i}"], moves=[(1, 103)])
        put(producer, topic, encode(to_row(product)), product.product_id.encode(), 0)
        if i % 10_000 == 0:
            producer.poll(0)
    producer.flush()


async def _mine(_topic: str, _partition: int, _position: int) -> bool:
    return True


def recover(config: StreamSettings, rows: int) -> dict[str, float]:
    """Open a task on a changelog of so many rows; return seconds, rows per second, bytes of memory per row."""
    with ThreadPoolExecutor(1) as threads:
        before = resident_bytes()
        task = Task(
            STOCK, Place(0, 1), Shared(config, asyncio.Queue(), threads, Brokers(config), Clock(), Room(config.batch_seconds, config.max_batch_bytes), _mine)
        )
        started = time.monotonic()
        task.open()
        seconds = time.monotonic() - started
        assert task.stage.rows.count_all() == rows
        return {"seconds": round(seconds, 2), "rows_per_s": round(rows / seconds), "bytes_per_row": round((resident_bytes() - before) / rows)}


def resident_bytes() -> int:
    """Return the memory this process has in use now."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


@click.command()
@click.option("--rows", default=1_000_000, show_default=True)
def main(rows: int) -> None:
    """Measure and print one JSON object."""
    os.environ.update(HOLDFAST_KAFKA=endpoints().kafka, HOLDFAST_TOPIC_PREFIX=f"bench{int(time.time())}.", HOLDFAST_PARTITIONS="1")
    settings.cache_clear()
    config = settings()
    create(config.kafka, config.topic_prefix, 1)
    try:
        fill_changelog(config, rows)
        found = recover(config, rows)
    finally:
        remove(config.kafka, config.topic_prefix)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    click.echo(json.dumps({"rows": rows, **found, "peak_mb": round(peak)}))


if __name__ == "__main__":
    main()
