"""`holdfast ship`: the small warehouse."""

import json
import signal
import threading
from dataclasses import asdict
from types import FrameType

import click
from rich.console import Console
from rich.status import Status

import telemetry
from holdfast.commands.topics import kafka
from holdfast.shipping import ship_all
from holdfast.topics import prefix_of
from holdfast.warehouse import Orders, Shipped


@click.command()
@click.option("--follow", is_flag=True, help="Go on until stopped (SIGTERM or Ctrl-C) instead of ending at the end of the log.")
@click.option("--rate", type=click.FloatRange(min=0, min_open=True), help="Ship at most so many orders a second.")
@click.option("--delay", type=click.FloatRange(min=0), default=0.0, show_default=True, help="Ship an order so many seconds after its decision.")
@click.option("--json", "as_json", is_flag=True, help="Print what was done as one JSON object at the end.")
def ship(follow: bool, rate: float | None, delay: float, as_json: bool) -> None:
    """Ship what is confirmed: read order.outcomes, send a SHIP command per confirmed order.

    Goes on where an earlier one ended (consumer group holdfast-warehouse); several share the work. Nothing is shipped
    twice: a command sent again has the same ID.
    """
    stopping = threading.Event()
    _stop_on_signals(stopping)
    _show_figures()
    with Console(stderr=True).status("waiting for partitions") as line:
        done = ship_all(kafka(), prefix_of(), Orders(follow, rate, delay), stopping, lambda shipped: _show(line, shipped))
    click.echo(json.dumps(asdict(done)) if as_json else _sentence(done))


def _show_figures() -> None:
    try:
        telemetry.serve()
    except telemetry.TelemetryError as error:
        raise click.ClickException(str(error)) from error


def _stop_on_signals(stopping: threading.Event) -> None:
    def stop(_number: int, _frame: FrameType | None) -> None:
        stopping.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)


def _show(line: Status, shipped: Shipped) -> None:
    line.update(_sentence(shipped))


def _sentence(shipped: Shipped) -> str:
    return f"{shipped.orders:,} orders shipped; {shipped.outcomes:,} outcomes read, {shipped.refused:,} SHIP commands refused"
