"""`holdfast sink mysql | redis` and `holdfast migrate`."""

import json
import os
from dataclasses import asdict

import click

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import StackError
from schemas.shards import VARIABLE
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
    Needs HOLDFAST_KAFKA and HOLDFAST_MYSQL, or a running stack; the tables come from `holdfast migrate`. With
    HOLDFAST_MYSQL_SHARDS (mysql://...,mysql://...) the order lines are spread over those databases by product.
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
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help='Print {"before": revision or null, "after": revision, "applied": [revisions]}; with shards, the same for each in "shards".',
)
def migrate(as_json: bool) -> None:
    """Create the MySQL tables, or bring them to this program's revision.

    Running it again changes nothing. Needs HOLDFAST_MYSQL, or a running stack. The databases of HOLDFAST_MYSQL_SHARDS get the same tables; the
    databases themselves have to be there.
    """
    from sinks import migrate as migrations
    from sinks.config import shards_of

    try:
        done, *shards = [migrations.migrate(url) for url in (_address("mysql"), *shards_of(os.environ.get(VARIABLE, "")))]
    except (SinkError, StackError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps(asdict(done) | ({"shards": [asdict(each) for each in shards]} if shards else {})))
        return
    for name, each in (("the tables are", done), *((f"shard {number} is", each) for number, each in enumerate(shards))):
        click.echo(f"{name} at revision {each.after}" + (f": {len(each.applied)} applied" if each.applied else ", as before"))


def _run(name: str) -> None:
    from sinks.run import run

    try:
        run(name, **{server: _address(server) for server in ("kafka", name)})
    except (SinkError, StackError) as error:
        raise click.ClickException(str(error)) from error


def _address(server: str) -> str:
    address: str = given().get(server) or getattr(endpoints(), server)
    return address
