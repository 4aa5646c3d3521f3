"""From order to outcome at a steady rate: single-line orders in, `order.outcomes` out, in ms.

    python -m bench.latency [--rate 1000] [--seconds 30] [--workers 1] [--partitions 2] [--waits]

Open loop: an order's clock starts when it was due to be sent, so a stall is counted for every order it holds up.
Needs a running Kafka (HOLDFAST_KAFKA, or `holdfast up --servers-only`). Uses topics of its own.
"""

from __future__ import annotations

import gc
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from itertools import count, islice
from pathlib import Path
from typing import Any

import click
from confluent_kafka import Consumer, Producer, TopicPartition

from bench.fill_orders import restock
from bench.stats import share_of
from bench.topics import remove
from bench.waits import waits
from bench.work import COLUMNS
from holdfast.stack.endpoints import endpoints
from holdfast.topics import create
from ingest.order_ids import matched
from schemas import codec
from schemas.partitions import product_partition
from schemas.topics import ORDER_OUTCOMES, ORDERS
from streams.config import StreamSettings, settings

PRODUCTS = 1_000
WARM_SECONDS = 40.0
"""Not counted: a broker that has just started has yet to compile its code (in its first 20 s p99 was three times that of the next)."""
PATIENCE_S = 60.0
TICK_SECONDS = 0.004
"""The sender sleeps so long at least when it is ahead: it must not take the CPU it measures. What it is late by counts."""


class Outcomes(threading.Thread):
    """Notes when each order's decision was read."""

    def __init__(self, config: StreamSettings) -> None:
        super().__init__(daemon=True)
        self.seen: dict[int, float] = {}
        self.consumer = Consumer({"bootstrap.servers": config.kafka, "group.id": f"{config.app_id}.bench", "isolation.level": "read_committed"})
        self.consumer.assign([TopicPartition(ORDER_OUTCOMES.named(config.topic_prefix), p, 0) for p in range(config.partitions)])

    def run(self) -> None:
        while True:
            messages = self.consumer.consume(1, 0.2)
            messages += self.consumer.consume(1_000, 0) if messages else []
            now = time.monotonic()
            for message in messages:
                self.seen.setdefault(int(message.key() or b"0"), now)


def send(producer: Producer, config: StreamSettings, rate: int, seconds: float) -> dict[int, float]:
    """Send orders at a steady rate; return when each was due. Each lies where its product does, as the gateway gives out IDs."""
    topic, encode, due = ORDERS.named(config.topic_prefix), codec.encoder("OrderLine"), {}
    new = count(int(time.time() * 1000) << 22)
    homes = [product_partition(f"p{i % PRODUCTS}", config.partitions) for i in range(int(rate * seconds))]
    ids = matched(homes, config.partitions, lambda n: list(islice(new, n)))
    for i, at in paced(rate, len(homes), time.monotonic, lambda seconds: _meanwhile(producer, seconds)):
        home, order_id = homes[i], ids[i]
        product = f"p{i % PRODUCTS}"
        fields = (order_id, 1, 1, product, 1, 999, "GBP", f"u{i % 500}", "tok_ok", int(time.time() * 1000))
        producer.produce(topic, encode(dict(zip(COLUMNS, fields, strict=True))), product.encode(), home)
        due[order_id] = at
    producer.flush()
    return due


def _meanwhile(producer: Producer, seconds: float) -> None:
    producer.poll(0)
    time.sleep(seconds)


def paced(rate: int, count: int, now: Callable[[], float], wait: Callable[[float], None]) -> Iterator[tuple[int, float]]:
    """Yield (number, moment due) of so many orders at a steady rate: none before it is due, and what a stall held up at once."""
    started = now()
    for i in range(count):
        due = started + i / rate
        while (early := due - now()) > 0:
            wait(max(early, TICK_SECONDS))
        yield i, due


