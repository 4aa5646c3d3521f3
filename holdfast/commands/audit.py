"""`holdfast audit`: checks every promise from the topics and the stores."""

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from holdfast import audit as auditor
from holdfast.commands.topics import kafka
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import StackError
from holdfast.times import Time
from schemas.shards import VARIABLE, shard_urls

CANNOT_CHECK = 2


@click.command()
@click.option("--json", "as_json", is_flag=True, help='Print {"ok", "promises": {"I1": {"checked", "violations"}, ...}, "violations", "seconds", "notes"}.')
@click.option("--live", is_flag=True, help="The system is at work: allow what is under way (undecided orders, unanswered lines, stores behind).")
@click.option("--no-stores", is_flag=True, help="Check the topics alone, without MySQL and Redis (not I6).")
@click.option(
    "--journal",
    "journals",
    multiple=True,
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="A client's journal: what it was acknowledged must be in the log, and decided. May be given again.",
)
@click.option("--journal-complete", "complete", is_flag=True, help="The journals are all there are: what none of them sent must not be in the log.")
@click.option(
    "--since", type=Time(), help="Where the brokers have deleted the log's beginning: all that is later is there (for partitions that are empty now)."
)
@click.option("--progress", "shows_progress", is_flag=True, help="Show progress also where standard error is no terminal.")
def audit(as_json: bool, live: bool, no_stores: bool, journals: Sequence[Path], complete: bool, since: int | None, shows_progress: bool) -> None:
    """Check that nothing was oversold, lost or answered twice.

    Reads every topic from its start, and the stores, and checks the promises I1 to I7 by a fold of its own. HOLDFAST_KAFKA,
    HOLDFAST_MYSQL and HOLDFAST_REDIS say where (else the running stack), HOLDFAST_MYSQL_SHARDS where the order lines are;
    HOLDFAST_TOPIC_PREFIX goes before every topic name.

    A journal has one JSON object a line: what a client is about to send, on the disk before it is sent, and what the brokers
    said they hold. What was sent and not acknowledged may be in the log or not; a last line that breaks off counts as not
    written; other fields are passed over. Lines are [line, product_id, quantity].

    \b
      {"send": {"order_id": "123", "lines": [[1, "p7", 2], [2, "p9", 1]]}}
      {"ack": {"order_id": "123", "lines": [1, 2]}}
      {"send": {"command_id": "cancel-123", "kind": "CANCEL", "order_id": "123"}}
      {"send": {"command_id": "receipt-1", "kind": "RESTOCK", "product_id": "p7"}}
      {"ack": {"command_id": "cancel-123"}}

    Where the brokers have deleted the log's beginning, products and orders that began there are taken as the stages' rows have them,
    and checked from then on; "notes" say what could not be.

    Exit 0: clean. Exit 1: violations, each named with topic, partition and offset. Exit 2: it could not be checked.
    """
    if complete and (live or not journals):
        raise click.UsageError("--journal-complete needs every client's --journal, and clients that have ended: it does not go with --live")
    wanted = {"journals": journals, "live": live, "complete": complete, "since": since or 0}
    try:
        report = _run(wanted, no_stores=no_stores, shows_progress=shows_progress or sys.stderr.isatty())
    except (auditor.CannotCheckError, StackError) as error:
        _give_up(str(error), as_json=as_json)
    click.echo(json.dumps(report.to_json()) if as_json else report.text())
    raise SystemExit(0 if report.ok else 1)


def _give_up(why: str, *, as_json: bool) -> NoReturn:
    if as_json:
        click.echo(json.dumps({"ok": None, "error": why}))
    click.echo(f"Error: {why}", err=True)
    raise SystemExit(CANNOT_CHECK)


def _shards() -> tuple[str, ...]:
    try:
        return shard_urls(os.environ.get(VARIABLE, ""))
    except ValueError as error:
        raise auditor.CannotCheckError(str(error)) from error


def _run(wanted: dict[str, Any], *, no_stores: bool, shows_progress: bool) -> auditor.Report:
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
            shards=_shards(),
            prefix=os.environ.get("HOLDFAST_TOPIC_PREFIX", ""),
            progress=show,
            **wanted,
        )
