"""What one row of an Online Retail file is, taken by itself (pure): an order line, a return, a correction, or nothing we can take."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from functools import lru_cache
from typing import Final, NamedTuple

from schemas.outcomes import MAX_AMOUNT, MAX_ID_LENGTH, MAX_PRICE, MAX_QUANTITY, MAX_TIME, StockCommandKind

_INVOICE = re.compile(r"C?[0-9]{1,32}")
_BAD_DEBT = re.compile(r"A[0-9]{1,32}")
_QUANTITY = re.compile(r"-?[0-9]{1,12}")
_PRICE = re.compile(r"-?[0-9]{1,12}(\.[0-9]{1,12})?")
_GOOD = re.compile(r"[0-9]{5}|DCGS.")
_FIELDS: Final = 8
_US_TIME: Final = "%m/%d/%Y %H:%M"
"""How the file is published first-hand (12/1/2010 8:26); other copies have ISO 8601."""


class LineRow(NamedTuple):
    """A line of an order: `price` in pence, `placed_at` in ms, `customer` empty for a guest."""

    invoice: str
    product: str
    quantity: int
    price: int
    customer: str
    placed_at: int


class ReturnRow(NamedTuple):
    """Units that a customer gave back; `invoice` is the credit note's number."""

    invoice: str
    product: str
    quantity: int
    customer: str


class CorrectionRow(NamedTuple):
    """Units that the shop itself wrote off or found."""

    product: str
    kind: StockCommandKind
    quantity: int


class InvalidRow(NamedTuple):
    """Why a row is none of these, for people."""

    detail: str


RowMeaning = LineRow | ReturnRow | CorrectionRow | InvalidRow


class _InvalidError(Exception):
    """Carries an InvalidRow's detail out of a field's check."""


def is_service(product: str) -> bool:
    """Say whether a stock code is a service or fee, of which nothing lies on a shelf.

    In this shop every good has a code of five digits, with letters behind them for variants, but for those the shop's other
    house sells (DCGS...): only these two kinds are ever damaged, found, or described as a thing. What is left is postage and carriage
    (POST, DOT, C2), manual postings and discounts (M, D, B, S, PADS at 0.001), fees (AMAZONFEE, BANK CHARGES, CRUK), and gift vouchers.
    """
    return not _GOOD.match(product)


def meaning_of(fields: Sequence[str]) -> RowMeaning:
    """Return what a row of the file's eight columns means; the first check that fails is the one that is told."""
    try:
        return _meaning(fields)
    except _InvalidError as invalid:
        return InvalidRow(str(invalid))


def _meaning(fields: Sequence[str]) -> RowMeaning:
    if len(fields) != _FIELDS:
        raise _InvalidError(f"{len(fields)} columns, not {_FIELDS}" if fields else "no CSV: the quotes do not match")
    invoice, product, _, quantity_text, date, price_text, customer, _ = fields
    is_credit = _is_credit(invoice)
    product = _name("StockCode", product, 1)
    quantity = _quantity(quantity_text)
    price, is_free = _price(price_text)
    placed_at = _time(date)
    customer = _name("CustomerID", customer, 0)
    if is_credit:
        return _credit(invoice, product, quantity, customer)
    if quantity < 0:
        return CorrectionRow(product, StockCommandKind.WRITE_OFF, -quantity)
    if is_free:
        return CorrectionRow(product, StockCommandKind.FOUND, quantity)
    if quantity * price > MAX_AMOUNT:
        raise _InvalidError(f"Quantity {quantity:,} x UnitPrice {price_text}: an order line may come to {MAX_AMOUNT:,} pence")
    return LineRow(invoice, product, quantity, price, customer, placed_at)


@lru_cache(maxsize=1024)
def _is_credit(invoice: str) -> bool:
    if _BAD_DEBT.fullmatch(invoice):
        raise _InvalidError(f"InvoiceNo {invoice}: a bad-debt adjustment is no order")
    if not _INVOICE.fullmatch(invoice):
        raise _InvalidError(f"InvoiceNo {_shown(invoice)}: expected digits, with a C in front for a credit note")
    return invoice[0] == "C"


def _credit(invoice: str, product: str, quantity: int, customer: str) -> ReturnRow:
    if quantity > 0:
        raise _InvalidError(f"Quantity {quantity:,} on credit note {invoice}: a return's quantity is below 0")
    return ReturnRow(invoice, product, -quantity, customer)


@lru_cache(maxsize=65_536)
def _name(column: str, text: str, least: int) -> str:
    name = text.strip()
    if not least <= len(name) <= MAX_ID_LENGTH:
        raise _InvalidError(f"{column} {_shown(name)}: expected {least} to {MAX_ID_LENGTH} characters")
    if any(c == "\0" or "\ud800" <= c <= "\udfff" for c in name):
        raise _InvalidError(f"{column} {_shown(name)}: holds a zero byte or is no UTF-8")
    return name


@lru_cache(maxsize=8_192)
def _quantity(text: str) -> int:
    if not _QUANTITY.fullmatch(text):
        raise _InvalidError(f"Quantity {_shown(text)}: expected a whole number")
    quantity = int(text)
    if not 1 <= abs(quantity) <= MAX_QUANTITY:
        raise _InvalidError(f"Quantity {quantity:,}: expected 1 to {MAX_QUANTITY:,} units, given or taken")
    return quantity


@lru_cache(maxsize=8_192)
def _price(text: str) -> tuple[int, bool]:
    """Return the price in pence, half a penny rounded up, and whether it is 0 as written (0.001 is a price)."""
    if not _PRICE.fullmatch(text):
        raise _InvalidError(f"UnitPrice {_shown(text)}: expected a number such as 2.55")
    price = Decimal(text)
    pence = int((price * 100).quantize(Decimal(1), ROUND_HALF_UP))
    if price < 0 or pence > MAX_PRICE:
        raise _InvalidError(f"UnitPrice {text}: expected 0 to {MAX_PRICE // 100:,}")
    return pence, not price


@lru_cache(maxsize=1024)
def _time(text: str) -> int:
    at = _parsed_time(text)
    ms = round((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp() * 1000)
    if not 0 <= ms <= MAX_TIME:
        raise _InvalidError(f"InvoiceDate {_shown(text)}: expected a time from 1970 to 2100")
    return ms


def _parsed_time(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text)
    except ValueError:
        pass
    try:
        return datetime.strptime(text, _US_TIME).replace(tzinfo=UTC)
    except ValueError:
        raise _InvalidError(f"InvoiceDate {_shown(text)}: expected a time such as 2010-12-01T08:26:00") from None


def _shown(text: str) -> str:
    return ascii(text if len(text) <= 40 else text[:37] + "...")