def answered(outcomes: Outcomes, due: dict[int, float]) -> dict[str, float]:
    """Wait until every order has its outcome; return the percentiles of how long that took, in ms. Raises where nothing comes any more."""
    known, moved = len(outcomes.seen), time.monotonic()
    while any(order not in outcomes.seen for order in due):
        time.sleep(0.1)
        if len(outcomes.seen) != known:
            known, moved = len(outcomes.seen), time.monotonic()
        if time.monotonic() - moved > PATIENCE_S:
            raise click.ClickException(f"{sum(order not in outcomes.seen for order in due)} orders have no outcome, and none came for {PATIENCE_S:.0f} s")
    return percentiles([outcomes.seen[order] - at for order, at in due.items()])


def percentiles(times: list[float]) -> dict[str, float]:
    """Return p50, p99, p99.9 and the longest, in ms."""
    at = {"p50": 0.50, "p99": 0.99, "p99_9": 0.999, "max": 1.0}
    return {name: round(share_of(times, share) * 1000, 1) for name, share in at.items()}


def start_workers(count: int, app: str = "streams.app") -> list[subprocess.Popen[bytes]]:
    """Start workers and give them time to open their tasks."""
    command = [sys.executable, "-m", "faust", "-A", app, "worker", "--without-web", "-l", "error"]
    workers = [subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(count)]
    time.sleep(15)
    return workers


@click.command()
@click.option("--rate", default=1_000, show_default=True, help="orders per second")
@click.option("--seconds", default=30.0, show_default=True)
@click.option("--workers", default=1, show_default=True)
@click.option("--partitions", default=2, show_default=True, help="of every stage topic: each makes every transaction dearer, and two cores carry few")
@click.option("--waits", "noted", is_flag=True, help="also say what the workers' batches waited for, step by step (bench/waits.py)")
def main(rate: int, seconds: float, workers: int, partitions: int, noted: bool) -> None:
    """Measure and print one JSON object."""
    os.environ["HOLDFAST_KAFKA"] = endpoints().kafka
    os.environ["HOLDFAST_TOPIC_PREFIX"] = f"bench{int(time.time())}."
    os.environ["HOLDFAST_PARTITIONS"] = str(partitions)
    settings.cache_clear()
    gc.set_threshold(100_000, 50, 100)  # a pause of ours would be counted as one of the pipeline
    config = settings()
    create(config.kafka, config.topic_prefix, config.partitions)
    with tempfile.NamedTemporaryFile("r", prefix="holdfast-waits-") as notes:
        os.environ["HOLDFAST_BENCH_WAITS"] = notes.name
        found = _measured(config, rate, seconds, start_workers(workers, "bench.waits_worker" if noted else "streams.app"), Path(notes.name))
    remove(config.kafka, config.topic_prefix)
    if not noted:
        del found["waits"]
    click.echo(json.dumps({"p99_ms": found["ms"]["p99"], "rate": rate, "orders": int(rate * seconds), "workers": workers, "partitions": partitions, **found}))


def _measured(config: StreamSettings, rate: int, seconds: float, running: list[subprocess.Popen[bytes]], notes: Path) -> dict[str, Any]:
    """Send orders to running workers, first such as do not count; return the percentiles and what was noted meanwhile. Ends the workers."""
    try:
        producer = Producer({"bootstrap.servers": config.kafka, "linger.ms": 2, "enable.idempotence": True})
        restock(producer, PRODUCTS, 1_000_000)
        producer.flush()
        outcomes = Outcomes(config)
        outcomes.start()
        answered(outcomes, send(producer, config, rate, WARM_SECONDS))
        begin = time.monotonic()
        ms = answered(outcomes, send(producer, config, rate, seconds))
        end = time.monotonic()
    finally:
        for worker in running:
            worker.kill()
    return {"ms": ms, "waits": waits(notes.read_text().splitlines(), begin, end)}


if __name__ == "__main__":
    main()
