"""What may not be sent, and which field is blamed for it."""

from dataclasses import replace
from typing import Any

import pytest

from ingest.errors import InvalidRequestError
from ingest.requests import Line, Order, OrderCommand, StockCommand, check_order, check_order_command, check_stock_command
from schemas.outcomes import OrderCommandKind, Refusal, StockCommandKind

ORDER = Order(1, "user", (Line("sku", 1, 100), Line("sku", 2, 0)), "GBP", "tok_ok", 1_700_000_000_000)
STOCK = StockCommand("r-1", StockCommandKind.RESTOCK, "sku", 5)
COMMAND = OrderCommand("c-1", OrderCommandKind.CANCEL, 1)


def with_line(**fields: Any) -> Order:
    return replace(ORDER, lines=(ORDER.lines[0], replace(ORDER.lines[1], **fields)))


@pytest.mark.parametrize(
    ("order", "field", "refusal"),
    [
        (replace(ORDER, order_id=0), "order_id", Refusal.INVALID_ORDER_ID),
        (replace(ORDER, order_id=2**63), "order_id", Refusal.INVALID_ORDER_ID),
        (replace(ORDER, order_id=True), "order_id", Refusal.INVALID_ORDER_ID),
        (replace(ORDER, order_id="1"), "order_id", Refusal.INVALID_ORDER_ID),  # type: ignore[arg-type]
        (with_line(product_id=""), "lines[1].product_id", Refusal.INVALID_PRODUCT),
        (with_line(product_id="x" * 65), "lines[1].product_id", Refusal.INVALID_PRODUCT),
        (with_line(product_id="a\0b"), "lines[1].product_id", Refusal.INVALID_PRODUCT),
        (with_line(product_id="a\ud800"), "lines[1].product_id", Refusal.INVALID_PRODUCT),
        (with_line(product_id=7), "lines[1].product_id", Refusal.INVALID_PRODUCT),
        (replace(ORDER, user_id=""), "user_id", Refusal.INVALID_USER),
        (replace(ORDER, user_id="u" * 65), "user_id", Refusal.INVALID_USER),
        (replace(ORDER, lines=()), "lines", Refusal.INVALID_LINE),
        (replace(ORDER, lines=ORDER.lines[:1] * 1_001), "lines", Refusal.INVALID_LINE),
        (with_line(quantity=0), "lines[1].quantity", Refusal.INVALID_QUANTITY),
        (with_line(quantity=-1), "lines[1].quantity", Refusal.INVALID_QUANTITY),
        (with_line(quantity=1.5), "lines[1].quantity", Refusal.INVALID_QUANTITY),
        (with_line(quantity=1_000_000_001), "lines[1].quantity", Refusal.INVALID_QUANTITY),
        (with_line(unit_price=-1), "lines[1].unit_price", Refusal.INVALID_PRICE),
        (with_line(unit_price=1_000_000_001), "lines[1].unit_price", Refusal.INVALID_PRICE),
        (with_line(quantity=10**9, unit_price=10**6 + 1), "lines[1].unit_price", Refusal.INVALID_PRICE),
        (replace(ORDER, currency="XXX"), "currency", Refusal.UNKNOWN_CURRENCY),
        (replace(ORDER, currency=["GBP"]), "currency", Refusal.UNKNOWN_CURRENCY),  # type: ignore[arg-type]
        (replace(ORDER, payment_token="t" * 256), "payment_token", Refusal.INVALID_TOKEN),
        (replace(ORDER, placed_at=-1), "placed_at", Refusal.INVALID_TIME),
        (replace(ORDER, placed_at=1_700_000_000_000_000), "placed_at", Refusal.INVALID_TIME),
    ],
)
def test_an_invalid_order_is_refused_by_field(order: Order, field: str, refusal: Refusal) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_order(order)
    assert (caught.value.field, caught.value.refusal) == (field, refusal)
    assert str(caught.value).startswith(f"{field} is ")


@pytest.mark.parametrize(
    "order",
    [
        ORDER,
        with_line(quantity=10**9, unit_price=10**6),
        replace(ORDER, order_id=2**63 - 1),
        replace(ORDER, lines=ORDER.lines[:1] * 1_000),
        replace(ORDER, payment_token="t" * 255),
    ],
)
def test_a_valid_order_is_taken(order: Order) -> None:
    check_order(order)


def test_the_first_fault_in_the_order_of_precedence_is_told() -> None:
    everything = Order(1, "", (Line("", 0, -1),), "?", "", -1)
    with pytest.raises(InvalidRequestError, match=r"lines\[0\].product_id"):
        check_order(everything)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (replace(STOCK, command_id=""), "command_id"),
        (replace(STOCK, command_id="c" * 129), "command_id"),
        (replace(STOCK, kind=StockCommandKind.RELEASE), "kind"),
        (replace(STOCK, kind=99), "kind"),  # type: ignore[arg-type]
        (replace(STOCK, product_id=""), "product_id"),
        (replace(STOCK, quantity=0), "quantity"),
        (replace(STOCK, kind=StockCommandKind.WRITE_OFF, quantity=-1), "quantity"),
        (replace(STOCK, as_of=-1), "as_of"),
        (replace(STOCK, issued_at=-1), "issued_at"),
        (replace(STOCK, actor=None), "actor"),  # type: ignore[arg-type]
    ],
)
def test_an_invalid_stock_command_is_refused_by_field(command: StockCommand, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_stock_command(command)
    assert (caught.value.field, caught.value.refusal) == (field, Refusal.INVALID_COMMAND)


@pytest.mark.parametrize("command", [STOCK, replace(STOCK, kind=StockCommandKind.COUNT, quantity=0), replace(STOCK, kind=StockCommandKind.UNTRACK, quantity=0)])
def test_a_valid_stock_command_is_taken(command: StockCommand) -> None:
    check_stock_command(command)


@pytest.mark.parametrize(
    ("command", "field"),
    [
        (replace(COMMAND, command_id=""), "command_id"),
        (replace(COMMAND, kind=3), "kind"),  # type: ignore[arg-type]
        (replace(COMMAND, order_id=0), "order_id"),
        (replace(COMMAND, line=-1), "line"),
        (replace(COMMAND, line=1_001), "line"),
        (replace(COMMAND, quantity=-1), "quantity"),
    ],
)
def test_an_invalid_order_command_is_refused_by_field(command: OrderCommand, field: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        check_order_command(command)
    assert caught.value.field == field
