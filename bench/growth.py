"""What an order costs as the work grows, and the capacity that follows: one axis after the other, everything else as it is.

    python -m bench.growth [--only AXIS] [--orders 60000] [--resume] [--page]

Axes: products, open_orders, partitions, lines (per order), workers. Each point starts workers on topics of its own, sends orders in columns, waits until
each is decided, kills the workers and starts them again. `whole_path` runs the whole path twice (single lines, the real file) and notes what each process
of it costs: from that `bench/capacity.py` makes docs/capacity.md. Servers are its own (or those of HOLDFAST_KAFKA, ...).
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import count, islice
from pathlib import Path
from typing import Any, Final

import click
from confluent_kafka import Producer

from bench import capacity, topics
from bench.processes import cpu_seconds, machine, peak_mb
from bench.results import all_open
from bench.servers import Servers, servers
from holdfast.lag import READERS, LagMeter, Look
from holdfast.topics import create
from ingest.columns import LineItem, StockCommandItem, encode_lines, encode_stock_commands
from ingest.order_ids import matched
from schemas.outcomes import MAX_ITEMS, StockCommandKind
from schemas.partitions import product_partition
from schemas.topics import ORDER_OUTCOMES, ORDERS, STOCK_COMMANDS
from streams.config import settings

ROOT: Final = Path(__file__).parents[1]
RESULTS: Final = Path(__file__).with_name("growth.json")
PAGE: Final = ROOT / "docs" / "capacity.md"
SAMPLE: Final = ROOT / "data" / "online-retail-sample.csv.xz"
WHOLE_PATH: Final = "whole_path"
PER_RECORD: Final = 100
LOOK_S: Final = 0.1
PATIENCE_S: Final = 120.0
UNITS: Final = 1_000_000
IDS_AT_ONCE: Final = 10_000
STAGES: Final = 3


@dataclass(frozen=True)
class Point:
    """One measurement: what there is besides the orders that are counted."""

    axis: str
    products: int = 1_000
    open_orders: int = 0
    partitions: int = 8
    lines: int = 1
    workers: int = 1

    @property
    def value(self) -> int:
        """Where on its axis it stands."""
        return int(getattr(self, self.axis))


AXES: Final[dict[str, tuple[int, ...]]] = {
    "products": (1_000, 10_000, 100_000, 1_000_000),
    "open_orders": (0, 10_000, 100_000, 1_000_000),
    "partitions": (4, 8, 16, 32, 64),
    "lines": (1, 3, 10, 30, 100),
    "workers": (1, 2, 3),
}


def points(only: Sequence[str], most: int) -> list[Point]:
    """Return the points of the wanted axes, without values beyond `most`."""
    wanted: list[tuple[str, dict[str, Any]]] = [(axis, {axis: v}) for axis, values in AXES.items() if not only or axis in only for v in values if v <= most]
    return [replace(Point(axis), **changed) for axis, changed in wanted]


# -- what is sent ----------------------------------------------------------------------------------------------------------


def product_of(order: int, line: int, products: int) -> str:
    """Return a line's product: spread evenly, the same in every run."""
    return f"p{(order * 7_919 + line * 104_729) % products}"


def order_lines(point: Point, orders: int, line_count: int, sent: int) -> Iterator[LineItem]:
    """Yield the first `sent` of each order's `line_count` lines. An order's ID lies where its first product does, as the gateway's do."""
    ids = count((int(time.time() * 1000) << 22) + 1)
    now = int(time.time() * 1000)
    for start in range(0, orders, IDS_AT_ONCE):
        some = range(start, min(start + IDS_AT_ONCE, orders))
        homes = [product_partition(product_of(order, 0, point.products), point.partitions) for order in some]
        for order, order_id in zip(some, matched(homes, point.partitions, lambda n: list(islice(ids, n))), strict=True):
            for line in range(sent):
                product = product_of(order, line, point.products)
                yield LineItem(order_id, line + 1, line_count, product, 1, 999, "GBP", f"u{order % 5_000}", "tok_ok", now)


