"""Live traffic beside a backfill of decided history: from order to outcome in ms, alone and beside it, in turns.

    python -m bench.backfill [--rate 300] [--rows 500] [--seconds 20] [--rounds 2] [--partitions 2]

Open loop, as bench.latency. Starts servers of its own (those that HOLDFAST_KAFKA, _MYSQL, _REDIS name are used where they are), a worker and both
sinks. Prints one JSON object: the ratio of the p99 beside the backfill to the p99 alone (medians of the rounds), and every round.
"""

from __future__ import annotations

import csv
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click
from confluent_kafka import Producer

from bench.fill_orders import restock
from bench.latency import PRODUCTS, WARM_SECONDS, Outcomes, percentiles, send, start_workers
from bench.servers import holdfast, servers
from holdfast.topics import create
from streams.config import StreamSettings, settings

ORDERS: Final = 60_000
MAP: Final = """
source = "old-shop"
[order]
id = "order"
user = "customer"
currency = { value = "GBP" }
placed_at = { column = "placed", time = "ms" }
status = { value = "SHIPPED" }
[line]
product = "sku"
quantity = "units"
price = "price"
"""


def history(folder: Path) -> tuple[Path, Path]:
    """Write a map and a file of orders of one to three lines."""
    mapped, rows = folder / "map.toml", folder / "history.csv"
    mapped.write_text(MAP)
    with rows.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(("order", "customer", "placed", "sku", "units", "price"))
        writer.writerows((f"A{n}", f"c{n % 500}", 1_291_191_960_000 + n, f"p{(n + k) % PRODUCTS}", 1, 999) for n in range(ORDERS) for k in range(1 + n % 3))
    return mapped, rows


@contextmanager
def beside(command: list[str]) -> Iterator[None]:
    """Let a process run meanwhile; it must not end by itself."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield
        assert process.poll() is None, f"{command} ended with {process.returncode}: give it more rows"
    finally:
        process.kill()
        process.wait()


def measure(producer: Producer, config: StreamSettings, outcomes: Outcomes, rate: int, seconds: float) -> dict[str, float]:
    """Send live orders and return the percentiles of their way, ms."""
    due = send(producer, config, rate, seconds)
    while any(order not in outcomes.seen for order in due):
        time.sleep(0.1)
    return percentiles([outcomes.seen[order] - at for order, at in due.items()])


def rounds(config: StreamSettings, wish: dict[str, float], backfill: list[str]) -> list[dict[str, dict[str, float]]]:
    """Measure alone and beside a backfill, in turns."""
    producer = Producer({"bootstrap.servers": config.kafka, "linger.ms": 2, "enable.idempotence": True})
    restock(producer, PRODUCTS, 1_000_000)
    producer.flush()
    outcomes = Outcomes(config)
    outcomes.start()
    measure(producer, config, outcomes, int(wish["rate"]), WARM_SECONDS)
    found = []
    for _ in range(int(wish["rounds"])):
        alone = measure(producer, config, outcomes, int(wish["rate"]), wish["seconds"])
        with beside(backfill):
            time.sleep(3)
            found.append({"alone": alone, "beside": measure(producer, config, outcomes, int(wish["rate"]), wish["seconds"])})
    return found


@click.command()
@click.option("--rate", default=300, show_default=True, help="live orders per second")
@click.option("--rows", default=500, show_default=True, help="rows of history per second")
@click.option("--seconds", default=20.0, show_default=True)
@click.option("--rounds", "count", default=2, show_default=True)
@click.option("--partitions", default=2, show_default=True, help="of every stage topic")
def main(rate: int, rows: int, seconds: float, count: int, partitions: int) -> None:
    """Measure and print one JSON object."""
    with servers() as at:
        os.environ |= {"HOLDFAST_KAFKA": at.kafka, "HOLDFAST_MYSQL": at.mysql, "HOLDFAST_REDIS": at.redis, "HOLDFAST_PARTITIONS": str(partitions)}
        os.environ["HOLDFAST_TOPIC_PREFIX"] = f"bench{int(time.time())}."
        settings.cache_clear()
        config = settings()
        create(config.kafka, config.topic_prefix, config.partitions)
        holdfast("migrate")
        mapped, file = history(at.folder)
        command = [sys.executable, "-m", "holdfast"]
        backfill = [*command, "backfill", "in", "--map", str(mapped), "--rate", str(rows), str(file)]
        workers = start_workers(1)
        try:
            with beside([*command, "sink", "mysql"]), beside([*command, "sink", "redis"]):
                found = rounds(config, {"rate": rate, "rounds": count, "seconds": seconds}, backfill)
        finally:
            for worker in workers:
                worker.kill()
    alone, together = (statistics.median(r[name]["p99"] for r in found) for name in ("alone", "beside"))
    report = {"p99_ratio": round(together / alone, 2), "p99_alone_ms": alone, "p99_beside_ms": together, "rate": rate, "rows_per_s": rows}
    click.echo(json.dumps({**report, "partitions": partitions, "rounds": found}))


if __name__ == "__main__":
    main()
