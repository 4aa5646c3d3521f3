"""`holdfast provider`: a payment provider to run Holdfast against."""

from __future__ import annotations

import json
from pathlib import Path

import click
from aiohttp import web

from holdfast.provider.conduct import Delays
from holdfast.provider.ledger import Ledger
from holdfast.provider.server import ProviderServer, options
from holdfast.run_file import own_run_file
from holdfast.stack.home import Home
from streams.config import settings
from streams.payments.sandbox import Sandbox

DEFAULT_PORT = 8083


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=DEFAULT_PORT, show_default=True, type=click.IntRange(1, 65535), help="Port to listen on.")
@click.option(
    "--ledger", type=click.Path(path_type=Path, dir_okay=False), help="Where it writes what it did. By default data/provider/ledger.jsonl in HOLDFAST_HOME."
)
@click.option("--seed", type=int, help="Seed of its misbehaviour; by default another one each time.")
@click.option("--json", "as_json", is_flag=True, help='Print {"url", "ledger"} when it listens.')
def provider(host: str, port: int, ledger: Path | None, seed: int | None, as_json: bool) -> None:
    """Run a sandbox payment provider until stopped; it moves no money.

    POST /charges and POST /refunds with an Idempotency-Key, as HOLDFAST_PAYMENT_PROVIDER=http asks them. Tokens: tok_declined,
    tok_slow (answered HOLDFAST_SANDBOX_SLOW seconds later), tok_silent (HOLDFAST_SANDBOX_SILENT seconds), tok_twice (answered twice).
    HOLDFAST_PAYMENT_KEY, if set, is the bearer token it wants.

    GET /ledger lists what it did, a JSON object a line; PUT /mode makes it misbehave: an object of slow_s, fail_rate, drop_rate,
    lie_rate and down; {} makes it well again. Both from this machine alone.
    """
    config = settings()
    sandbox = Sandbox(config.sandbox_decline_rate)
    path = ledger or Home.from_environment().data("provider") / "ledger.jsonl"
    run_file, url = own_run_file("provider"), f"http://{host}:{port}"

    def listening(_text: str) -> None:
        click.echo(json.dumps({"url": url, "ledger": str(path)}) if as_json else f"payment provider at {url}, ledger {path}")
        run_file.write({"payments": ()}, metrics=None)

    with Ledger(path) as book:
        server = ProviderServer(book, sandbox, Delays(config.sandbox_slow, config.sandbox_silent_ms / 1000), config.payment_key.get_secret_value(), seed)
        try:
            web.run_app(server.app(), host=host, port=port, print=listening, **options())
        except OSError as error:
            raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}. Use another --port") from error
        finally:
            run_file.remove()