def columnar(lines: Iterator[LineItem], partitions: int) -> Iterator[tuple[int, bytes]]:
    """Yield (partition, OrderLines record)."""
    waiting: list[list[LineItem]] = [[] for _ in range(partitions)]
    for line in lines:
        home = product_partition(line.product_id, partitions)
        waiting[home].append(line)
        if len(waiting[home]) == PER_RECORD:
            yield home, encode_lines(waiting[home])
            waiting[home].clear()
    yield from ((home, encode_lines(rest)) for home, rest in enumerate(waiting) if rest)


def restocks(products: int, partitions: int) -> Iterator[tuple[int, bytes]]:
    """Yield (partition, StockCommands record): units for every product."""
    waiting: list[list[StockCommandItem]] = [[] for _ in range(partitions)]
    for i in range(products):
        home = product_partition(f"p{i}", partitions)
        waiting[home].append(StockCommandItem(StockCommandKind.RESTOCK, f"growth-{i}", f"p{i}", UNITS, 0))
        if len(waiting[home]) == MAX_ITEMS:
            yield home, encode_stock_commands(waiting[home], 0, "bench")
            waiting[home].clear()
    yield from ((home, encode_stock_commands(rest, 0, "bench")) for home, rest in enumerate(waiting) if rest)


def send(producer: Producer, topic: str, records: Iterator[tuple[int, bytes]]) -> None:
    """Write records and wait for the brokers."""
    for partition, value in records:
        topics.put(producer, topic, value, None, partition)
        producer.poll(0)
    producer.flush()


# -- one point -------------------------------------------------------------------------------------------------------------


class Workers:
    """The workers of one point, their log, and when they are ready."""

    def __init__(self, point: Point, log: Path) -> None:
        self._point = point
        self._log = log
        self._running: list[subprocess.Popen[bytes]] = []

    @property
    def pids(self) -> list[int]:
        return [process.pid for process in self._running]

    def start(self) -> float:
        """Start them; return the seconds until every task has its rows."""
        started = time.monotonic()
        command = [sys.executable, "-m", "faust", "-A", "streams.app", "worker", "--without-web", "-l", "error"]
        with self._log.open("wb") as log:
            self._running = [subprocess.Popen(command, stdout=log, stderr=log) for _ in range(self._point.workers)]
        _until(lambda: all_open(self._log, STAGES * self._point.partitions), "the workers did not open their tasks")
        return time.monotonic() - started

    def kill(self) -> None:
        """End them as a crash would."""
        for process in self._running:
            process.send_signal(signal.SIGKILL)
            process.wait()


