"""The shop of the scenarios: its products, and how they stand."""

from tests.support.flow import Flow
from tests.support.stages import Item

A, B, C = "A", "B", "C"
UNTOUCHED = [(10, 0, 0), (10, 0, 0), (1, 0, 0)]


def levels(flow: Flow) -> list[tuple[int, int, int]]:
    """Return (available, reserved, shipped) of the shop's products."""
    return [flow.level(product_id) for product_id in (A, B, C)]


def header(flow: Flow) -> Item:
    """Return what the lines of an order share."""
    return {"unit_price": 100, "currency": "GBP", "user_id": "ann", "payment_token": "tok_ann", "placed_at": flow.now}
