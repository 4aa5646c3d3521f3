"""`holdfast watch`: the pipeline, live."""

import json
import sys
from collections.abc import Iterator
from contextlib import closing

import click
from rich.console import Console
from rich.live import Live

from holdfast.commands.topics import kafka
from holdfast.topics import in_use
from holdfast.watching import Sight, Watcher, picture


@click.command()
@click.option("--interval", type=click.FloatRange(min=0.1), default=1.0, show_default=True, help="Seconds between two looks; rates are over that time.")
@click.option("--once", is_flag=True, help="Look once, after one interval, and end.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object per look, a line each.")
def watch(interval: float, once: bool, as_json: bool) -> None:
    """Show rates, lag per stage and dead letters, until Ctrl-C.

    Rates and `seen` count what is committed while watching; lag is in records, 0 when a stage has read everything;
    dead letters are those still open, by reason (`holdfast dead-letters list`). Reads Kafka alone and disturbs nobody.
    """
    with closing(Watcher(kafka(), in_use(kafka()).prefix)) as watcher:
        sights = _sights(watcher, interval, once)
        try:
            _print(sights) if as_json else _draw(sights, once)
        except KeyboardInterrupt:
            sys.exit(130)


def _sights(watcher: Watcher, interval: float, once: bool) -> Iterator[Sight]:
    yield watcher.watch(interval)
    while not once:
        yield watcher.watch(interval)


def _print(sights: Iterator[Sight]) -> None:
    for sight in sights:
        click.echo(json.dumps(sight.document()))


def _draw(sights: Iterator[Sight], once: bool) -> None:
    console = Console()
    if once:
        for sight in sights:
            console.print(picture(sight))
        return
    with Live(console=console, auto_refresh=False) as live:
        for sight in sights:
            live.update(picture(sight), refresh=True)
