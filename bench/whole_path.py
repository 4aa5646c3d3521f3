"""The whole path: loader, stock, orders, payments, MySQL and Redis, every process on this machine.

    python -m bench.whole_path --file FILE | --orders 1000000

Brings up a stack of its own and removes it. From the brokers' offsets alone: `accepted` when the last order line is in the log, `decided` when
the last outcome is committed, `persisted` when both sinks have committed past the last outcome and level; all counted from the first order line.
"""

from __future__ import annotations

import csv
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from bench.processes import cpu_seconds
from bench.servers import end_politely, holdfast
from bench.work import MIXES, Work, quantity
from holdfast.lag import LagMeter, Look
from holdfast.stack.endpoints import endpoints
from holdfast.stack.home import CACHE_VARIABLE, HOME_VARIABLE, Home
from schemas.topics import ORDER_OUTCOMES, ORDERS, Topic

LOOK_S = 0.25
PATIENCE_S = 300.0
HEADER = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")


def write_orders(path: Path, orders: int) -> None:
    """Write single-line orders, uniform over 1,000 products, as the shop's CSV."""
    with path.open("w", newline="") as out:
        rows = csv.writer(out)
        rows.writerow(HEADER)
        for i, product in enumerate(Work(MIXES["uniform"], orders).products()):
            rows.writerow((str(1_000_000 + i), f"P{product}", "ITEM", quantity(i), "2010-12-01T08:26:00", "2.55", str(10_000 + i % 5_000), "United Kingdom"))


@contextmanager
def stack(partitions: int) -> Iterator[None]:
    """Run a stack of its own with one worker, in a folder that is removed in the end."""
    end_politely()
    cache = Home.from_environment().cache
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        for name in ("HOLDFAST_KAFKA", "HOLDFAST_MYSQL", "HOLDFAST_REDIS"):
            os.environ.pop(name, None)
        os.environ.update({CACHE_VARIABLE: str(cache), HOME_VARIABLE: folder, "HOLDFAST_PARTITIONS": str(partitions)})
        holdfast("up", "--workers", "1")
        try:
            yield
        finally:
            holdfast("down", "--wipe")


@dataclass
class Moments:
    """When each thing last moved, in s of the monotonic clock."""

    first: float | None = None
    accepted: float = 0.0
    decided: float = 0.0
    persisted: float = 0.0
    earlier: Look | None = None

    def see(self, look: Look, now: float) -> None:
        """Take one look at the pipeline."""
        before, self.earlier = self.earlier, look
        if before is None:
            return
        if _written(before, ORDERS) != _written(look, ORDERS):
            self.first, self.accepted = self.first or now, now
        if _written(before, ORDER_OUTCOMES) != _written(look, ORDER_OUTCOMES):
            self.decided = now
        if before.positions != look.positions:
            self.persisted = now

    def of(self, lines: int) -> dict[str, float]:
        """Return rates per second and the time from the last order accepted to the last row persisted."""
        assert self.first is not None
        ends = {"accepted_per_s": self.accepted, "decided_per_s": self.decided, "per_s": self.persisted}
        rates = {name: round(lines / (end - self.first)) for name, end in ends.items() if end > self.first}
        return {**rates, "seconds": round(self.persisted - self.first, 2), "drain_s": round(self.persisted - self.accepted, 2)}


def _written(look: Look, topic: Topic) -> int:
    return sum(end.stable for place, end in look.ends.items() if place.topic == topic.name)


def follow(load: subprocess.Popen[bytes]) -> Moments:
    """Look until the load has ended and nothing is under way."""
    moments, quiet_since = Moments(), time.monotonic()
    with closing(LagMeter(endpoints().kafka)) as meter:
        while True:
            before = moments.earlier
            look, now = meter.look(), time.monotonic()
            moments.see(look, now)
            if before is None or look.ends != before.ends or look.positions != before.positions:
                quiet_since = now
            if load.poll() is not None and look.is_quiet_after(before):
                return moments
            if now - quiet_since > PATIENCE_S:
                raise click.ClickException(f"nothing moved for {PATIENCE_S:.0f} s")
            time.sleep(LOOK_S)


def used() -> dict[str, float]:
    """Return the CPU seconds (user and system) that each process of the stack has used, and `clients` those of the programs that ended here."""
    running = {each["name"]: cpu_seconds([int(each["pid"])]) for each in json.loads(holdfast("status", "--json"))["processes"]}
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {**running, "clients": ended.ru_utime + ended.ru_stime}


def cost(before: Mapping[str, float], after: Mapping[str, float], lines: int) -> dict[str, dict[str, float]]:
    """Return the CPU microseconds per order line of each process between two calls of `used`."""
    found = {name: round((seconds - before.get(name, 0.0)) / lines * 1e6, 1) for name, seconds in after.items()}
    return {"cpu_us_per_line": {**found, "all": round(sum(found.values()), 1)}}


def loaded(path: Path) -> dict[str, Any]:
    """Load a file of single-line orders into a running stack; returns its rates and what they cost."""
    before = used()
    said, moments = watched("load", str(path))
    return {**moments.of(said["lines"]), "lines": said["lines"], **cost(before, used(), said["lines"])}


def shown(path: Path) -> dict[str, Any]:
    """Run a real file through the whole pipeline, its returns and the warehouse too, and the audit after it.

    Returns what the demo saw (`per_s`: lines decided in the time from its first record sent to the last row stored) and what the offsets said meanwhile.
    """
    before = used()
    said, moments = watched("demo", "--data", str(path))
    rates = {**moments.of(said["lines"]), "per_s": said["lines_per_s"], "seconds": said["seconds"], "lines": said["lines"], "violations": said["violations"]}
    rates["lines_per_order"] = round(said["lines"] / said["orders"], 2)
    return {**rates, **cost(before, used(), said["lines"])}


def watched(*words: str) -> tuple[dict[str, Any], Moments]:
    """Run a `holdfast` command that loads something; return what it says in the end, and when things moved meanwhile."""
    load = subprocess.Popen([sys.executable, "-m", "holdfast", *words, "--json"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    moments = follow(load)
    if load.returncode:
        raise click.ClickException(f"`holdfast {words[0]}` ended with exit code {load.returncode}")
    assert load.stdout is not None
    found: dict[str, Any] = json.loads(load.stdout.read().decode().strip().splitlines()[-1])
    return found, moments


@click.command()
@click.option("--file", "path", type=click.Path(path_type=Path, exists=True, dir_okay=False), help="An Online Retail CSV file.")
@click.option("--orders", default=1_000_000, show_default=True, help="Single-line orders, without --file.")
@click.option("--partitions", default=8, show_default=True)
def main(path: Path | None, orders: int, partitions: int) -> None:
    """Measure and print one JSON object."""
    with stack(partitions):
        if path:
            click.echo(json.dumps(shown(path)))
            return
        made = Home.from_environment().root / "orders.csv"
        write_orders(made, orders)
        click.echo(json.dumps(loaded(made)))


if __name__ == "__main__":
    main()
