"""`holdfast webhooks`: tell other programs what happens to orders."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from typing import Any, Final

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from schemas.notices import EVENTS
from schemas.outcomes import MAX_ID_LENGTH, MAX_ORDER_ID
from sinks.errors import NotNowError, SinkError
from sinks.webhooks.addresses import check_url
from sinks.webhooks.config import webhook_settings
from sinks.webhooks.notices import Endpoint, secret_text
from sinks.webhooks.tables import Tables

STATES: Final = ("due", "delivered", "dead")


class Events(click.ParamType):
    """Events with commas between."""

    name = "events"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, ...]:
        """Return the events, each once."""
        said = [each.strip() for each in value.split(",")] if isinstance(value, str) else list(value)
        unknown = sorted(set(said) - set(EVENTS))
        if unknown:
            self.fail(f"{', '.join(map(repr, unknown))}: the events are {', '.join(EVENTS)}", param, ctx)
        return tuple(event for event in EVENTS if event in said)


@click.group("webhooks")
def webhooks() -> None:
    """Tell other programs what happens to orders: signed POST requests, repeated until they are taken.

    `run` is the process that sends; the rest says to whom. Needs HOLDFAST_MYSQL (`run` also HOLDFAST_KAFKA), or a running
    stack. docs/gateway.md says what a receiver gets and how it checks the signature.
    """


@webhooks.command("run")
def run_command() -> None:
    """Read order.outcomes and send what is due, until stopped.

    Several may run: they share the partitions. SIGTERM or Ctrl-C lets it finish what is under way.
    """
    from sinks.webhooks.run import run

    try:
        run(kafka=_address("kafka"), mysql=_address("mysql"))
    except SinkError as error:
        raise click.ClickException(str(error)) from error


@webhooks.command("add")
@click.argument("url")
@click.option("--user", default=None, help="Tell of this user's orders only; else of everybody's.")
@click.option("--events", "chosen", type=Events(), default=(), help=f"Tell of these only, with commas between: {', '.join(EVENTS)}.")
@click.option("--json", "as_json", is_flag=True, help='Print {"endpoint_id", "url", "user", "events", "created_at", "secret"}.')
def add(url: str, user: str | None, chosen: tuple[str, ...], as_json: bool) -> None:
    """Add an endpoint, which hears of what happens from now on.

    Prints the secret that signs its notices; it is shown this once.
    """
    if user is not None and not 1 <= len(user) <= MAX_ID_LENGTH:
        raise click.ClickException(f"--user has 1 to {MAX_ID_LENGTH} characters")
    with _tables() as tables:
        check_url(url, webhook_settings(kafka="none", mysql=_address("mysql")).webhooks_allow_private)
        endpoint = tables.add_endpoint(url, user, chosen)
    if as_json:
        click.echo(json.dumps({**_document(endpoint), "secret": secret_text(endpoint.secret)}))
    else:
        click.echo(f"endpoint {endpoint.endpoint_id}\nsecret   {secret_text(endpoint.secret)}\nKeep the secret: it is not shown again.")


@webhooks.command("list")
@click.option("--json", "as_json", is_flag=True, help='Print [{"endpoint_id", "url", "user", "events", "created_at", "due", "delivered", "dead"}].')
def list_command(as_json: bool) -> None:
    """Show the endpoints, and how many notices each has that are due, delivered or dead."""
    with _tables() as tables:
        counts = tables.counts()
        rows = [{**_document(each), **{state: counts.get((each.endpoint_id, state), 0) for state in STATES}} for each in tables.endpoints()]
    _print(rows, as_json)


@webhooks.command("remove")
@click.argument("endpoint_id")
@click.option("--json", "as_json", is_flag=True, help='Print {"endpoint_id", "removed": true}.')
def remove(endpoint_id: str, as_json: bool) -> None:
    """Remove an endpoint with all its notices. Exit 1 if there is none of that ID."""
    with _tables() as tables:
        if not tables.remove_endpoint(endpoint_id):
            raise click.ClickException(f"there is no endpoint {endpoint_id!r}: `holdfast webhooks list` shows them")
    click.echo(json.dumps({"endpoint_id": endpoint_id, "removed": True}) if as_json else f"endpoint {endpoint_id} is removed")


@webhooks.command("dead")
@click.option("--endpoint", "endpoint_id", default=None, help="Of this endpoint only.")
@click.option("--limit", type=click.IntRange(1, 100_000), default=100, show_default=True, help="Show so many at most, oldest first.")
@click.option("--json", "as_json", is_flag=True, help='Print [{"endpoint_id", "order_id", "version", "event", "attempts", "died_at", "error"}].')
def dead(endpoint_id: str | None, limit: int, as_json: bool) -> None:
    """Show notices that were given up: nobody took them, however often they were sent."""
    with _tables() as tables:
        found = tables.dead(endpoint_id, limit)
    _print([{**each._asdict(), "order_id": str(each.order_id), "died_at": _time(each.died_at)} for each in found], as_json)


@webhooks.command("redrive")
@click.option("--endpoint", "endpoint_id", default=None, help="Of this endpoint only.")
@click.option("--order", "order_id", type=click.IntRange(1, MAX_ORDER_ID), default=None, help="Of this order only.")
@click.option("--json", "as_json", is_flag=True, help='Print {"redriven": count}.')
def redrive(endpoint_id: str | None, order_id: int | None, as_json: bool) -> None:
    """Send dead notices again, under the same IDs, with as many tries as new ones have."""
    with _tables() as tables:
        count = tables.redrive(endpoint_id, order_id)
    click.echo(json.dumps({"redriven": count}) if as_json else f"{count} notices are due again")


@contextmanager
def _tables() -> Iterator[Tables]:
    try:
        with closing(Tables(_address("mysql"))) as tables:
            yield tables
    except (SinkError, NotNowError) as error:
        raise click.ClickException(str(error)) from error


def _address(server: str) -> str:
    address: str = given().get(server) or getattr(endpoints(), server)
    return address


def _document(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as it is shown: without its secret."""
    chosen = [event for event in EVENTS if event in endpoint.events] or list(EVENTS)
    return {"endpoint_id": endpoint.endpoint_id, "url": endpoint.url, "user": endpoint.user_id, "events": chosen, "created_at": _time(endpoint.created_at)}


def _time(ms: int) -> str:
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _print(rows: list[dict[str, Any]], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(rows))
        return
    table = Table(*(rows[0] if rows else ["nothing"]))
    for row in rows:
        table.add_row(*(escape(", ".join(value) if isinstance(value, list) else str(value)) for value in row.values()))
    Console().print(table)
