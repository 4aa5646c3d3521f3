"""Pure: what either store holds of an order or a product, in the one form that both have.

IDs are strings, counts ints, money ints in minor units, times ms since 1970 UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeAlias

import msgspec

from schemas import views

Fields: TypeAlias = dict[str, Any]

LINE_FIELDS: Final = ("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned")
TEXT_FIELDS: Final = frozenset({"product_id", "user_id", "status", "refusal", "currency"})
FLAG_FIELDS: Final = frozenset({"tracked", "frozen"})
PRODUCT_FIELDS: Final = views.PRODUCT_COLUMNS
"""Of a product's hash."""
ORDER_FIELDS: Final = (*views.ORDER_COLUMNS, "lines")
"""Of an order's hash; `lines` as JSON."""
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


def _flag(text: str) -> bool:
    return bool(int(text))


def _reader(name: str) -> Callable[[str], Any]:
    if name == "lines":
        return msgspec.json.Decoder(list[dict[str, Any]]).decode
    if name == "order_id" or name in TEXT_FIELDS:
        return str
    return _flag if name in FLAG_FIELDS else int


_PRODUCT_READERS: Final = tuple(map(_reader, PRODUCT_FIELDS))
_ORDER_READERS: Final = tuple(map(_reader, ORDER_FIELDS))


def stock_of_values(values: Sequence[str | None]) -> Fields | None:
    """Return a product's fields from those of its Redis hash, in the order of PRODUCT_FIELDS; None if it is not whole, so that MySQL is asked."""
    return _of_values(PRODUCT_FIELDS, _PRODUCT_READERS, values)


def order_of_values(values: Sequence[str | None]) -> Fields | None:
    """Return an order's fields, its lines among them, from ORDER_FIELDS; None like stock_of_values."""
    return _of_values(ORDER_FIELDS, _ORDER_READERS, values)


def _of_values(names: Sequence[str], readers: Sequence[Callable[[str], Any]], values: Sequence[str | None]) -> Fields | None:
    if None in values:
        return None
    try:
        return {name: read(value) for name, read, value in zip(names, readers, values, strict=True)}  # type: ignore[arg-type]
    except ValueError:
        return None


def values_of(names: Sequence[str], fields: Mapping[str, Any]) -> list[Any]:
    """Return what a Redis hash holds of these fields, as the Redis sink writes it."""
    return [_stored(fields[name]) for name in names]


def _stored(value: Any) -> Any:
    if isinstance(value, list):
        return msgspec.json.encode(value)
    return int(value) if isinstance(value, bool) else value


def fields_of_row(names: Sequence[str], row: Sequence[Any]) -> Fields:
    """Return a MySQL row's fields by name."""
    return {name: _of_column(name, value) for name, value in zip(names, row, strict=True)}


def _of_column(name: str, stored: str | int | datetime) -> int | str | bool:
    if name == "order_id" or name in TEXT_FIELDS:
        return str(stored)
    if isinstance(stored, datetime):
        return ms_of(stored)
    return bool(stored) if name in FLAG_FIELDS else int(stored)


def ms_of(stored: datetime) -> int:
    """Return a DATETIME(3) in UTC as ms since 1970."""
    return (stored.replace(tzinfo=UTC) - _EPOCH) // _MS


def datetime_of(ms: int) -> datetime:
    """Return ms since 1970 as MySQL compares a DATETIME(3) with it."""
    return (_EPOCH + ms * _MS).replace(tzinfo=None)
