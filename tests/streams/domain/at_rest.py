"""What must be true of one order once nothing is under way any more."""

from __future__ import annotations

from typing import Any

from schemas.outcomes import LineStatus, OrderStatus
from streams.domain import order as saga
from streams.domain import payment

GOODS = {
    OrderStatus.CONFIRMED: ({LineStatus.HELD}, {LineStatus.HELD, LineStatus.SHIPPED, LineStatus.RETURNED}),
    OrderStatus.SHIPPED: ({LineStatus.SHIPPED}, {LineStatus.SHIPPED, LineStatus.RETURNED}),
    OrderStatus.RETURNED: ({LineStatus.RETURNED}, {LineStatus.RETURNED}),
}
"""What kinds of line an order with goods must have, and may have; any other order holds none."""


def check_order(order: saga.Order, last: dict[str, Any]) -> None:
    """The order's last outcome says all there is to say, and its lines are what its status promises (I3)."""
    statuses = {line.status for line in order.lines.values()}
    assert (last["status"], last["version"], last["refunded"]) == (order.status.name, order.version, order.refunded), "the last word is stale"
    assert [(n, line.status.name, line.returned) for n, line in sorted(order.lines.items())] == [
        (line["line"], line["status"], line["returned"]) for line in last["lines"]
    ]
    needed, allowed = GOODS.get(order.status, (set(), {LineStatus.REFUSED, LineStatus.RELEASED}))
    assert needed <= statuses <= allowed, "I3: its lines are not what its status says"


def check_money(order: saga.Order, row: payment.Payment | None) -> None:
    """The money kept is the price of the goods that stayed with the customer (I7)."""
    kept = sum(row.kept(attempt) for attempt in row.charges) if row else 0
    due = sum(line.left * line.unit_price for line in order.lines.values()) if order.status in GOODS else 0
    assert kept == due, "I7: the money does not follow the goods"
    assert order.charged - order.refunded == kept, "I7: the order's books are wrong"
    assert order.refunded == order.refund_asked
    assert not order.open_refunds
