"""`holdfast history product | order | stock`."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from holdfast.commands.topics import kafka
from holdfast.history.orders import READ, Event
from holdfast.history.products import Movement
from holdfast.history.reading import beginning, read_order, read_products
from holdfast.log_whole import Progress as Told
from holdfast.times import Time, shown
from holdfast.topics import in_use
from ingest.errors import IngestError
from ingest.lookups import parse_order_id, parse_product_id
from schemas.topics import STOCK_DECISIONS, Topic

AT = click.option("--at", "until", type=Time(), help="As it was at this time (2026-11-24T09:30, UTC unless it says otherwise); by default now.")
_LEVEL = ("available", "reserved", "shipped", "received", "written_off", "returned")


@click.group("history")
def history() -> None:
    """What happened, from the log: every movement with its cause, its actor and where the log has it.

    Reads Kafka alone, whole topics, and disturbs nobody. Needs HOLDFAST_KAFKA, or a running stack.
    """


@history.command()
@click.argument("product_id", metavar="ID")
@AT
@click.option("--json", "as_json", is_flag=True, help='Print {"product_id", "at", "movements": [...], "stock": {...}}.')
def product(product_id: str, until: int | None, as_json: bool) -> None:
    """Show every movement of a product, and its stock after each. Exit 1 for a product the log does not know."""
    with _bar() as progress:
        answers = read_products(kafka(), in_use(kafka()).prefixes, [_parsed(parse_product_id, product_id)], until, progress)
    _warn_of_beginning(STOCK_DECISIONS)
    movements = list(answers.of(product_id))
    if not movements:
        raise click.ClickException(f"the log has nothing of product {product_id!r}{_before(until)} (IDs are case-sensitive)")
    if as_json:
        stock_then = {**movements[-1].after, "version": movements[-1].version}
        click.echo(json.dumps({"product_id": product_id, "at": until, "movements": [m.document() for m in movements], "stock": stock_then}))
    else:
        Console().print(_movements(movements))


@history.command()
@click.argument("order_id", metavar="ID")
@AT
@click.option("--json", "as_json", is_flag=True, help='Print {"order_id", "at", "events": [...], "outcome": the last one or null}.')
def order(order_id: str, until: int | None, as_json: bool) -> None:
    """Show all that was asked and said about an order. Exit 1 for an order the log does not know."""
    with _bar() as progress:
        events = read_order(kafka(), in_use(kafka()).prefixes, _parsed(parse_order_id, order_id), until, progress)
    _warn_of_beginning(*READ)
    if not events:
        raise click.ClickException(f"the log has nothing of order {order_id}{_before(until)}")
    if as_json:
        outcomes = [event.document() for event in events if "lines" in event.detail]
        click.echo(json.dumps({"order_id": order_id, "at": until, "events": [e.document() for e in events], "outcome": outcomes[-1] if outcomes else None}))
    else:
        Console().print(_events(events))


@history.command()
@click.argument("products", nargs=-1)
@AT
@click.option("--json", "as_json", is_flag=True, help='Print {"at", "products": {ID: {"available", "reserved", ..., "version", "changed_at"}}}.')
def stock(products: Sequence[str], until: int | None, as_json: bool) -> None:
    """Show the stock of PRODUCTS, or of every product, as it was at a time. One that had none then is left out."""
    with _bar() as progress:
        answers = read_products(kafka(), in_use(kafka()).prefixes, [_parsed(parse_product_id, each) for each in products], until, progress)
    _warn_of_beginning(STOCK_DECISIONS)
    found = {name: last for name in answers.products() if (last := answers.last(name))}
    if as_json:
        levels = {name: {**last.after, "version": last.version, "changed_at": last.at} for name, last in found.items()}
        click.echo(json.dumps({"at": until, "products": levels}))
        return
    table = _table("product", *_LEVEL, "version", "changed at")
    for name, last in found.items():
        table.add_row(safe(name), *(f"{last.after[level]:,}" for level in _LEVEL), str(last.version), shown(last.at))
    Console().print(table)


def _parsed(parse: Any, text: str) -> Any:
    try:
        return parse(text)
    except IngestError as error:
        raise click.ClickException(str(error)) from error


def _warn_of_beginning(*topics: Topic) -> None:
    if gone := beginning(kafka(), in_use(kafka()).prefixes, topics):
        click.echo(f"the brokers have deleted the beginning of {gone}: what happened then is not shown", err=True)


def _before(until: int | None) -> str:
    return "" if until is None else f" before {shown(until)}"


def _movements(movements: Sequence[Movement]) -> Table:
    table = _table("at", "version", "what", "units", "cause", "actor", "in the log", "available", "reserved", "shipped")
    for m in movements:
        about = m.command_id or (f"order {m.order_id} line {m.line}" if m.order_id else "")
        what = f"{m.what} refused: {m.refusal}" if m.refusal else m.what
        after = (f"{m.after[level]:,}" for level in _LEVEL[:3])
        place = f"{m.topic} {m.partition}-{m.offset}#{m.item}"
        table.add_row(*map(safe, (shown(m.at), str(m.version), what, f"{m.quantity:,}", about, m.actor, place)), *after)
    return table


def _events(events: Sequence[Event]) -> Table:
    table = _table("at", "what", "actor", "in the log", "")
    for e in events:
        place = f"{e.place.topic.name} {e.place.partition}-{e.place.offset}#{e.item}"
        table.add_row(*map(safe, (shown(e.place.at), e.what, e.actor, place, _pairs(e.detail))))
    return table


def _pairs(detail: Mapping[str, Any]) -> str:
    return " ".join(f"{name}={value}" for name, value in detail.items() if name != "lines" and value != "")


def _table(*columns: str) -> Table:
    return Table(*columns, box=None, pad_edge=False)


def safe(text: str) -> str:
    """Texts of customers: no markup, and nothing that a terminal would obey."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text).replace("[", r"\[")


@contextmanager
def _bar() -> Iterator[Told]:
    columns = (TextColumn("reading the log"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task("", total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
