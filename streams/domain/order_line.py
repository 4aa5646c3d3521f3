"""One order line: is it a line that any order may contain? Pure; checks in the order of schemas/outcomes.py."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.currencies import CURRENCIES
from schemas.outcomes import (
    MAX_AMOUNT,
    MAX_ID_LENGTH,
    MAX_LINES,
    MAX_ORDER_ID,
    MAX_PRICE,
    MAX_QUANTITY,
    MAX_TIME,
    MAX_TOKEN_LENGTH,
    Refusal,
)

NO_CURRENCY: Final = "XXX"
"""ISO 4217's own code for none."""
_VALID: Final = Refusal.NONE


class PlainLine(NamedTuple):
    """The fields of an OrderLine, in the order in which `check_line` takes them."""

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


def check_line(
    order_id: int,
    line: int,
    line_count: int,
    product_id: str,
    quantity: int,
    unit_price: int,
    currency: str,
    user_id: str,
    payment_token: str,
    placed_at: int,
) -> Refusal:
    """Return NONE for a valid line, else the first refusal in order of precedence. Hot: one pass while all is well."""
    if (
        0 < order_id <= MAX_ORDER_ID
        and 0 < len(product_id) <= MAX_ID_LENGTH
        and "\0" not in product_id
        and 0 < len(user_id) <= MAX_ID_LENGTH
        and 0 < line <= line_count <= MAX_LINES
        and 0 < quantity <= MAX_QUANTITY
        and 0 <= unit_price <= MAX_PRICE
        and quantity * unit_price <= MAX_AMOUNT
        and currency in CURRENCIES
        and len(payment_token) <= MAX_TOKEN_LENGTH
        and 0 <= placed_at <= MAX_TIME
    ):
        return _VALID
    return _first_refusal(PlainLine(order_id, line, line_count, product_id, quantity, unit_price, currency, user_id, payment_token, placed_at))


def _first_refusal(line: PlainLine) -> Refusal:
    checks = (
        (0 < line.order_id <= MAX_ORDER_ID, Refusal.INVALID_ORDER_ID),
        (is_product_id(line.product_id), Refusal.INVALID_PRODUCT),
        (0 < len(line.user_id) <= MAX_ID_LENGTH, Refusal.INVALID_USER),
        (0 < line.line <= line.line_count <= MAX_LINES, Refusal.INVALID_LINE),
        (0 < line.quantity <= MAX_QUANTITY, Refusal.INVALID_QUANTITY),
        (0 <= line.unit_price <= MAX_PRICE and line.quantity * line.unit_price <= MAX_AMOUNT, Refusal.INVALID_PRICE),
        (line.currency in CURRENCIES, Refusal.UNKNOWN_CURRENCY),
        (len(line.payment_token) <= MAX_TOKEN_LENGTH, Refusal.INVALID_TOKEN),
    )
    return next((refusal for is_fine, refusal in checks if not is_fine), Refusal.INVALID_TIME)


def is_product_id(product_id: str) -> bool:
    """Return whether this can name a product: 1..64 characters, no zero byte (those keys are the tasks' own)."""
    return 0 < len(product_id) <= MAX_ID_LENGTH and "\0" not in product_id


def clip(text: str, length: int) -> str:
    """Return at most `length` characters of `text`, without zero bytes, the last an ellipsis where some were cut."""
    plain = text.replace("\0", "\N{REPLACEMENT CHARACTER}")
    return plain if len(plain) <= length else plain[: length - 1] + "…"


def presentable(line: PlainLine) -> PlainLine:
    """Return an invalid line so that every store can hold it; a valid line comes back as it was.

    The line as it really was is in the dead letters. Texts are clipped to the stores' widths, the time to 1970..2100,
    an unknown currency is XXX; numbers are kept, for each fits its Avro type.
    """
    return line._replace(
        product_id=clip(line.product_id, MAX_ID_LENGTH),
        currency=line.currency if line.currency in CURRENCIES else NO_CURRENCY,
        user_id=clip(line.user_id, MAX_ID_LENGTH),
        payment_token=clip(line.payment_token, MAX_TOKEN_LENGTH),
        placed_at=min(max(line.placed_at, 0), MAX_TIME),
    )
