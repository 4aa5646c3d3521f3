"""`holdfast ids`: order IDs for other programs."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from aiohttp import web

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from ingest.errors import IngestError
from ingest.id_service import MAX_COUNT, app
from ingest.order_ids import OrderIds

DEFAULT_PORT = 8082


@click.group("ids")
def ids_command() -> None:
    """Order IDs: unique over all programs, increasing with time. Needs the database alone."""


@ids_command.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(0, 65535), help="Port to listen on; 0: any free one.")
def serve(host: str, port: int) -> None:
    """Give order IDs over HTTP until stopped: GET /ids?count=n -> {"ids": ["..."]}. GET /health says whether it can."""
    with _generator() as ids:
        try:
            web.run_app(app(ids), host=host, port=port, print=lambda text: click.echo(text.splitlines()[0], err=True), access_log=None)
        except OSError as error:
            raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}. Use another --port") from error


@ids_command.command()
@click.option("--count", default=1, show_default=True, type=click.IntRange(1, MAX_COUNT), help="How many.")
@click.option("--json", "as_json", is_flag=True, help='Print {"ids": ["..."]}.')
def take(count: int, as_json: bool) -> None:
    """Print new order IDs, one a line."""
    with _generator() as ids:
        taken = [str(order_id) for order_id in ids.take(count)]
    click.echo(json.dumps({"ids": taken}) if as_json else "\n".join(taken))


@contextmanager
def _generator() -> Iterator[OrderIds]:
    try:
        with OrderIds(given().get("mysql") or endpoints().mysql) as ids:
            yield ids
    except IngestError as error:
        raise click.ClickException(str(error)) from error
