"""`holdfast audit`: checks every promise from the topics and the stores."""

import json
import os
import sys
from typing import NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from holdfast import audit as auditor
from holdfast.commands.topics import kafka
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import StackError

CANNOT_CHECK = 2


@click.command()
@click.option("--json", "as_json", is_flag=True, help='Print {"ok", "promises": {"I1": {"checked", "violations"}, ...}, "violations", "seconds", "notes"}.')
@click.option("--live", is_flag=True, help="The system is at work: allow what is under way (undecided orders, unanswered lines, stores behind).")
@click.option("--no-stores", is_flag=True, help="Check the topics alone, without MySQL and Redis (not I6).")
@click.option("--progress", "shows_progress", is_flag=True, help="Show progress also where standard error is no terminal.")
def audit(as_json: bool, live: bool, no_stores: bool, shows_progress: bool) -> None:
    """Check that nothing was oversold, lost or answered twice.

    Reads every topic from its start, and the stores, and checks the promises I1 to I7 by a fold of its own. HOLDFAST_KAFKA,
    HOLDFAST_MYSQL and HOLDFAST_REDIS say where (else the running stack), HOLDFAST_TOPIC_PREFIX goes before every topic name.

    Exit 0: clean. Exit 1: violations, each named with topic, partition and offset. Exit 2: it could not be checked.
    """
    try:
        report = _run(live=live, no_stores=no_stores, shows_progress=shows_progress or sys.stderr.isatty())
    except (auditor.CannotCheckError, StackError) as error:
        _give_up(str(error), as_json=as_json)
    click.echo(json.dumps(report.to_json()) if as_json else report.text())
    raise SystemExit(0 if report.ok else 1)


def _give_up(why: str, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"ok": None, "error": why}))
    click.echo(f"Error: {why}", err=True)
    raise SystemExit(CANNOT_CHECK)


def _run(*, live: bool, no_stores: bool, shows_progress: bool) -> auditor.Report:
    stores = None if no_stores else endpoints()
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TextColumn("{task.completed:,.0f}"), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not shows_progress) as bar:
        task = bar.add_task("starting", total=None)

        def show(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        return auditor.run(
            kafka=stores.kafka if stores else kafka(),
            mysql_url=stores.mysql if stores else None,
            redis_url=stores.redis if stores else None,
            prefix=os.environ.get("HOLDFAST_TOPIC_PREFIX", ""),
            live=live,
            progress=show,
        )
