"""`holdfast replay stores | shadow`: the log taken again, beside what is live."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from holdfast.commands.history import safe
from holdfast.commands.load import Share
from holdfast.commands.topics import kafka
from holdfast.shadow.diff import Diff
from holdfast.shadow.picture import svg
from holdfast.shadow.rules import POLICIES, Rules
from holdfast.stack.endpoints import endpoints
from holdfast.times import Time
from holdfast.topics import in_use
from ingest.errors import IngestError
from ingest.lookups import parse_order_id, parse_product_id

if TYPE_CHECKING:
    from sinks.rebuild.part import Listener
    from sinks.rebuild.run import Report

SHOWN = 20
"""Orders that a person is shown; a program gets more."""


@click.group("replay")
def replay() -> None:
    """Take the log again: to fill the stores anew, or to see what other rules would have decided. Nothing live is decided, charged or told again."""


@replay.command("stores")
@click.option("--mysql", "mysql", is_flag=True, help="MySQL alone, with its shards.")
@click.option("--redis", "redis", is_flag=True, help="Redis alone. By default both.")
@click.option("--product", metavar="ID", help="One product's row.")
@click.option("--order", metavar="ID", help="One order's row and its lines.")
@click.option("--from", "since", type=Time(), help="What changed from this time on (2026-11-24T09:30, UTC unless it says otherwise).")
@click.option("--to", "until", type=Time(), help="What changed before this time.")
@click.option("--check", "check", is_flag=True, help="Compare and change nothing; so it is without --swap, too.")
@click.option("--swap", "swap", is_flag=True, help="Then put the rebuilt rows in the place of the live ones.")
@click.option("--json", "as_json", is_flag=True, help='Print {"rows", "differences", "rows_per_s", "changed", "missing", "extra", "stores", "swapped", ...}.')
def stores_command(
    *, mysql: bool, redis: bool, product: str | None, order: str | None, since: int | None, until: int | None, check: bool, swap: bool, as_json: bool
) -> None:
    """Rebuild MySQL and Redis from the log beside the live rows, compare row by row, and swap.

    Without an ID or a time everything is rebuilt. The sinks, the gateways and every reader go on meanwhile. MySQL gets a database
    DATABASE_rebuild on the same server, Redis keys that begin with `rebuild:`; both are removed at the end. A rebuild of everything that was killed goes on
    where it was when it is run again; a smaller one begins anew. Needs HOLDFAST_KAFKA, HOLDFAST_MYSQL and HOLDFAST_REDIS, or a running stack.

    Exit code: 0 if nothing differed or everything was swapped, 1 if rows differ (or it could not be done), 2 for a flag that cannot be used.
    """
    if check and swap:
        raise click.UsageError("--check changes nothing, --swap does: give one of them")
    chosen = _selection(product, order, since, until)
    stores = [name for name, wanted in (("mysql", mysql), ("redis", redis)) if wanted] or ["mysql", "redis"]
    report = _rebuilt(stores, chosen, swap=swap)
    if as_json:
        click.echo(json.dumps(report.document()))
    else:
        _print(report)
    sys.exit(0 if swap or not report.differences.total else 1)


@replay.command("shadow")
@click.option("--from", "since", type=Time(), help="The other rules are for orders whose first line was decided from this time on, and those are compared.")
@click.option("--to", "until", type=Time(), help="... and before this time.")
@click.option("--opening-stock", type=Share(), help="Each product's stock before its first order, as a share of what all orders ask of it.")
@click.option(
    "--refusal-policy", type=click.Choice(POLICIES), default=POLICIES[0], show_default=True, help="drop-lines: an order goes on without its refused lines."
)
@click.option(
    "--decline-rate", type=click.FloatRange(0, 1), help="Share of the orders whose payment the sandbox declines; by default each is answered as it was."
)
@click.option("--code", metavar="DIR|VERSION", help="Decide by the packages streams and schemas of a folder, or of a version that git knows.")
@click.option("--prefix", help="Of the shadow's topics; by default one that the same options give again.")
@click.option("--keep", is_flag=True, help="Leave the shadow's topics; `holdfast history` and `audit` read them with HOLDFAST_TOPIC_PREFIX.")
@click.option("--picture", type=click.Path(path_type=Path, dir_okay=False), help="Write the difference as an SVG.")
@click.option("--json", "as_json", is_flag=True, help='Print {"orders", "different", "decisions", "moves", "units", "revenue", "named", "prefix", "rules"}.')
def shadow_command(
    *,
    since: int | None,
    until: int | None,
    opening_stock: Decimal | None,
    refusal_policy: str,
    decline_rate: float | None,
    code: str | None,
    prefix: str | None,
    keep: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Decide the log again by other rules or another version of the code, and show what would have ended differently.

    The agents' own code takes everything that the live agents took, in the order in which they took it, and writes to topics of its own.
    It knows neither stores nor webhooks nor any payment provider but the sandbox. Without options nothing may differ. A run that was killed goes on
    when it is run again. Needs HOLDFAST_KAFKA, or a running stack; HOLDFAST_ORDER_TIMEOUT and HOLDFAST_ORDER_RETENTION as the workers have them.
    """
    from holdfast.shadow.run import default_prefix, shadow

    if since is not None and until is not None and since >= until:
        raise click.UsageError("--from must be before --to")
    timeout = round(float(os.environ.get("HOLDFAST_ORDER_TIMEOUT") or 900) * 1000)
    retention = round(float(os.environ.get("HOLDFAST_ORDER_RETENTION") or 0) * 1000)
    rules = Rules(None if opening_stock is None else str(opening_stock), refusal_policy, decline_rate, since, until, timeout, retention)
    live = in_use(kafka()).prefixes
    chosen = prefix or default_prefix(live, rules, code)
    with bars() as listen:
        diff = shadow(kafka(), live, chosen, rules, code, listen, keep=keep)
    if picture is not None:
        picture.write_text(svg(diff, rules.document()))
    if as_json:
        click.echo(json.dumps({**diff.document(), "prefix": chosen if keep else None, "rules": rules.document()}))
    else:
        _print_diff(diff, chosen if keep else "")


