"""What must be true of a world at every step, and once nothing is under way any more."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from schemas.outcomes import LineStatus, OrderStatus, PaymentResult, StockCommandKind
from streams.domain import order as saga
from streams.domain import payment, stock

if TYPE_CHECKING:
    from tests.streams.domain.world import World

GOODS = {
    OrderStatus.CONFIRMED: ({LineStatus.HELD}, {LineStatus.HELD, LineStatus.SHIPPED, LineStatus.RETURNED}),
    OrderStatus.SHIPPED: ({LineStatus.SHIPPED}, {LineStatus.SHIPPED, LineStatus.RETURNED}),
    OrderStatus.RETURNED: ({LineStatus.RETURNED}, {LineStatus.RETURNED}),
}
"""What kinds of line an order with goods must have, and may have; any other order holds none."""


def check_step(world: World) -> None:
    """What holds while anything is under way."""
    held = held_by_orders(world)
    for product in world.products.values():
        check_product(world, product, held[product.product_id])
    for order_id, row in world.payments.items():
        assert sum(charge.result is PaymentResult.PAID for charge in row.charges.values()) <= 1, "I7: charged twice"
        assert world.model.money[order_id] >= 0, f"I7: order {order_id} got back more than it paid"
        assert all(row.kept(attempt) >= 0 for attempt in row.charges), f"I7: order {order_id} got back more than it paid"
    for (kind, order_id, line), units in world.moved.items():
        if kind is not StockCommandKind.RELEASE:
            assert units <= world.orders[order_id].lines[line].quantity, f"{kind.name} of more than line {line} of order {order_id} has"


def check_product(world: World, product: stock.Product, held: int) -> None:
    """The books balance, and every reserved unit is somebody's, or on its way."""
    assert min(product.available, product.reserved, product.shipped) >= 0, "I1: below 0"
    assert product.available + product.reserved + product.shipped == product.received - product.written_off + product.returned, "I1: identity"
    answers = sum(a.quantity for a in world.to_orders[product.product_id] if a.refusal == 0)
    moves = sum(c.quantity for c in world.to_stock[product.product_id] if c.kind is not StockCommandKind.RETURN)
    assert product.reserved == held + answers + moves, "I3: held by nobody, or by two"


def held_by_orders(world: World) -> Counter[str]:
    """Return the units of each product that orders hold."""
    held = Counter[str]()
    for order in world.orders.values():
        for line in order.lines.values():
            if line.status is LineStatus.HELD:
                held[line.product_id] += line.quantity
    return held


def check_rest(world: World) -> None:
    """Everybody has one answer, and what goes with it."""
    assert not world.ready()
    assert not world.undecided()
    assert set(world.model.answers) == set(world.entered), "I2: an order without an answer, or an answer without an order"
    held = held_by_orders(world)
    for product_id, product in world.products.items():
        assert product.reserved == held[product_id], "I3: reserved is not what orders hold"
    for order_id, order in world.orders.items():
        check_order(order, world.outcomes[order_id][-1])
        check_money(order, world.payments.get(order_id), world.model.money[order_id])
    check_dead(world)


def check_order(order: saga.Order, last: dict[str, Any]) -> None:
    """The order's last outcome says all there is to say, and its lines are what its status promises (I3)."""
    statuses = {line.status for line in order.lines.values()}
    assert (last["status"], last["version"], last["refunded"]) == (order.status.name, order.version, order.refunded), "the last word is stale"
    assert [(n, line.status.name, line.returned) for n, line in sorted(order.lines.items())] == [
        (line["line"], line["status"], line["returned"]) for line in last["lines"]
    ]
    needed, allowed = GOODS.get(order.status, (set(), {LineStatus.REFUSED, LineStatus.RELEASED}))
    assert needed <= statuses <= allowed, "I3: its lines are not what its status says"


def check_money(order: saga.Order, row: payment.Payment | None, moved: int) -> None:
    """The money that moved is the price of the goods that stayed with the customer (I7)."""
    kept = sum(row.kept(attempt) for attempt in row.charges) if row else 0
    due = sum(line.left * line.unit_price for line in order.lines.values()) if order.status in GOODS else 0
    assert moved == kept == due, "I7: the money does not follow the goods"
    assert order.charged - order.refunded == kept, "I7: the order's books are wrong"
    assert order.refunded == order.refund_asked
    assert not order.open_refunds


def check_dead(world: World) -> None:
    """Only lines that contradict each other, one of them valid, make a conflict."""
    for letter in world.dead:
        lines = world.entered[letter.order_id]
        headers = {(line.user_id, line.currency, line.payment_token, line.line_count) for line in lines}
        assert len(headers) > 1 or len({line.line for line in lines}) < len(lines), f"no conflict: {letter}"
