"""Items of one partition as one columnar record (pure). An item is a tuple in the order of the columns named here."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeAlias

from schemas.codec import encoder


class LineItem(NamedTuple):
    """One order line: an item of OrderLines, and the fields of an OrderLine."""

    order_id: int
    line: int
    line_count: int
    product_id: str
    quantity: int
    unit_price: int
    currency: str
    user_id: str
    payment_token: str
    placed_at: int


Line: TypeAlias = tuple[int, int, int, str, int, int, str, str, str, int]
"""A LineItem without its names: a tenth of the cost to make, and the gateway makes thousands."""


class OrderCommandItem(NamedTuple):
    """One command about an order: an item of OrderCommands."""

    kind: int
    command_id: str
    order_id: int
    line: int
    quantity: int


class StockCommandItem(NamedTuple):
    """One command about a product: an item of StockCommands, less the orders agent's own columns."""

    kind: int
    command_id: str
    product_id: str
    quantity: int
    as_of: int


_encode_lines = encoder("OrderLines")
_encode_order_commands = encoder("OrderCommands")
_encode_stock_commands = encoder("StockCommands")


def encode_lines(items: Sequence[Line]) -> bytes:
    """Encode one OrderLines record of at least one item."""
    return _encode_lines(dict(zip(LineItem._fields, zip(*items, strict=False), strict=True)))


def encode_order_commands(items: Sequence[OrderCommandItem], issued_at: int, actor: str) -> bytes:
    """Encode one OrderCommands record of at least one item; `issued_at` in ms."""
    columns = dict(zip(OrderCommandItem._fields, zip(*items, strict=True), strict=True))
    return _encode_order_commands({**columns, "kind": bytes(columns["kind"]), "issued_at": issued_at, "actor": actor})


def encode_stock_commands(items: Sequence[StockCommandItem], issued_at: int, actor: str) -> bytes:
    """Encode one StockCommands record of at least one item; `issued_at` in ms."""
    columns = dict(zip(StockCommandItem._fields, zip(*items, strict=True), strict=True))
    none = (0,) * len(items)
    own = {"kind": bytes(columns["kind"]), "order_id": none, "line": none, "issued_at": issued_at, "actor": actor}
    return _encode_stock_commands({**columns, **own})
