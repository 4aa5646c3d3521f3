"""`holdfast repartition`."""

from __future__ import annotations

import json

import click
from rich.console import Console

import failpoints
from generations import History
from holdfast.commands.topics import kafka
from holdfast.repartition.change import Done, Repartition
from holdfast.stack.errors import StackError
from holdfast.topics import counted, in_use, prefix_of


@click.command()
@click.option("--to", "partitions", type=click.IntRange(1, 1024), help="How many partitions each topic is to have.")
@click.option("--cancel", is_flag=True, help="Give a change up that is under way: the shop goes on as before.")
@click.option("--drain", type=click.FloatRange(min=1), default=120.0, show_default=True, help="Seconds that reading what is under way may take.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done, or without --to how things stand, as one JSON object.")
def repartition(partitions: int | None, cancel: bool, drain: float, as_json: bool) -> None:
    """Change the number of partitions of a running shop; without --to and --cancel, show how things stand.

    Orders and commands are refused for some seconds ("not now": the gateway answers 503 with Retry-After), everything that is under
    way is read to its end, new topics are filled with the rows of the old ones and read back, and everybody goes on there. Killed
    at any step, it goes on when run again. The old topics stay: they are the history that the audit reads. Workers have to run.
    """
    if partitions is not None and cancel:
        raise click.UsageError("--to and --cancel: choose one of the two")
    try:
        failpoints.arm_from_environment()
        if partitions is None and not cancel:
            _tell(in_use(kafka()), as_json)
        else:
            _change(partitions, drain, as_json)
    except (StackError, failpoints.FailpointsError) as error:
        raise click.ClickException(str(error)) from error


def _change(partitions: int | None, drain: float, as_json: bool) -> None:
    with Console(stderr=True).status("looking how things stand") as line:

        def progress(what: str, rows: int) -> None:
            line.update(f"{what}, {rows:,}" if rows else what)

        change = Repartition(kafka(), prefix_of(), progress, drain)
        done = change.run(partitions) if partitions is not None else change.cancel()
    if isinstance(done, Done):
        click.echo(json.dumps(done.document()) if as_json else _sentence(done))
    else:
        click.echo(json.dumps({"cancelled": done}) if as_json else "cancelled: the shop goes on as before" if done else "no change was under way")


def _sentence(done: Done) -> str:
    return f"{done.partitions_before} -> {done.partitions} partitions (generation {done.generation}): {done.rows:,} rows, {done.paused_s:.1f} s"


def _tell(history: History, as_json: bool) -> None:
    moving = history.moving
    document = {
        "generation": history.number,
        "partitions": counted(history),
        "topic_prefix": history.prefix,
        "changing": moving and {"generation": moving.generation, "to": moving.partitions, "step": moving.step.value},
    }
    if as_json:
        click.echo(json.dumps(document))
        return
    click.echo(f"generation {history.number}, {counted(history)} partitions, topics {history.prefix}...")
    if moving:
        click.echo(
            f"under way to {moving.partitions} partitions, step {moving.step}: `holdfast repartition --to {moving.partitions}` goes on, --cancel gives up"
        )
