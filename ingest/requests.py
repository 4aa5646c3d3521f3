"""What may be asked for: orders and commands, checked before they are sent, in the order of precedence of schemas/outcomes.py."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ingest.errors import InvalidRequestError
from schemas.currencies import CURRENCIES
from schemas.outcomes import (
    MAX_AMOUNT,
    MAX_COMMAND_ID_LENGTH,
    MAX_ID_LENGTH,
    MAX_LINES,
    MAX_ORDER_ID,
    MAX_PRICE,
    MAX_QUANTITY,
    MAX_TIME,
    MAX_TOKEN_LENGTH,
    OrderCommandKind,
    Refusal,
    StockCommandKind,
)

LEAST_QUANTITY = {StockCommandKind.RESTOCK: 1, StockCommandKind.WRITE_OFF: 1, StockCommandKind.FOUND: 1}
"""Units a stock command must carry at least; 0 for every other kind."""


@dataclass(frozen=True, slots=True)
class Line:
    """One line of an order: `quantity` units of a product at `unit_price` minor units of the order's currency each."""

    product_id: str
    quantity: int
    unit_price: int


@dataclass(frozen=True, slots=True)
class Order:
    """An order of 1..1,000 lines. `placed_at` in ms since 1970-01-01 UTC; `order_id` from the order-ID generator."""

    order_id: int
    user_id: str
    lines: Sequence[Line]
    currency: str
    payment_token: str
    placed_at: int


@dataclass(frozen=True, slots=True)
class StockCommand:
    """A command about one product. Who repeats a command repeats its ID. `issued_at` None: when it is sent.

    `quantity`: units, where the kind carries any; `as_of`: COUNT only, when the shelf was counted (ms).
    """

    command_id: str
    kind: StockCommandKind
    product_id: str
    quantity: int = 0
    as_of: int = 0
    issued_at: int | None = None
    actor: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class OrderCommand:
    """A command about one order. Line 0: every line. `quantity`: RETURN only; 0: all that is left of the line."""

    command_id: str
    kind: OrderCommandKind
    order_id: int
    line: int = 0
    quantity: int = 0
    issued_at: int | None = None
    actor: str = ""


def check_order(order: Order) -> None:
    """Raise InvalidRequestError for the first field that no order may have."""
    _number("order_id", order.order_id, 1, MAX_ORDER_ID, Refusal.INVALID_ORDER_ID)
    for i, line in enumerate(order.lines):
        _product(f"lines[{i}].product_id", line.product_id, Refusal.INVALID_PRODUCT)
    _text("user_id", order.user_id, 1, MAX_ID_LENGTH, Refusal.INVALID_USER)
    if not 1 <= len(order.lines) <= MAX_LINES:
        raise InvalidRequestError("lines", len(order.lines), f"an order has 1 to {MAX_LINES:,} lines", Refusal.INVALID_LINE)
    for i, line in enumerate(order.lines):
        _amount(f"lines[{i}]", line)
    if not isinstance(order.currency, str) or order.currency not in CURRENCIES:
        raise InvalidRequestError("currency", order.currency, "use an ISO 4217 code such as GBP", Refusal.UNKNOWN_CURRENCY)
    _text("payment_token", order.payment_token, 0, MAX_TOKEN_LENGTH, Refusal.INVALID_TOKEN)
    _number("placed_at", order.placed_at, 0, MAX_TIME, Refusal.INVALID_TIME)


def check_stock_command(command: StockCommand) -> None:
    """Raise InvalidRequestError for the first field that no command about a product may have."""
    refusal = Refusal.INVALID_COMMAND
    _text("command_id", command.command_id, 1, MAX_COMMAND_ID_LENGTH, refusal)
    if command.kind not in tuple(StockCommandKind)[:8]:
        raise InvalidRequestError("kind", command.kind, "RELEASE, SHIP and RETURN of units come from the orders agent alone", refusal)
    _product("product_id", command.product_id, refusal)
    _number("quantity", command.quantity, LEAST_QUANTITY.get(command.kind, 0), MAX_QUANTITY, refusal)
    _number("as_of", command.as_of, 0, MAX_TIME, refusal)
    _issued(command.issued_at, command.actor)
    _text("note", command.note, 0, None, refusal)


def check_order_command(command: OrderCommand) -> None:
    """Raise InvalidRequestError for the first field that no command about an order may have."""
    refusal = Refusal.INVALID_COMMAND
    _text("command_id", command.command_id, 1, MAX_COMMAND_ID_LENGTH, refusal)
    if command.kind not in tuple(OrderCommandKind)[:3]:
        raise InvalidRequestError("kind", command.kind, "use CANCEL, SHIP or RETURN", refusal)
    _number("order_id", command.order_id, 1, MAX_ORDER_ID, refusal)
    _number("line", command.line, 0, MAX_LINES, refusal)
    _number("quantity", command.quantity, 0, MAX_QUANTITY, refusal)
    _issued(command.issued_at, command.actor)


def _amount(field: str, line: Line) -> None:
    _number(f"{field}.quantity", line.quantity, 1, MAX_QUANTITY, Refusal.INVALID_QUANTITY)
    _number(f"{field}.unit_price", line.unit_price, 0, MAX_PRICE, Refusal.INVALID_PRICE)
    if line.quantity * line.unit_price > MAX_AMOUNT:
        why = f"{line.quantity:,} units of it come to more than {MAX_AMOUNT:,} minor units"
        raise InvalidRequestError(f"{field}.unit_price", line.unit_price, why, Refusal.INVALID_PRICE)


def _issued(issued_at: int | None, actor: str) -> None:
    if issued_at is not None:
        _number("issued_at", issued_at, 0, MAX_TIME, Refusal.INVALID_COMMAND)
    _text("actor", actor, 0, MAX_TOKEN_LENGTH, Refusal.INVALID_COMMAND)


def _number(field: str, value: object, least: int, most: int, refusal: Refusal) -> None:
    if type(value) is not int:  # a bool is an int to Python, and a mistake here
        raise InvalidRequestError(field, value, "must be a whole number", refusal)
    if not least <= value <= most:
        raise InvalidRequestError(field, value, f"must be from {least:,} to {most:,}", refusal)


def _product(field: str, value: object, refusal: Refusal) -> None:
    _text(field, value, 1, MAX_ID_LENGTH, refusal)
    if "\0" in str(value):
        raise InvalidRequestError(field, value, "must hold no zero byte", refusal)


def _text(field: str, value: object, least: int, most: int | None, refusal: Refusal) -> None:
    if not isinstance(value, str):
        raise InvalidRequestError(field, value, "must be text", refusal)
    if len(value) < least or (most is not None and len(value) > most):
        raise InvalidRequestError(field, value, f"must have {least} to {most} characters, not {len(value):,}", refusal)
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise InvalidRequestError(field, value, "must be text that UTF-8 can say", refusal)
