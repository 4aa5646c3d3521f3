"""What an order hears (events) and what it has done (effects). Values only. Money in minor units, times in ms."""

from __future__ import annotations

from enum import IntEnum
from typing import Final, NamedTuple, TypeAlias

from schemas.outcomes import DeadLetterReason, OrderCommandKind, OutcomeChange, PaymentKind, PaymentResult, Refusal, StockCommandKind


class LineAnswer(NamedTuple):
    """The stock agent's answer to one line: held (refusal 0) or refused. Carries the whole line."""

    order_id: int
    line: int
    line_count: int
    product_id: str
    quantity: int
    unit_price: int
    currency: str
    user_id: str
    payment_token: str
    placed_at: int
    refusal: int


class OrderCommand(NamedTuple):
    """A checked command (see `check_order_command`). Line 0: every line; quantity 0: all that is left."""

    kind: int
    command_id: str
    order_id: int
    line: int
    quantity: int
    actor: str


class PaymentAnswer(NamedTuple):
    """The payments agent's answer to a charge (sequence 0) or to a refund of that attempt (sequence from 1)."""

    kind: int
    order_id: int
    attempt: int
    sequence: int
    amount: int
    currency: str
    result: int
    reason: str


class ImportLine(NamedTuple):
    """A line of an order that was decided elsewhere, as it stands there; status and refusal by name."""

    line: int
    product_id: str
    quantity: int
    unit_price: int
    status: str
    refusal: str
    returned: int


class Import(NamedTuple):
    """An order that was decided elsewhere, checked (see `check_import`): its fields as in ImportedOrder."""

    order_id: int
    source: str
    external_id: str
    status: str
    refusal: str
    user_id: str
    currency: str
    charged: int
    refunded: int
    lines: tuple[ImportLine, ...]
    placed_at: int
    decided_at: int
    changed_at: int


class Deadline(NamedTuple):
    """The time an order had may be over."""

    order_id: int


Event: TypeAlias = LineAnswer | OrderCommand | PaymentAnswer | Deadline | Import


class EventKind(IntEnum):
    """The columns of the transition table."""

    __hash__ = int.__hash__  # see OrderStatus

    HELD = 0
    REFUSED = 1
    PAID = 2
    DECLINED = 3
    REFUNDED = 4
    REFUND_DECLINED = 5
    CANCEL = 6
    SHIP = 7
    RETURN = 8
    DEADLINE = 9
    IMPORT = 10
    RESTATE = 11


class MoveStock(NamedTuple):
    """Tell the stock agent: RELEASE, SHIP or RETURN so many units."""

    kind: StockCommandKind
    order_id: int
    line: int
    product_id: str
    quantity: int


class AskPayment(NamedTuple):
    """Ask the payments agent for a charge, or to give money of an attempt back."""

    kind: PaymentKind
    order_id: int
    attempt: int
    sequence: int
    amount: int
    currency: str
    payment_token: str
    user_id: str


class Publish(NamedTuple):
    """Publish the order as it stands now (`order_rows.publish`), before anything else changes it."""

    change: OutcomeChange


class PublishImport(NamedTuple):
    """Publish an order as it was decided elsewhere (`order_import.outcome_of`)."""

    imported: Import


class RefuseCommand(NamedTuple):
    """Answer a command that changes nothing."""

    command: OrderCommand
    refusal: Refusal


class GiveUp(NamedTuple):
    """Something that people must look at: a dead letter."""

    reason: DeadLetterReason
    detail: str
    order_id: int


Effect: TypeAlias = MoveStock | AskPayment | Publish | PublishImport | RefuseCommand | GiveUp

_OF_COMMAND: Final[dict[int, EventKind]] = {
    OrderCommandKind.CANCEL: EventKind.CANCEL,
    OrderCommandKind.SHIP: EventKind.SHIP,
    OrderCommandKind.RETURN: EventKind.RETURN,
    OrderCommandKind.RESTATE: EventKind.RESTATE,
}
_OF_PAYMENT: Final[dict[tuple[int, int], EventKind]] = {
    (PaymentKind.CHARGE, PaymentResult.PAID): EventKind.PAID,
    (PaymentKind.CHARGE, PaymentResult.DECLINED): EventKind.DECLINED,
    (PaymentKind.REFUND, PaymentResult.REFUNDED): EventKind.REFUNDED,
    (PaymentKind.REFUND, PaymentResult.DECLINED): EventKind.REFUND_DECLINED,
}


def is_payment_answer(kind: int, result: int) -> bool:
    """Return whether an answer of this kind (PaymentKind) can have this result (PaymentResult)."""
    return (kind, result) in _OF_PAYMENT


def kind_of(event: Event) -> EventKind:
    """Return the event's column in the transition table."""
    if isinstance(event, LineAnswer):
        return EventKind.REFUSED if event.refusal else EventKind.HELD
    if isinstance(event, PaymentAnswer):
        return _OF_PAYMENT[event.kind, event.result]
    if isinstance(event, OrderCommand):
        return _OF_COMMAND[event.kind]
    return EventKind.IMPORT if isinstance(event, Import) else EventKind.DEADLINE
