"""`holdfast worker`: run the agents."""

from __future__ import annotations

import os
import sys

import click

from holdfast.stack.endpoints import endpoints


@click.command()
@click.option("--log-level", default="warn", show_default=True, type=click.Choice(["debug", "info", "warn", "error"]), help="Faust's own log level.")
def worker(log_level: str) -> None:
    """Run the stock, orders and payments agents on the partitions this worker is given.

    Several workers share the partitions; start as many as there are cores. The same as
    `faust -A streams.app worker --without-web`.
    """
    os.environ.setdefault("HOLDFAST_KAFKA", endpoints().kafka)
    faust = [sys.executable, "-m", "faust", "-A", "streams.app", "worker", "--without-web", "-l", log_level]
    os.execv(sys.executable, faust)
