"""Pure: orders and products as the API says them."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from ingest.http.waiting import DecidedLine
from ingest.order_ids import parts_of
from ingest.reads.fields import Fields

ACCEPTED: Final = "accepted"
Ms = Annotated[int, Meta(description="Milliseconds since 1970-01-01 UTC.")]
Age = Annotated[int, Meta(ge=0, description="Milliseconds since the change that made this version happened, by the clock of who made it.")]
Version = Annotated[int, Meta(ge=0, description="Counts the changes. 0: accepted and not decided yet.")]


class OrderView(msgspec.Struct, frozen=True, omit_defaults=True):
    """An order. Statuses in lower case: accepted, confirmed, rejected, payment_failed, expired, cancelled, shipped, returned.

    `refusal` is a code of docs/outcomes.md, empty where nothing was refused. Money in minor units. While it is `accepted` it has no lines, and what is
    not known is left out.
    """

    order_id: str
    user_id: str
    status: str
    refusal: str
    version: Version
    age_ms: Age
    lines: list[DecidedLine]
    currency: str | msgspec.UnsetType = msgspec.UNSET
    amount: int | msgspec.UnsetType = msgspec.UNSET
    charged: int | msgspec.UnsetType = msgspec.UNSET
    refunded: int | msgspec.UnsetType = msgspec.UNSET
    attempt: int | msgspec.UnsetType = msgspec.UNSET
    line_count: int | msgspec.UnsetType = msgspec.UNSET
    placed_at: Ms | msgspec.UnsetType = msgspec.UNSET
    decided_at: Ms | msgspec.UnsetType = msgspec.UNSET
    changed_at: Ms | msgspec.UnsetType = msgspec.UNSET


class OrderPage(msgspec.Struct, frozen=True):
    """Orders, newest first, and the `cursor` of the next page; null on the last one."""

    orders: list[OrderView]
    next_cursor: str | None


class ProductView(msgspec.Struct, frozen=True):
    """A product's units: on the shelf and free, held by orders, gone to customers; and what came in, was lost, came back."""

    product_id: str
    available: int
    reserved: int
    shipped: int
    received: int
    written_off: int
    returned: int
    version: Version
    tracked: bool
    frozen: bool
    updated_at: Ms
    age_ms: Age


class Products(msgspec.Struct, frozen=True):
    """Those that are known, in the order asked, and the IDs of which no stock was ever booked."""

    products: list[ProductView]
    missing: list[str]


def order_document(fields: Fields, now_ms: int) -> dict[str, Any]:
    """Return a decided order."""
    lines = [line | {"status": line["status"].lower()} for line in fields["lines"]]
    return fields | {"status": fields["status"].lower(), "age_ms": age_ms(fields["changed_at"], now_ms), "lines": lines}


def accepted_document(order_id: int, user: str, now_ms: int) -> dict[str, Any]:
    """Return an order that is in the log and not decided; its age is that of its ID."""
    age = age_ms(parts_of(order_id)[0], now_ms)
    return {"order_id": str(order_id), "user_id": user, "status": ACCEPTED, "refusal": "", "version": 0, "age_ms": age, "lines": []}


def product_document(fields: Fields, now_ms: int) -> dict[str, Any]:
    """Return a product."""
    return {**fields, "age_ms": age_ms(fields["updated_at"], now_ms)}


def age_ms(at_ms: int, now_ms: int) -> int:
    """Return how long ago something was. Clocks differ: what comes from the future is of now."""
    return max(0, now_ms - at_ms)
