"""When an order's row is forgotten, and what an order answers after that. Pure.

Whether an order ID is a new one or one whose row is gone cannot be told from the rows. Its own number tells: an order ID carries the
time at which it was given out, so an ID older than the retention that has no row is never a new order.
"""

from __future__ import annotations

from typing import Final

from schemas.order_times import born
from schemas.outcomes import DeadLetterReason, LineStatus, OrderStatus, PaymentKind, Refusal
from streams.domain.order_events import AskPayment, Effect, Event, EventKind, GiveUp, Import, LineAnswer, OrderCommand, PaymentAnswer
from streams.domain.order_state import Order, refuse, release_answer
from streams.domain.order_table import TABLE

_OVER: Final = frozenset(
    {
        *(OrderStatus.REJECTED, OrderStatus.PAYMENT_FAILED, OrderStatus.EXPIRED, OrderStatus.CANCELLED),
        *(OrderStatus.SHIPPED, OrderStatus.RETURNED, OrderStatus.IMPORTED),
    }
)
_MAY_BE_PAID: Final = frozenset({OrderStatus.EXPIRED, OrderStatus.CANCELLED, OrderStatus.REJECTED})
"""Ended without waiting for the answer to a charge; that it was declined leaves no trace in the row."""


def is_too_old(order_id: int, now: int, retention: int) -> bool:
    """Return whether an ID is older than the retention (ms; 0: nothing ever is)."""
    return 0 < retention <= now - born(order_id)


def is_over(order: Order) -> bool:
    """Return whether nothing of an order is under way: no units held for it, no refund unanswered, no charge that may still turn out to be paid."""
    if order.status not in _OVER or order.open_refunds or any(line.status is LineStatus.HELD for line in order.lines.values()):
        return False
    return order.status not in _MAY_BE_PAID or not order.attempt or order.charged > 0


def forgotten_at(order: Order, retention: int) -> int:
    """Return when the row of an order that is over may be forgotten, in ms: the retention after its ID and after its decision."""
    return max(born(order.order_id), order.decided_at) + retention


def farewell(order: Order) -> AskPayment:
    """Tell the payments agent, and whoever reads the log, that an order's row is forgotten."""
    amount = max(order.charged, 1)
    return AskPayment(PaymentKind.FORGET, order.order_id, max(order.attempt, 1), 0, amount, order.currency, "", order.user_id)


def too_late(event: Event, kind: EventKind) -> list[Effect]:
    """Answer an event of an order that is too old and has no row: units and money go back, a command is refused, nothing is published."""
    if isinstance(event, LineAnswer):
        return [] if event.refusal else [release_answer(event), _too_old(event.order_id, f"line {event.line} of it")]
    if isinstance(event, OrderCommand):
        return refuse(event, Refusal.ORDER_TOO_OLD)
    if isinstance(event, Import):
        return [_too_old(event.order_id, "what another system has decided of it")]
    if isinstance(event, PaymentAnswer):
        return TABLE[OrderStatus.UNKNOWN, kind](Order(event.order_id), event)
    return []


def _too_old(order_id: int, what: str) -> GiveUp:
    return GiveUp(
        DeadLetterReason.ORDER_TOO_OLD,
        f"{what} comes after the time for which order rows are kept: it is a repeat of an order that is forgotten, or its ID was given out too long ago",
        order_id,
    )
