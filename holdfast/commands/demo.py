"""`holdfast demo`: what `make demo` runs."""

import json
import sys
from decimal import Decimal
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from holdfast.commands.load import Share
from holdfast.demo.screen import Screen
from holdfast.demo.show import DemoWish, Shown, show
from holdfast.stack.home import Home


@click.command()
@click.option("--data", type=click.Path(path_type=Path), required=True, help="An Online Retail CSV file (plain, .gz or .xz).")
@click.option("--opening-stock", type=Share(), help="Stock before the first order, as a share of what the file orders. By default 0.9.")
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes. By default as many as run now, or one.")
@click.option("--no-start", is_flag=True, help="Start nothing: all of it, with a warehouse, runs already where HOLDFAST_KAFKA, _MYSQL and _REDIS say.")
@click.option("--json", "as_json", is_flag=True, help="Print nothing but the JSON object on standard output.")
def demo(data: Path, opening_stock: Decimal | None, workers: int | None, no_start: bool, as_json: bool) -> None:
    """Run a file of real orders through the whole pipeline and audit what came of it.

    Brings the stack up (servers, topics, tables, workers, sinks, a gateway) with a small warehouse that ships what is confirmed,
    loads the file, waits until everything is decided and written, audits, and leaves all of it running: `holdfast down`
    ends it. Run again with the same file it sends nothing new; another file has orders of its own.

    The last line on standard output is one JSON object; its counts are of the file's orders, as the log and the stores have
    them. Exit 1 if a promise was broken.
    """
    with Screen() as screen:
        shown = show(Home.from_environment(), DemoWish(data, opening_stock, workers, no_start), screen)
    if not as_json:
        _print(shown)
    click.echo(json.dumps(shown.document()))
    sys.exit(0 if shown.audit.ok else 1)


def _print(shown: Shown) -> None:
    console = Console()
    console.print(shown.audit.text(), highlight=False, markup=False, soft_wrap=True)
    table = Table("", "", box=None, pad_edge=False, show_header=False)
    table.columns[1].justify = "right"
    for name, value in shown.document().items():
        table.add_row(name.replace("_", " "), f"{value:,}")
    console.print(table)
    if shown.gateway:
        console.print(f"orders over HTTP: {shown.gateway}, described at {shown.gateway}/docs", highlight=False, soft_wrap=True)
        console.print("a key for them: `holdfast keys create --user u1 --scope place,read`", highlight=False, soft_wrap=True)
    console.print("it is all still running: `holdfast watch`, `holdfast status`; `make down` ends it", highlight=False, soft_wrap=True)
