"""`holdfast backfill in | out`: history from another system, and outcomes for analysts."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from holdfast.commands.load import Bars, bar_of, ended_politely, servers
from holdfast.commands.topics import kafka
from holdfast.export.files import FORMATS, written
from holdfast.export.outcomes import decided_between
from holdfast.export.table import TABLES, rows_of
from holdfast.times import Time, shown
from holdfast.topics import in_use
from ingest.history.run import Report, Wish, dry_run
from ingest.history.run import backfill as send

_PHASES = {"reading": "reading the source", "sending": "sending", "outcomes": "reading order.outcomes"}
_ORDERS_AT_ONCE = 10_000


@click.group()
def backfill() -> None:
    """Bring another system's history in, and outcomes out. docs/backfill.md"""


@backfill.command("in")
@click.argument("where", metavar="SOURCE")
@click.option("--map", "map_path", type=click.Path(path_type=Path), required=True, help="A TOML file: which column is which field. docs/backfill.md")
@click.option(
    "--as",
    "mode",
    type=click.Choice(("decided", "live")),
    default="decided",
    show_default=True,
    help="History that was decided there, or orders to decide here.",
)
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Rows per second at most.")
@click.option("--dry-run", "dry", is_flag=True, help="Count and show the first errors; nothing is sent.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def in_command(*, where: str, map_path: Path, mode: str, rate: float | None, dry: bool, as_json: bool) -> None:
    """Take in SOURCE: a CSV file (plain, .gz, .xz), an Avro or Parquet file, or env:NAME, a variable with a database's mysql:// URL.

    Each row is one line of an order; rows of one order stand next to each other. With `--as decided` an order is published as it was
    decided there: it is in the stores and the histories, and nothing is held, charged or notified. With `--as live` its lines are decided
    here like any other's. An order that cannot be taken goes to the dead letters, all its rows, each with row and reason.

    A run that was killed goes on where the brokers had everything, and one that is done sends nothing when run again. The exit code is 2
    for a map, file or flag that cannot be used, 1 if it stopped on the way.
    """
    with ended_politely("it"):
        report = _run(Wish(map_path, where, mode == "decided", rate), dry)
    click.echo(json.dumps({**report.as_dict(), "dry_run": dry}) if as_json else _said(report, dry))


@backfill.command("out")
@click.option("--from", "start", type=Time(), required=True, help="Orders decided from this time on (2026-11-24T09:30, UTC unless it says otherwise).")
@click.option("--to", "end", type=Time(), required=True, help="... and before this time.")
@click.option("--format", "kind", type=click.Choice(tuple(FORMATS)), default="parquet", show_default=True)
@click.option("--table", type=click.Choice(tuple(TABLES)), default="lines", show_default=True, help="A row for each line, or order.")
@click.option(
    "--out",
    "path",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    help="The file; there once it is whole.",
)
@click.option("--json", "as_json", is_flag=True, help='Print {"orders", "lines", "rows", "from", "to", "file", "bytes", "seconds"}.')
def out_command(*, start: int, end: int, kind: str, table: str, path: Path, as_json: bool) -> None:
    """Write the orders decided in a window, each as the log has it now, into a file for analysts.

    A row of the table `lines` has its order's columns, too. A file that is there is replaced once the new one is whole. Reads Kafka alone
    and disturbs nobody. Money is in minor units. Needs HOLDFAST_KAFKA, or a running stack.
    """
    if start >= end:
        raise click.UsageError("--from must be before --to")
    began = time.monotonic()
    console = Console(stderr=True)
    with bar_of(console) as progress:
        bars = Bars(progress, console, _PHASES)
        counts = _write(path, kind, table, decided_between(kafka(), in_use(kafka()).prefixes, start, end, lambda done, total: bars("outcomes", done, total)))
    report = {**counts, "from": shown(start), "to": shown(end), "file": str(path), "bytes": path.stat().st_size, "seconds": round(time.monotonic() - began, 3)}
    said = f"{counts['orders']:,} orders with {counts['lines']:,} lines, {counts['rows']:,} rows in {path} ({report['bytes']:,} bytes)"
    click.echo(json.dumps(report) if as_json else said)


def _write(path: Path, kind: str, table: str, orders: Iterator[dict[str, Any]]) -> Counter[str]:
    counts = Counter(orders=0, lines=0, rows=0)
    with written(path, kind, TABLES[table]) as out:
        while some := list(islice(orders, _ORDERS_AT_ONCE)):
            rows = [row for outcome in some for row in rows_of(outcome, table)]
            out.write(rows)
            counts.update(orders=len(some), lines=sum(len(outcome["lines"]) for outcome in some), rows=len(rows))
    return counts


def _run(wish: Wish, dry: bool) -> Report:
    console = Console(stderr=True)
    with bar_of(console) as progress:
        bars = Bars(progress, console, _PHASES)
        return dry_run(wish, bars) if dry else send(servers, wish, bars)


def _said(report: Report, dry: bool) -> str:
    counts = report.counts
    orders = f"{counts.orders:,} orders of {counts.lines:,} lines"
    found = f"{counts.rows:,} rows: {orders}, {counts.skipped:,} rows left out, {counts.dead_letters:,} to the dead letters"
    if dry:
        return "\n".join([found, *counts.errors, "dry run: nothing was sent"])
    if report.already_done:
        return f"source {report.source!r} is done: nothing was sent"
    after = f", after {report.resumed_at:,} rows of an earlier run" if report.resumed_at else ""
    return "\n".join([found, *counts.errors, f"{report.rows_sent:,} rows sent in {report.seconds:.1f} s{after}"])
