"""The bodies of the API, strict: unknown members, wrong types and values out of range are refused where they stand."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta, Struct

from ingest.columns import Line
from ingest.http.errors import Problem, invalid, malformed, pointer_of
from schemas.currencies import CURRENCIES
from schemas.outcomes import MAX_AMOUNT, MAX_ID_LENGTH, MAX_LINES, MAX_PRICE, MAX_QUANTITY, MAX_TIME, MAX_TOKEN_LENGTH, Refusal

T = TypeVar("T")

NO_ZERO: Final = "^[^\\u0000]*$"
"""JSON schema's pattern of a text without a zero byte; handlers check it themselves, which is faster."""
ProductId = Annotated[
    str,
    Meta(min_length=1, max_length=MAX_ID_LENGTH, description="Product (SKU); no zero byte.", examples=["22423"], extra_json_schema={"pattern": NO_ZERO}),
]
UserId = Annotated[str, Meta(min_length=1, max_length=MAX_ID_LENGTH, description="Who orders.", examples=["u1"])]
Quantity = Annotated[int, Meta(ge=1, le=MAX_QUANTITY, description="Units.", examples=[1])]
Price = Annotated[int, Meta(ge=0, le=MAX_PRICE, description="Price of one unit in minor units of the currency (pence, cents).", examples=[1275])]
Currency = Annotated[str, Meta(min_length=3, max_length=3, description="ISO 4217 code.", examples=["GBP"], extra_json_schema={"enum": sorted(CURRENCIES)})]
Token = Annotated[
    str, Meta(max_length=MAX_TOKEN_LENGTH, description="What the payment provider charges; sandbox: tok_ok, tok_declined, ...", examples=["tok_ok"])
]


