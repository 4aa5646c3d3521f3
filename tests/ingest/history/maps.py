"""A map and rows of another shop, for tests."""

from __future__ import annotations

from typing import Any

MAP = """
source = "old-shop"
[order]
id = "order"
user = { column = "customer", default = "guest" }
currency = { value = "GBP" }
placed_at = { column = "placed", time = "%d.%m.%Y %H:%M", zone = "Europe/Berlin" }
status = { column = "state", values = { sent = "SHIPPED", open = "CONFIRMED", void = "CANCELLED", back = "RETURNED", none = "REJECTED" } }
[line]
product = "sku"
quantity = "units"
price = { column = "price", money = "major" }
returned = { column = "returned", default = 0 }
[[skip]]
column = "sku"
matches = "GIFT.*"
"""
MONEY = 'charged = { column = "charged", money = "minor" }\nrefunded = { column = "refunded", money = "minor" }\n'
COLUMNS = ("order", "customer", "placed", "state", "sku", "units", "price", "returned")


def row(order: str = "A1", sku: str = "tea", units: Any = 2, **fields: Any) -> dict[str, Any]:
    """One row as a CSV file gives it: two units at 2.50."""
    whole = {"order": order, "customer": "ann", "placed": "01.12.2010 09:26", "state": "sent", "sku": sku, "units": str(units), "price": "2.50", "returned": ""}
    return {**whole, **fields}


def history(orders: int) -> list[dict[str, Any]]:
    """Rows of so many orders of one to three lines, in every state."""
    states = ("sent", "open", "void", "back", "none")
    return [row(f"A{n}", f"sku{(n + k) % 7}", 1 + k, state=states[n % 5], customer=f"c{n % 10}") for n in range(orders) for k in range(1 + n % 3)]
