"""One product's row, and its form in the changelog and on stock.levels. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class Product:
    """One product's row. `moves` are (ms, by): when the number of units on the shelf last changed, oldest first.

    A move by 0 in first place marks a stock-take: what came before it is settled and no longer known.
    """

    product_id: str
    available: int = 0
    reserved: int = 0
    shipped: int = 0
    received: int = 0
    written_off: int = 0
    returned: int = 0
    version: int = 0
    tracked: bool = True
    frozen: bool = False
    recent_commands: list[str] = field(default_factory=list)
    moves: list[tuple[int, int]] = field(default_factory=list)


def to_row(product: Product) -> dict[str, Any]:
    """Return the product as a ProductRow record."""
    return {
        **_numbers(product),
        "recent_commands": list(product.recent_commands),
        "moved_at": [at for at, _ in product.moves],
        "moved_by": [by for _, by in product.moves],
    }


def from_row(row: dict[str, Any]) -> Product:
    """Return the product of a ProductRow record."""
    fields = {name: value for name, value in row.items() if name not in ("moved_at", "moved_by")}
    return Product(**fields, moves=list(zip(row["moved_at"], row["moved_by"], strict=True)))


def level(product: Product, now: int) -> dict[str, Any]:
    """Return the product as a StockLevel record, as of `now` (ms)."""
    return {**_numbers(product), "updated_at": now}


def _numbers(product: Product) -> dict[str, Any]:
    return {
        "product_id": product.product_id,
        "available": product.available,
        "reserved": product.reserved,
        "shipped": product.shipped,
        "received": product.received,
        "written_off": product.written_off,
        "returned": product.returned,
        "version": product.version,
        "tracked": product.tracked,
        "frozen": product.frozen,
    }
