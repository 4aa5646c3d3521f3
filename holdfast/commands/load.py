"""`holdfast load`: a file of invoices into the log."""

import json
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal, InvalidOperation
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from holdfast.stack.endpoints import endpoints
from ingest.backfill import DEFAULT_SHARE, DEFAULT_SOURCE, Report, Wish, dry_run
from ingest.backfill import load as load_file
from ingest.config import IngestConfig, topic_prefix
from ingest.errors import ConfigError, FileError, IngestError

BAD_INPUT = 2
INTERRUPTED = 130
MAX_SHARE = 1_000
_PHASES = {
    "reading": "reading the file (bytes)",
    "opening": "opening stock (partitions)",
    "sending": "sending (rows)",
    "settling": "orders decided and shipped, before the returns",
}


class Share(click.ParamType):
    """A decimal number from 0."""

    name = "share"

    def convert(self, value: object, param: click.Parameter | None, ctx: click.Context | None) -> Decimal:
        """Return it exactly as written, which no float would."""
        try:
            share = Decimal(str(value))
        except InvalidOperation:
            self.fail(f"{value!r} is not a number such as 0.9", param, ctx)
        if not (share.is_finite() and 0 <= share <= MAX_SHARE):
            self.fail(f"{value!r} is not from 0 to {MAX_SHARE:,}", param, ctx)
        return share


class InputError(click.ClickException):
    """A file or flag that cannot be used."""

    exit_code = BAD_INPUT


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--opening-stock", type=Share(), help=f"Stock before the first order, as a share of what the file orders. By default {DEFAULT_SHARE}.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Rows per second at most.")
@click.option("--dry-run", "dry", is_flag=True, help="Count what would be sent; needs no server.")
@click.option("--source", default=DEFAULT_SOURCE, show_default=True, help="The data set's name: order IDs are bound to it and the invoice number.")
@click.option("--resend", is_flag=True, help="Send everything again, under the same IDs; the pipeline takes the duplicates back.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object at the end.")
def load(*, file: Path, opening_stock: Decimal | None, rate: float | None, dry: bool, source: str, resend: bool, as_json: bool) -> None:
    """Load an Online Retail CSV FILE (plain, .gz or .xz) into the topics.

    Invoices become orders, credit notes (C...) returns, the shop's own corrections write-offs and finds; what is none of
    these goes to the dead letters. Prices become pence, half a penny rounded up. Services and fees become untracked products;
    the other products get their opening stock first, and the load waits until the stock agent has taken it. The returns are sent
    last, once the orders are decided and, where a warehouse works, shipped: in the shop, months lay between an order and its return.

    Order IDs are bound to the invoice numbers, so a load that was killed goes on where the brokers had everything, and one that is
    done sends nothing when run again. The exit code is 2 for a file or flag that cannot be used, 1 if the load stopped on the way.
    """
    with ended_politely("the load"):
        report = _run(Wish(file, source, opening_stock, rate, resend), dry)
    _print(report, dry, as_json)


@contextmanager
def ended_politely(what: str) -> Iterator[None]:
    """Say what went wrong as a command does; take SIGTERM as Ctrl-C is taken: say that nothing is lost and how `what` goes on."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    except (FileError, ConfigError) as error:
        raise InputError(str(error)) from error
    except IngestError as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        click.echo(f"interrupted: run the same command again and {what} goes on", err=True)
        sys.exit(INTERRUPTED)
    finally:
        signal.signal(signal.SIGTERM, before)


def _run(wish: Wish, dry: bool) -> Report:
    console = Console(stderr=True)
    with bar_of(console) as progress:
        bars = Bars(progress, console, _PHASES)
        return dry_run(wish, bars) if dry else load_file(servers, wish, bars)


def bar_of(console: Console) -> Progress:
    """Return a progress bar with time passed and left; nothing without a terminal."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, disable=not console.is_terminal)


def servers() -> IngestConfig:
    """Return where the brokers and the database are."""
    at = endpoints()
    return IngestConfig(at.kafka, at.mysql, topic_prefix(os.environ))


class Bars:
    """One bar per phase, described in `phases`; without a terminal, one line per phase and tenth."""

    def __init__(self, progress: Progress, console: Console, phases: Mapping[str, str]) -> None:
        self._phases = phases
        self._progress = progress
        self._console = console
        self._tasks: dict[str, TaskID] = {}
        self._tenths: dict[str, int] = {}

    def __call__(self, phase: str, done: int, total: int) -> None:
        if phase not in self._tasks:
            self._tasks[phase] = self._progress.add_task(self._phases[phase], total=total)
        self._progress.update(self._tasks[phase], completed=done, total=total)
        tenth = 10 * done // max(total, 1)
        if self._progress.disable and tenth > self._tenths.get(phase, -1):
            self._tenths[phase] = tenth
            self._console.print(f"{self._phases[phase]}: {done:,} of {total:,}", highlight=False)


def _print(report: Report, dry: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({**report.as_dict(), "dry_run": dry}))
        return
    table = Table("of the file", "", box=None, pad_edge=False)
    for name, value in report.as_dict().items():
        if isinstance(value, int) and not isinstance(value, bool) and name not in {"rows_sent", "resumed_at"}:
            table.add_row(name.replace("_", " "), f"{value:,}")
    Console().print(table)
    click.echo(_sentence(report, dry))


def _sentence(report: Report, dry: bool) -> str:
    if dry:
        return "dry run: nothing was sent"
    if report.already_loaded:
        return f"already loaded as {report.source!r}: nothing was sent (--resend sends everything again, under the same IDs)"
    after = f", after {report.resumed_at:,} rows of an earlier run" if report.resumed_at else ""
    return f"{report.rows_sent:,} rows sent in {report.seconds:.1f} s{after}"