def _print_diff(diff: Diff, prefix: str) -> None:
    console = Console()
    table = Table("", "was", "would have been", "difference", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, (was, would) in diff.decisions().items():
        table.add_row(name.lower().replace("_", " "), f"{was:,}", f"{would:,}", f"{would - was:+,}")
    table.add_row("units kept", *(f"{units:,}" for units in diff.units), f"{diff.units[1] - diff.units[0]:+,}")
    for currency, (was, would) in sorted(diff.revenue.items()):
        table.add_row(f"revenue {safe(currency)}", f"{was / 100:,.2f}", f"{would / 100:,.2f}", f"{(would - was) / 100:+,.2f}")
    console.print(table)
    for order_id, before, after in diff.named[:SHOWN]:
        ends = " -> ".join(f"{end.status} ({end.units:,} units, {end.revenue / 100:,.2f} {safe(end.currency)})" for end in (before, after))
        console.print(f"order {order_id}: {ends}", highlight=False, soft_wrap=True)
    if diff.different > SHOWN:
        console.print(f"... and {diff.different - SHOWN:,} more (--json names {len(diff.named):,})", highlight=False)
    console.print(f"{diff.different:,} of {diff.orders:,} orders would have ended differently", highlight=False)
    if prefix:
        console.print(f"the shadow's topics begin with {prefix}", highlight=False)


def _selection(product: str | None, order: str | None, since: int | None, until: int | None) -> Any:
    from sinks.rebuild.selection import Selection

    if (product is not None) + (order is not None) + (since is not None or until is not None) > 1:
        raise click.UsageError("--product, --order and a time are three ways to choose: give one of them")
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--from must be before --to")
    try:
        return Selection(None if product is None else parse_product_id(product), None if order is None else parse_order_id(order), since, until)
    except IngestError as error:
        raise click.UsageError(str(error)) from error


def _rebuilt(stores: list[str], chosen: Any, *, swap: bool) -> Report:
    from sinks.config import settings
    from sinks.errors import NotNowError, SinkError
    from sinks.rebuild.run import rebuild

    at = endpoints()
    try:
        with bars() as listen:
            return rebuild(settings(kafka=at.kafka, mysql=at.mysql, redis=at.redis), stores, chosen, listen, swap=swap)
    except (SinkError, NotNowError) as error:
        raise click.ClickException(str(error)) from error


@contextmanager
def bars() -> Iterator[Listener]:
    """One bar per phase on a terminal; elsewhere one line per phase and tenth. Yields what is told (phase, done, of how much)."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        tasks: dict[str, TaskID] = {}
        said: dict[str, int] = {}

        def listen(phase: str, done: int, total: int) -> None:
            if phase not in tasks:
                tasks[phase] = progress.add_task(phase, total=total or None)
            progress.update(tasks[phase], completed=done, total=total or None)
            tenth = 10 * done // max(total, 1)
            if progress.disable and tenth > said.get(phase, -1):
                said[phase] = tenth if total else sys.maxsize
                console.print(f"{phase}: {done:,} of {total:,}" if total else phase, highlight=False)

        yield listen


def _print(report: Report) -> None:
    console, found = Console(), report.differences
    table = Table("rebuilt", "rows", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for name, rows in report.rows_by_part.items():
        table.add_row(name, f"{rows:,}")
    console.print(table)
    console.print(f"{report.rows:,} rows of {safe(report.selection)} in {report.seconds:.1f} s: {report.rows_per_s:,} rows/s", highlight=False)
    for what, where, key in found.named:
        console.print(f"{what}: {where} {safe(key)}", highlight=False)
    console.print(
        f"{found.total:,} differences: {found.of('changed'):,} changed, {found.of('missing'):,} missing, {found.of('extra'):,} not in the log", highlight=False
    )
    if report.older:
        console.print(f"{report.older:,} rows were not compared: the log's beginning, on which they hang, was deleted", highlight=False)
    if report.behind:
        console.print(f"the live stores were {report.behind:,} records behind and did not move: do the sinks run?", highlight=False)
    console.print("swapped: the live rows are the rebuilt ones" if report.swapped else "nothing was swapped", highlight=False)
