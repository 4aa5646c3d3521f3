"""`holdfast sink mysql | redis` and `holdfast migrate`."""

import json
from dataclasses import asdict

import click

from holdfast.stack.endpoints import endpoints, given
from holdfast.stack.errors import StackError
from sinks.errors import SinkError


@click.group("sink")
def sink() -> None:
    """Write the log's results into a store, until stopped.

    A batch is at most HOLDFAST_SINK_BATCH_RECORDS (5000) records and HOLDFAST_SINK_BATCH_BYTES (524288) bytes; the
    partitions of a sink that is silent for HOLDFAST_SINK_SESSION_TIMEOUT_MS (10000) move to another.
    """


@sink.command("mysql")
def mysql_command() -> None:
    """Keep the MySQL tables products, users, orders and order_lines up to date with the log.

    Runs until SIGTERM or Ctrl-C, which let it finish the batch in hand. Several may run: they share the partitions. A
    database that is down is waited for; one that is new or was set back is filled again from where it stands.
    Needs HOLDFAST_KAFKA and HOLDFAST_MYSQL, or a running stack; the tables come from `holdfast migrate`.
    """
    _run("mysql")


@sink.command("redis")
def redis_command() -> None:
    """Keep the Redis hashes stock:PRODUCT and order:ID up to date with the log.

    Runs until SIGTERM or Ctrl-C, which let it finish the batch in hand. Several may run: they share the partitions. A
    Redis that is down or full is waited for; one that was emptied is filled again from the start of the log.
    Needs HOLDFAST_KAFKA and HOLDFAST_REDIS, or a running stack.
    """
    _run("redis")


@click.command("migrate")
@click.option("--json", "as_json", is_flag=True, help='Print {"before": revision or null, "after": revision, "applied": [revisions]}.')
def migrate(as_json: bool) -> None:
    """Create the MySQL tables, or bring them to this program's revision.

    Running it again changes nothing. Needs HOLDFAST_MYSQL, or a running stack.
    """
    from sinks import migrate as migrations

    try:
        done = migrations.migrate(_address("mysql"))
    except (SinkError, StackError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(done)))
    else:
        click.echo(f"the tables are at revision {done.after}" + (f": {len(done.applied)} applied" if done.applied else ", as before"))


def _run(name: str) -> None:
    from sinks.run import run

    try:
        run(name, **{server: _address(server) for server in ("kafka", name)})
    except (SinkError, StackError) as error:
        raise click.ClickException(str(error)) from error


def _address(server: str) -> str:
    address: str = given().get(server) or getattr(endpoints(), server)
    return address
