"""`holdfast gateway`: the front door."""

import click

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from ingest.errors import IngestError


@click.command("gateway")
@click.option("--host", default=None, help="Address to listen on; else HOLDFAST_GATEWAY_HOST, else 127.0.0.1.")
@click.option("--port", default=None, type=click.IntRange(1, 65_535), help="Port to listen on; else HOLDFAST_GATEWAY_PORT, else 8080.")
@click.option("--openapi", is_flag=True, help="Print the API as an OpenAPI 3.1 document, as /openapi.json answers it, and end.")
def gateway(host: str | None, port: int | None, openapi: bool) -> None:
    """Take orders and commands over HTTP, and read them back, until stopped.

    SIGTERM or Ctrl-C lets it answer what is in hand. Several may share one port. The API is described at /docs and
    /openapi.json; every setting, HOLDFAST_GATEWAY_*, in docs/gateway.md. Needs HOLDFAST_KAFKA, HOLDFAST_MYSQL and HOLDFAST_REDIS, or a running
    stack.
    """
    if openapi:
        return _print_document()
    from holdfast.console.routes import Console
    from ingest.http.config import gateway_settings
    from ingest.http.server import run

    addresses = {name: given().get(name) or getattr(endpoints(), name) for name in ("kafka", "mysql", "redis")}
    options = {"gateway_host": host, "gateway_port": None if port is None else str(port)}
    try:
        settings = gateway_settings(**addresses, **{name: value for name, value in options.items() if value is not None})
        run(settings, Console(settings.kafka).routes())
    except IngestError as error:
        raise click.ClickException(str(error)) from error
    return None


def _print_document() -> None:
    from ingest.gateway import ROUTES
    from ingest.http.openapi import text_of

    click.echo(text_of(ROUTES), nl=False)
