"""What an order does when the stock agent answers one of its lines. One function per kind of cell of the table."""

from __future__ import annotations

from schemas.outcomes import MAX_LINES, LineStatus, OrderStatus, OutcomeChange, Refusal
from streams.domain.order_events import Effect, LineAnswer, Publish
from streams.domain.order_state import Order, adopt_header, ask_charge, conflict, contradicts, decided, note_line, release_answer, undo


def first_held(order: Order, answer: LineAnswer) -> list[Effect]:
    """(unknown), held: the order is known from here on."""
    adopt_header(order, answer)
    order.status = OrderStatus.RESERVING
    return _keep(order, answer)


def held(order: Order, answer: LineAnswer) -> list[Effect]:
    """RESERVING, held: keep the line; with the last one, ask for the money."""
    if contradicts(order, answer) or answer.line in order.lines:
        return held_twice(order, answer)
    return _keep(order, answer)


def _keep(order: Order, answer: LineAnswer) -> list[Effect]:
    note_line(order, answer, LineStatus.HELD)
    if len(order.lines) < order.line_count:
        return []
    amount = order.amount
    if amount == 0:
        return [decided(order, OrderStatus.CONFIRMED)]
    order.status = OrderStatus.PAYING
    return [ask_charge(order, amount)]


def held_twice(order: Order, answer: LineAnswer) -> list[Effect]:
    """Every line is known, held: a duplicate, or another order under the same ID; either way its units go back."""
    return [release_answer(answer), conflict(answer)] if contradicts(order, answer) else [release_answer(answer)]


def first_refused(order: Order, answer: LineAnswer) -> list[Effect]:
    """(unknown), refused: the order is over as soon as it is known."""
    adopt_header(order, answer)
    return _reject(order, answer)


def refused(order: Order, answer: LineAnswer) -> list[Effect]:
    """RESERVING, refused: an invalid line rejects the order whatever else it says; a valid one, if it is the order's."""
    if Refusal(answer.refusal).is_invalid_line:
        return _reject(order, answer)
    if contradicts(order, answer):
        return [conflict(answer)]
    return [] if answer.line in order.lines else _reject(order, answer)


def _reject(order: Order, answer: LineAnswer) -> list[Effect]:
    _note_refused(order, answer)
    return [*undo(order), decided(order, OrderStatus.REJECTED, Refusal(answer.refusal))]


def _note_refused(order: Order, answer: LineAnswer) -> bool:
    """Enter a refused line unless its number is taken or no order can have it; return whether it was entered."""
    if answer.line in order.lines or not 0 < answer.line <= MAX_LINES:
        return False
    note_line(order, answer, LineStatus.REFUSED)
    return True


def refused_twice(order: Order, answer: LineAnswer) -> list[Effect]:
    """Every line is known, refused: a duplicate; an invalid line is in the dead letters already."""
    invalid = Refusal(answer.refusal).is_invalid_line
    return [conflict(answer)] if not invalid and contradicts(order, answer) else []


def cancelled_held(order: Order, answer: LineAnswer) -> list[Effect]:
    """CANCEL_PENDING, held: now the order is known, and cancelled."""
    adopt_header(order, answer)
    note_line(order, answer, LineStatus.RELEASED)
    return [release_answer(answer), decided(order, OrderStatus.CANCELLED, Refusal.CANCELLED_ON_REQUEST)]


def cancelled_refused(order: Order, answer: LineAnswer) -> list[Effect]:
    """CANCEL_PENDING, refused: the cancel came first, so it is the answer."""
    adopt_header(order, answer)
    _note_refused(order, answer)
    return [decided(order, OrderStatus.CANCELLED, Refusal.CANCELLED_ON_REQUEST)]


def late_held(order: Order, answer: LineAnswer) -> list[Effect]:
    """The order ended without its goods, held: the units go back; a line not known before is noted."""
    if contradicts(order, answer) or answer.line in order.lines:
        return held_twice(order, answer)
    note_line(order, answer, LineStatus.RELEASED)
    return [release_answer(answer), Publish(OutcomeChange.AMENDED)]


def late_refused(order: Order, answer: LineAnswer) -> list[Effect]:
    """The order ended without its goods, refused: a line not known before is noted."""
    if contradicts(order, answer):
        return refused_twice(order, answer)
    return [Publish(OutcomeChange.AMENDED)] if _note_refused(order, answer) else []
