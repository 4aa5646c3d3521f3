"""Plain records go from wire bytes to rows by the compiled part, `sinks/_rows.pyx`. Where there is none no record is plain, and all go the long way."""

from __future__ import annotations

import json
from collections.abc import Callable
from types import ModuleType
from typing import TYPE_CHECKING, Final

from schemas import codec, compiled
from sinks.alarms import FIRST, GONE, KEPT
from sinks.rows import LEVEL, OUTCOME

__all__ = ("Order", "Product", "order", "product")
_fast: ModuleType | None = compiled.load("sinks._rows", compiled.ROWS_VERSION)

if TYPE_CHECKING:
    from sinks._rows import Order, Product
elif _fast is not None:
    Order, Product = _fast.Order, _fast.Product
else:

    class Order:
        """What no record is without the compiled part."""

    class Product:
        """What no record is without the compiled part."""


def _order_reader() -> Callable[[bytes], Order | None]:
    if _fast is None:
        return _is_not
    read: Callable[[bytes], Order | None] = _fast.OrderReader(codec.head(OUTCOME), json.loads(codec.schema_text(OUTCOME)), FIRST, KEPT, GONE).read
    return read


def _product_reader() -> Callable[[bytes], Product | None]:
    if _fast is None:
        return _is_not
    read: Callable[[bytes], Product | None] = _fast.ProductReader(codec.head(LEVEL), json.loads(codec.schema_text(LEVEL))).read
    return read


def _is_not(_data: bytes) -> None:
    return None


order: Final = _order_reader()
"""Returns the Order of a plain OrderOutcome's bytes; None for any other bytes."""
product: Final = _product_reader()
"""Returns the Product of a plain StockLevel's bytes; None for any other bytes."""
