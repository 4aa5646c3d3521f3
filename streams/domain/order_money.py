"""What an order does when the payments agent answers, or when its time is up."""

from __future__ import annotations

from schemas.outcomes import DeadLetterReason, OrderCommandKind, OrderStatus, OutcomeChange, Refusal
from streams.domain.order_events import Deadline, Effect, GiveUp, OrderCommand, PaymentAnswer, Publish, RefuseCommand
from streams.domain.order_state import Order, ask_refund, decided, send_back, undo


def paid(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """PAYING, paid: the order is confirmed."""
    if answer.attempt != order.attempt:
        return [send_back(order, answer)]
    order.charged = answer.amount
    return [decided(order, OrderStatus.CONFIRMED)]


def unasked(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """Not asked for money yet, paid: it goes back, and its number is not used again."""
    order.attempt = max(order.attempt, answer.attempt)
    return [send_back(order, answer)]


def paid_twice(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """Paid before, paid: the same attempt said twice is nothing; any other goes back."""
    return [] if answer.attempt == order.attempt else [send_back(order, answer)]


def paid_late(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """The order ended without its goods, paid: the whole attempt goes back, once."""
    if order.charged:
        return paid_twice(order, answer)
    order.attempt = answer.attempt
    order.charged = answer.amount
    return [ask_refund(order, answer.amount), Publish(OutcomeChange.AMENDED)]


def declined(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """PAYING, declined: no money, no goods."""
    if answer.attempt != order.attempt:
        return []
    return [*undo(order), decided(order, OrderStatus.PAYMENT_FAILED, Refusal.PAYMENT_DECLINED)]


def refunded(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """Decided, refunded: what came back is noted, each refund once."""
    if not _close_refund(order, answer):
        return []
    order.refunded += answer.amount
    return [Publish(OutcomeChange.AMENDED)]


def unrefunded(order: Order, answer: PaymentAnswer) -> list[Effect]:
    """Decided, refund declined: the provider keeps money that is not ours; people must settle it."""
    if not _close_refund(order, answer):
        return []
    detail = f"refund {answer.sequence} of attempt {answer.attempt}, {answer.amount} {answer.currency}, was declined: {answer.reason or 'no reason given'}"
    return [GiveUp(DeadLetterReason.REFUND_DECLINED, detail, order.order_id)]


def _close_refund(order: Order, answer: PaymentAnswer) -> bool:
    """Return whether this answers a refund that the order waits for, and wait for it no longer."""
    if answer.attempt != order.attempt or answer.sequence not in order.open_refunds:
        return False
    order.open_refunds.remove(answer.sequence)
    return True


def expired(order: Order, _: Deadline) -> list[Effect]:
    """RESERVING or PAYING, deadline: no answer in time is an answer."""
    return [*undo(order), decided(order, OrderStatus.EXPIRED, Refusal.DEADLINE_PASSED)]


def forget(order: Order, _: Deadline) -> list[Effect]:
    """CANCEL_PENDING, deadline: no order came, so every cancel kept for it is refused and the row is forgotten."""
    order.status = OrderStatus.UNKNOWN
    cancels = (OrderCommand(OrderCommandKind.CANCEL, command_id, order.order_id, 0, 0, "") for command_id in order.recent_commands)
    return [RefuseCommand(cancel, Refusal.UNKNOWN_ORDER) for cancel in cancels]