def _until(is_so: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not is_so():
        if time.monotonic() > deadline:
            raise click.ClickException(f"{otherwise} within {PATIENCE_S:.0f} s")
        time.sleep(LOOK_S)


def until_quiet(meter: LagMeter) -> float:
    """Wait until every stage has read everything; return when the last outcome was committed (monotonic s)."""
    before: Look | None = None
    decided = moved = time.monotonic()
    while True:
        look, now = meter.look(), time.monotonic()
        if before is None or _outcomes(look) != _outcomes(before):
            decided = now
        if before is None or look.ends != before.ends or look.positions != before.positions:
            moved = now
        if look.is_quiet_after(before):
            return decided
        if now - moved > PATIENCE_S:
            raise click.ClickException(f"nothing moved for {PATIENCE_S:.0f} s")
        before = look
        time.sleep(LOOK_S)


def _outcomes(look: Look) -> int:
    return sum(end.stable for place, end in look.ends.items() if place.topic.endswith(ORDER_OUTCOMES.name))


@contextmanager
def shop(point: Point, kafka: str) -> Iterator[str]:
    """Topics of their own; yields their prefix."""
    prefix = f"growth{time.time_ns() // 1_000_000}."
    os.environ.update(HOLDFAST_KAFKA=kafka, HOLDFAST_TOPIC_PREFIX=prefix, HOLDFAST_PARTITIONS=str(point.partitions))
    settings.cache_clear()
    create(kafka, prefix, point.partitions)
    try:
        yield prefix
    finally:
        topics.remove(kafka, prefix)


def measure(point: Point, orders: int, per: Servers) -> dict[str, Any]:
    """Measure one point: CPU of the workers and of the broker per order, memory, the time to come back after a kill."""
    with shop(point, per.kafka) as prefix, tempfile.TemporaryDirectory() as folder, closing(LagMeter(per.kafka, prefix, READERS[:STAGES])) as meter:
        workers = Workers(point, Path(folder) / "log")
        try:
            workers.start()
            return _measured(point, orders, per, prefix, workers, meter)
        finally:
            workers.kill()


def _measured(point: Point, orders: int, per: Servers, prefix: str, workers: Workers, meter: LagMeter) -> dict[str, Any]:
    producer = topics.new_producer(per.kafka)
    send(producer, STOCK_COMMANDS.named(prefix), restocks(point.products, point.partitions))
    until_quiet(meter)
    topic = ORDERS.named(prefix)
    send(producer, topic, columnar(order_lines(point, point.open_orders, 2, 1), point.partitions))
    until_quiet(meter)
    kafka, resident, started = per.pids_of("kafka"), peak_mb(workers.pids), time.monotonic()
    before, kafka_before = cpu_seconds(workers.pids), cpu_seconds(kafka)
    send(producer, topic, columnar(order_lines(point, orders, point.lines, point.lines), point.partitions))
    decided = until_quiet(meter)
    found = {
        "per_s": round(orders / (decided - started)),
        "worker_us": round((cpu_seconds(workers.pids) - before) / orders * 1e6, 1),
        "kafka_us": round((cpu_seconds(kafka) - kafka_before) / orders * 1e6, 1),
        "mb_before": round(resident),
        "peak_mb": round(peak_mb(workers.pids)),
    }
    workers.kill()
    return {**asdict(point), "value": point.value, "orders": orders, **found, "recovery_s": round(workers.start(), 1)}


# -- the whole path --------------------------------------------------------------------------------------------------------


def whole_path(orders: int, data: Path) -> dict[str, Any]:
    """Run the whole path on single lines and on a real file; return what each process cost per line."""
    done = {}
    for name, arguments in {"single_lines": ["--orders", str(orders)], "real_file": ["--file", str(data)]}.items():
        command = [sys.executable, "-m", "bench.whole_path", *arguments]
        said = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.decode()
        done[name] = json.loads(said.strip().splitlines()[-1])
    return done


def run(wanted: Sequence[Point], orders: int, found: dict[str, Any], save: Callable[[], None]) -> None:
    """Measure what is not there yet; each point is kept as soon as it is known."""
    missing = [point for point in wanted if not any(p["axis"] == point.axis and p["value"] == point.value for p in found["points"])]
    if not missing:
        return
    with servers() as per:
        for i, point in enumerate(missing, 1):
            click.echo(f"[{i}/{len(missing)}] {point.axis} {point.value:,} ... ", err=True, nl=False)
            found["points"].append(measure(point, max(2_000, orders // point.lines), per))
            save()
            click.echo(json.dumps(found["points"][-1]), err=True)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, type=click.Choice([*AXES, WHOLE_PATH]), help="Only these axes.")
@click.option("--orders", type=click.IntRange(2_000), default=60_000, show_default=True, help="Lines per point.")
@click.option("--most", type=click.IntRange(1), default=1_000_000, show_default=True, help="Leave out the points beyond this.")
@click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=SAMPLE, help="The real file.")
@click.option("--resume", is_flag=True, help="Keep what earlier calls measured.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), default=RESULTS, show_default=True)
@click.option("--page/--no-page", default=False, help="Write docs/capacity.md from all that is known.")
@click.option("--json", "as_json", is_flag=True, help="Print everything as one JSON object at the end.")
def main(only: tuple[str, ...], orders: int, most: int, data: Path, resume: bool, output: Path, page: bool, as_json: bool) -> None:
    """Measure what an order costs as the work grows, and make the capacity model of it."""
    earlier = json.loads(output.read_text()) if resume and output.exists() else {}
    found: dict[str, Any] = {"machine": machine(), "points": [], **earlier}

    def save() -> None:
        output.write_text(json.dumps(found, indent=1) + "\n")

    run(points(only, most), orders, found, save)
    if not only or WHOLE_PATH in only:
        found[WHOLE_PATH] = whole_path(orders, data)
        save()
    if page:
        PAGE.write_text(capacity.page(found))
    click.echo(json.dumps(found) if as_json else capacity.growth_table(found["points"]))


if __name__ == "__main__":
    main()