class LineBody(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """One line of an order; its number is its place, from 1. Quantity times price is at most 10^15."""

    product_id: ProductId
    quantity: Quantity
    unit_price: Price


class PaymentBody(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """How the order is paid. Never a card number."""

    token: Token


class OrderBody(Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """An order to place."""

    user: UserId
    currency: Currency
    lines: Annotated[list[LineBody], Meta(min_length=1, max_length=MAX_LINES)]
    payment: PaymentBody


class ShipBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A ship: of one line, or of every line that is held."""

    line: Annotated[int, Meta(ge=0, le=MAX_LINES, description="Number of the line; 0: every line.")] = 0


class CancelBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A cancel says no more than its path."""


class ReturnBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A return: of units of a line, of what is left of a line, or of everything."""

    line: Annotated[int, Meta(ge=0, le=MAX_LINES, description="Number of the line; 0: every line.")] = 0
    quantity: Annotated[int, Meta(ge=0, le=MAX_QUANTITY, description="Units; 0: all that is left. Over 0 only with a line.")] = 0


RULES: Final[Mapping[str, Mapping[str, Any]]] = {
    "ReturnBody": {"anyOf": [{"properties": {"quantity": {"const": 0}}}, {"properties": {"line": {"minimum": 1}}, "required": ["line"]}]},
}
"""What JSON schema can say of a body, by its name, and a struct cannot."""
Note = Annotated[str, Meta(max_length=1_000, description="For people.")]


class UnitsBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Units that arrived (restock) or are lost (write-off)."""

    quantity: Quantity
    note: Note = ""


class CountBody(Struct, frozen=True, forbid_unknown_fields=True):
    """A stock-take: the units on the shelf (available and reserved) as of a time."""

    quantity: Annotated[int, Meta(ge=0, le=MAX_QUANTITY, description="Units on the shelf.")]
    as_of: Annotated[int, Meta(ge=1, le=MAX_TIME, description="When it was counted, in ms since 1970-01-01 UTC; left out: now.")] | None = None
    note: Note = ""


class FreezeBody(Struct, frozen=True, forbid_unknown_fields=True):
    """Refuse reservations of the product (true), or take them again (false)."""

    frozen: bool = True
    note: Note = ""


class Accepted(Struct, frozen=True):
    """The log has the order; it is not decided yet."""

    order_id: str
    status: str = "accepted"


class Body(Generic[T]):
    """Decodes one kind of body; an empty one is `{}`."""

    def __init__(self, kind: type[T]) -> None:
        self.kind = kind
        self._decoder: msgspec.json.Decoder[T] = msgspec.json.Decoder(kind)

    def decode(self, data: bytes) -> T:
        """Return the body; raises Problem (400 for what is no JSON, 422 for what may not be)."""
        try:
            return self._decoder.decode(data or b"{}")
        except msgspec.ValidationError as error:
            raise _invalid(str(error)) from None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(f"the body is not JSON in UTF-8: {error}" if data else "the body is empty") from None

    def decode_lines(self, data: bytes) -> list[T]:
        """Return the bodies of NDJSON, all or none: raises Problem for the first wrong one, without saying which."""
        try:
            return self._decoder.decode_lines(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise malformed(str(error)) from None


ORDER: Final = Body(OrderBody)
_CODES: Final = {
    "product_id": Refusal.INVALID_PRODUCT,
    "user": Refusal.INVALID_USER,
    "lines": Refusal.INVALID_LINE,
    "quantity": Refusal.INVALID_QUANTITY,
    "unit_price": Refusal.INVALID_PRICE,
    "currency": Refusal.UNKNOWN_CURRENCY,
    "token": Refusal.INVALID_TOKEN,
}
_PLACE: Final = re.compile(r"(.*?)(?: - at `(\$[^`]*)`)?", re.DOTALL)
_MEMBER: Final = re.compile(r"Object (?:missing required|contains unknown) field `([^`]*)`", re.DOTALL)


def check_order(order: OrderBody) -> None:
    """Raise Problem for what the types cannot say."""
    for line in order.lines:
        if line.quantity * line.unit_price > MAX_AMOUNT or "\0" in line.product_id:
            raise _wrong_line(order)
    if order.currency not in CURRENCIES:
        raise invalid("/currency", f"{order.currency!r} is no ISO 4217 code; GBP is one", Refusal.UNKNOWN_CURRENCY.name)


def _wrong_line(order: OrderBody) -> Problem:
    """Return what is wrong with the first line that is."""
    at, line = next((at, line) for at, line in enumerate(order.lines) if line.quantity * line.unit_price > MAX_AMOUNT or "\0" in line.product_id)
    if "\0" in line.product_id:
        return invalid(f"/lines/{at}/product_id", "a product ID holds no zero byte", Refusal.INVALID_PRODUCT.name)
    detail = f"{line.quantity:,} units of it come to more than {MAX_AMOUNT:,} minor units"
    return invalid(f"/lines/{at}/unit_price", detail, Refusal.INVALID_PRICE.name)


def line_items(order: OrderBody, order_id: int, now_ms: int) -> list[Line]:
    """Return a checked order's lines as they go into the log."""
    user, currency, token, lines = order.user, order.currency, order.payment.token, order.lines
    if len(lines) == 1:
        line = lines[0]
        return [(order_id, 1, 1, line.product_id, line.quantity, line.unit_price, currency, user, token, now_ms)]
    count = len(lines)
    return [(order_id, number, count, line.product_id, line.quantity, line.unit_price, currency, user, token, now_ms) for number, line in enumerate(lines, 1)]


def canonical(body: Any) -> bytes:
    """Return one form of a body for all ways to write it: what two requests have to agree in to be the same."""
    return msgspec.json.encode(body, order="deterministic")


def _invalid(said: str) -> Problem:
    found = _PLACE.fullmatch(said)
    what, path = (found[1], found[2] or "$") if found else (said, "$")
    member = _MEMBER.match(what)
    pointer = pointer_of(path) + (f"/{member[1]}" if member else "")
    code = next((_CODES[step].name for step in reversed(pointer.split("/")) if step in _CODES), "")
    return invalid(pointer, f"{what} - at {pointer}" if pointer else what, code)
