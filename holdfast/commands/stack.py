"""`holdfast up | down | status`."""

import json
import sys
import time
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from holdfast.stack import lifecycle
from holdfast.stack.errors import StackError
from holdfast.stack.home import Home
from holdfast.stack.rows import rows_by_stage
from holdfast.stack.status import StackStatus, in_ranges, stack_status

NOTHING_RUNS = 3


@click.command()
@click.option("--workers", type=click.IntRange(min=0), help="Worker processes. By default as many as run now, or one.")
@click.option("--gateways", type=click.IntRange(min=0), help="Gateway processes, at one address. By default as many as run now, or one.")
@click.option(
    "--brokers",
    type=click.Choice(["1", "3"]),
    help="Kafka brokers; 3 may lose one of them. Fixed at the first start: one.",
)
@click.option("--servers-only", is_flag=True, help="Start Kafka, MariaDB and Redis, and nothing of the pipeline.")
def up(workers: int | None, gateways: int | None, brokers: str | None, servers_only: bool) -> None:
    """Start the stack, or what is missing of it, and return when all of it is healthy.

    The servers keep their data in HOLDFAST_HOME (by default .holdfast in the project). A server whose endpoint is in
    HOLDFAST_KAFKA (host:port), HOLDFAST_MYSQL (mysql://user:password@host:port/database) or HOLDFAST_REDIS
    (redis://host:port/0) is used where it is, not started.

    With --brokers 3 each record is on three brokers and acknowledged by two of them at least: one may die, and nothing halts.

    The gateways listen on a port that is chosen once and kept (`holdfast status` names it), or on HOLDFAST_GATEWAY_HOST and
    HOLDFAST_GATEWAY_PORT.
    """
    if servers_only and (workers or gateways):
        raise click.UsageError("--servers-only starts no workers and no gateways: leave out one of the two")
    console, home, began = Console(stderr=True), Home.from_environment(), time.monotonic()
    try:
        with console.status("starting") as line:

            def report(step: str) -> None:
                line.update(step)
                console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  {step}", highlight=False)

            lifecycle.up(home, lifecycle.Wish(workers, gateways, int(brokers) if brokers else None, servers_only), report)
    except StackError as error:
        raise click.ClickException(str(error)) from error
    console.print(f"[dim]{time.monotonic() - began:6.1f} s[/]  [green]the stack is up[/]", highlight=False)
    _print_table(stack_status(home))


@click.command()
@click.option("--wipe", is_flag=True, help="Remove the data, too: topics, tables, keys and logs. The cached jars stay.")
def down(wipe: bool) -> None:
    """Stop the stack, also what is left of one whose supervisor died. The data stays for the next `holdfast up`."""
    console = Console(stderr=True)
    try:
        with console.status("stopping"):
            stopped = lifecycle.down(Home.from_environment(), wipe)
    except StackError as error:
        raise click.ClickException(str(error)) from error
    console.print(("the stack is down" if stopped else "no stack was running") + (", its data removed" if wipe else ""))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with the database password, instead of a table.")
@click.option("--targets", is_flag=True, help="Print where each process's figures are, as a file for Prometheus's file_sd_configs.")
def status(as_json: bool, targets: bool) -> None:
    """Show the endpoints and the processes of the stack. The exit code is 3 if nothing runs."""
    try:
        found = stack_status(Home.from_environment())
    except StackError as error:
        raise click.ClickException(str(error)) from error
    if targets:
        click.echo(json.dumps(found.targets(), indent=2))
    elif as_json:
        click.echo(json.dumps({**found.document(), "rows": _rows(found)}, indent=2))
    else:
        _print_table(found)
        _print_rows(_rows(found))
    sys.exit(0 if found.runs else NOTHING_RUNS)


def _rows(found: StackStatus) -> dict[str, int]:
    return rows_by_stage(process.metrics for process in found.processes if process.kind == "worker" and process.metrics)


def _print_rows(rows: dict[str, int]) -> None:
    if rows:
        Console().print(f"rows: {', '.join(f'{stage} {number:,}' for stage, number in rows.items())}", highlight=False)


def _print_table(found: StackStatus) -> None:
    console = Console()
    if not found.runs:
        console.print("no stack is running: start it with `holdfast up`")
    else:
        console.print(_endpoints_table(found))
    if found.processes:
        console.print(_processes_table(found))
        console.print(f"logs in {Path(found.processes[0].log).parent}", highlight=False, soft_wrap=True)
    if found.problem:
        console.print(found.problem, style="red", markup=False, highlight=False)


def _endpoints_table(found: StackStatus) -> Table:
    table = Table("server", "endpoint", box=None, pad_edge=False)
    for name, address in found.addresses().items():
        table.add_row(name, address)
    return table


def _processes_table(found: StackStatus) -> Table:
    table = Table("process", "pid", "state", "restarts", "partitions", box=None, pad_edge=False)
    for process in found.processes:
        table.add_row(process.name, str(process.pid), process.status, str(process.restarts), in_ranges(process.partitions))
    return table
