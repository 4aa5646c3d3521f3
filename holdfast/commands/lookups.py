"""`holdfast order ID` and `holdfast stock PRODUCT`."""

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from holdfast.stack.addresses import given
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import StackError
from ingest.errors import IngestError
from ingest.lookups import LINE_FIELDS, Found, Lookups, parse_order_id, parse_product_id
from schemas.shards import VARIABLE
from schemas.views import TIME_COLUMNS

MONEY = frozenset({"amount", "charged", "refunded"})


@click.command()
@click.argument("order_id", metavar="ID")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: the order, its lines, and `store`, which answered.")
def order(order_id: str, as_json: bool) -> None:
    """Show an order as the stores know it: status, money, lines.

    Redis is asked first, MySQL when Redis does not have it. Money is in minor units (pence, cents). Exit 1 for an order
    that is unknown, or that has no decision yet. Needs HOLDFAST_REDIS and HOLDFAST_MYSQL, or a running stack.
    """
    found = _look_up(lambda lookups: lookups.order(parse_order_id(order_id)))
    if found is None:
        raise click.ClickException(f"order {order_id} is not known: it was never placed, or it is not decided yet")
    if as_json:
        click.echo(json.dumps(_document(found)))
    else:
        _print_order(found)


@click.command()
@click.argument("product_id", metavar="PRODUCT")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object: the product's units, and `store`, which answered.")
def stock(product_id: str, as_json: bool) -> None:
    """Show a product's stock as the stores know it.

    Product IDs are case-sensitive. Redis is asked first, MySQL when Redis does not have it. Exit 1 for a product that
    never had stock. Needs HOLDFAST_REDIS and HOLDFAST_MYSQL, or a running stack.
    """
    found = _look_up(lambda lookups: lookups.stock(parse_product_id(product_id)))
    if found is None:
        raise click.ClickException(f"product {product_id!r} is not known: no stock of it was ever booked (IDs are case-sensitive)")
    if as_json:
        click.echo(json.dumps(_document(found)))
    else:
        _print_stock(found)


def _look_up(ask: Callable[[Lookups], Found | None]) -> Found | None:
    try:
        lookups = Lookups(_address("redis"), _address("mysql"), os.environ.get(VARIABLE, ""))
        try:
            return ask(lookups)
        finally:
            lookups.close()
    except (IngestError, StackError) as error:
        raise click.ClickException(str(error)) from error


def _address(server: str) -> str:
    address: str = given().get(server) or getattr(endpoints(), server)
    return address


def _document(found: Found) -> dict[str, Any]:
    return {**found.fields, "store": found.store}


def _print_order(found: Found) -> None:
    console, fields = Console(highlight=False), found.fields
    console.print(_facts({name: _text(name, value, fields["currency"]) for name, value in fields.items() if name != "lines"}, found))
    lines = Table("line", "product", "quantity", "unit price", "status", "refusal", "returned", box=None, pad_edge=False)
    for x in fields["lines"]:
        lines.add_row(*(escape(str(x[c])) for c in LINE_FIELDS))
    console.print(lines)


def _print_stock(found: Found) -> None:
    Console(highlight=False).print(_facts({name: _text(name, value) for name, value in found.fields.items()}, found))


def _facts(texts: dict[str, str], found: Found) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    for name, text in {**texts, "store": found.store}.items():
        table.add_row(f"[dim]{name}[/]", escape(text))
    return table


def _text(name: str, value: str | int, currency: str = "") -> str:
    if name in TIME_COLUMNS:
        return datetime.fromtimestamp(int(value) / 1000, UTC).isoformat(sep=" ", timespec="milliseconds")
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value} {currency}" if name in MONEY else str(value)
