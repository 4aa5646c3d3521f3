"""The rules for one order line, once more: docs/outcomes.md, first table. Pure."""

from __future__ import annotations

from typing import Final

from schemas.currencies import CURRENCIES
from schemas.outcomes import MAX_AMOUNT, MAX_ID_LENGTH, MAX_LINES, MAX_ORDER_ID, MAX_PRICE, MAX_QUANTITY, MAX_TIME, MAX_TOKEN_LENGTH, Refusal

LINE: Final = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")
Line = tuple[int, int, int, str, int, int, str, str, str, int]
"""The fields of LINE."""

_NAMES: Final = {int(refusal): refusal.name for refusal in Refusal}


def refusal_name(code: int) -> str:
    """Return the name of a refusal's code."""
    return _NAMES.get(code, f"code {code}")


def fault_of(line: Line) -> Refusal:
    """Return why no order may contain this line; NONE if it is a valid line."""
    order_id, number, line_count, product_id, quantity, unit_price, currency, user_id, token, placed_at = line
    if not 1 <= order_id <= MAX_ORDER_ID:
        return Refusal.INVALID_ORDER_ID
    if not 1 <= len(product_id) <= MAX_ID_LENGTH or "\0" in product_id:
        return Refusal.INVALID_PRODUCT
    if not 1 <= len(user_id) <= MAX_ID_LENGTH:
        return Refusal.INVALID_USER
    if not 1 <= number <= line_count <= MAX_LINES:
        return Refusal.INVALID_LINE
    if not 1 <= quantity <= MAX_QUANTITY:
        return Refusal.INVALID_QUANTITY
    return _fault_of_money(quantity, unit_price, currency, token, placed_at)


def _fault_of_money(quantity: int, unit_price: int, currency: str, token: str, placed_at: int) -> Refusal:
    if not 0 <= unit_price <= MAX_PRICE or quantity * unit_price > MAX_AMOUNT:
        return Refusal.INVALID_PRICE
    if currency not in CURRENCIES:
        return Refusal.UNKNOWN_CURRENCY
    if len(token) > MAX_TOKEN_LENGTH:
        return Refusal.INVALID_TOKEN
    return Refusal.NONE if 0 <= placed_at <= MAX_TIME else Refusal.INVALID_TIME
