"""`holdfast reconcile`: what does not agree, and the commands that mend it."""

from __future__ import annotations

import json
import os
import sys

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from holdfast.reconcile.drift import Drift
from holdfast.reconcile.run import ReconcileError, apply, find, mends_of
from holdfast.stack.endpoints import endpoints
from holdfast.topics import prefix_of
from schemas.shards import VARIABLE, shard_urls


@click.command()
@click.option("--apply", "applies", is_flag=True, help="Send the commands. Each has an ID of its drift: sent twice it changes nothing.")
@click.option("--settle", "settle_s", type=click.FloatRange(min=0), default=5.0, show_default=True, help="Seconds between the two looks.")
@click.option("--json", "as_json", is_flag=True, help='Print {"drift": [{"kind", "where", "ids", "detail", "commands", "advice"}], "commands", "applied"}.')
def reconcile(applies: bool, settle_s: float, as_json: bool) -> None:
    """List what does not agree between log, saga rows, stock rows and stores, each with the command that mends it.

    Everything is read twice, and what is the same both times is drift; so it may run while orders flow. A store is never edited: units that
    no order is entitled to are released, units of a held line that its product does not count are held again, a product or order of which
    a store has an older, another or no row is said again by its agent, as a version of its own. What no command mends is listed with
    what to do instead. Run it again after --apply, once the sinks have caught up. The exit code is 1 while there is drift.
    """
    found = _find(settle_s)
    mends = mends_of(found)
    if applies and mends:
        apply(endpoints().kafka, prefix_of(), mends)
    if as_json:
        click.echo(json.dumps({"drift": [drift.document() for drift in found], "commands": len(mends), "applied": len(mends) if applies else 0}))
    else:
        _show(found, len(mends), applies=applies)
    sys.exit(1 if found else 0)


def _find(settle_s: float) -> list[Drift]:
    try:
        shards = shard_urls(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        raise ReconcileError(str(error)) from error
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=None)
        return find(
            endpoints(), prefix_of(), shards, settle_s, lambda what, done, total: bar.update(task, description=what, completed=done, total=total or None)
        )


def _show(found: list[Drift], mends: int, *, applies: bool) -> None:
    for drift in found:
        ids = " ".join(f"{name}={value}" for name, value in drift.ids.items())
        click.echo(f"{drift.kind}  {drift.where}  {ids}  {drift.detail}".rstrip())
        for mend in drift.mends:
            click.echo(f"  {mend}")
        if drift.advice:
            click.echo(f"  {drift.advice}")
    if not found:
        click.echo("log, rows and stores agree")
    else:
        click.echo(f"{len(found):,} drifts; {mends:,} commands {'were sent' if applies else 'mend what can be mended: --apply sends them'}")
