"""An order's row, and the small steps that the transitions are made of. Rows are changed in place."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from schemas.outcomes import DeadLetterReason, LineStatus, OrderStatus, OutcomeChange, PaymentKind, Refusal, StockCommandKind
from streams.domain.order_events import AskPayment, Effect, GiveUp, LineAnswer, MoveStock, OrderCommand, PaymentAnswer, Publish, RefuseCommand

REMEMBERED_COMMANDS: Final = 64


@dataclass(slots=True)
class Line:
    """One known line. An order's header (user, currency, ...) is the same for all its lines and is kept once."""

    product_id: str
    quantity: int
    unit_price: int
    status: LineStatus
    refusal: Refusal = Refusal.NONE
    returned: int = 0

    @property
    def left(self) -> int:
        """Units that the customer can still give back, once the line is shipped."""
        return self.quantity - self.returned


@dataclass(slots=True)
class Order:
    """One order's row. `lines` by line number; `deadline` in ms, 0 once decided; money in minor units.

    `attempt` is the charge asked for last; `charged` what it brought; `refund_asked` and `refunded` what was asked back
    of it and what has come back; `open_refunds` the refunds' sequence numbers that are not answered yet.
    """

    order_id: int
    status: OrderStatus = OrderStatus.UNKNOWN
    version: int = 0
    refusal: Refusal = Refusal.NONE
    user_id: str = ""
    currency: str = ""
    payment_token: str = ""
    placed_at: int = 0
    decided_at: int = 0
    deadline: int = 0
    line_count: int = 0
    lines: dict[int, Line] = field(default_factory=dict)
    attempt: int = 0
    charged: int = 0
    refund_asked: int = 0
    refunded: int = 0
    refund_sequence: int = 0
    open_refunds: list[int] = field(default_factory=list)
    recent_commands: list[str] = field(default_factory=list)

    @property
    def amount(self) -> int:
        """The value of the known lines; an invalid line has none (its numbers may be anything)."""
        return sum([line.quantity * line.unit_price for line in self.lines.values() if not (line.refusal and line.refusal.is_invalid_line)])


def adopt_header(order: Order, answer: LineAnswer) -> None:
    """Take what all lines share from the first line that is heard of."""
    order.user_id = answer.user_id
    order.currency = answer.currency
    order.payment_token = answer.payment_token
    order.placed_at = answer.placed_at
    order.line_count = answer.line_count


def contradicts(order: Order, answer: LineAnswer) -> bool:
    """Return whether an answer is about another order under the same ID, or another line under the same number."""
    if (
        answer.user_id != order.user_id
        or answer.currency != order.currency
        or answer.payment_token != order.payment_token
        or answer.line_count != order.line_count
    ):
        return True
    line = order.lines.get(answer.line)
    return line is not None and (answer.product_id, answer.quantity, answer.unit_price) != (line.product_id, line.quantity, line.unit_price)


def note_line(order: Order, answer: LineAnswer, status: LineStatus) -> None:
    """Enter a line that was not known."""
    order.lines[answer.line] = Line(answer.product_id, answer.quantity, answer.unit_price, status, _REFUSALS[answer.refusal])


_REFUSALS: Final = {int(refusal): refusal for refusal in Refusal}


def conflict(answer: LineAnswer) -> GiveUp:
    """Report a line that contradicts what its order ID stands for."""
    detail = (
        f"line {answer.line} of {answer.line_count}, {answer.quantity} x {answer.product_id} at {answer.unit_price} {answer.currency} for "
        f"{answer.user_id}, contradicts what is known of order {answer.order_id}: two different orders under one ID"
    )
    return GiveUp(DeadLetterReason.CONFLICTING_ORDER, detail, answer.order_id)


def release_answer(answer: LineAnswer) -> MoveStock:
    """Give back the units of a hold that the order has no use for."""
    return MoveStock(StockCommandKind.RELEASE, answer.order_id, answer.line, answer.product_id, answer.quantity)


def undo(order: Order) -> list[Effect]:
    """Release every line held."""
    effects: list[Effect] = []
    for number, line in order.lines.items():
        if line.status is LineStatus.HELD:
            line.status = LineStatus.RELEASED
            effects.append(MoveStock(StockCommandKind.RELEASE, order.order_id, number, line.product_id, line.quantity))
    return effects


def decided(order: Order, status: OrderStatus, refusal: Refusal = Refusal.NONE) -> Publish:
    """Give the order its one answer; no deadline counts any more."""
    order.status = status
    order.refusal = refusal
    order.deadline = 0
    return Publish(OutcomeChange.DECIDED)


def ask_charge(order: Order, amount: int) -> AskPayment:
    """Ask for the order's money."""
    order.attempt += 1
    return AskPayment(PaymentKind.CHARGE, order.order_id, order.attempt, 0, amount, order.currency, order.payment_token, order.user_id)


def ask_refund(order: Order, amount: int) -> AskPayment:
    """Ask for money of the order's charge to be given back."""
    order.refund_asked += amount
    order.refund_sequence += 1
    order.open_refunds.append(order.refund_sequence)
    assert order.refund_asked <= order.charged, f"order {order.order_id} refunds {order.refund_asked} of {order.charged}"
    return AskPayment(PaymentKind.REFUND, order.order_id, order.attempt, order.refund_sequence, amount, order.currency, order.payment_token, order.user_id)


def send_back(order: Order, answer: PaymentAnswer) -> AskPayment:
    """Give back the whole of a charge that the order never asked for: the first refund of that attempt, however often it is said."""
    return AskPayment(PaymentKind.REFUND, answer.order_id, answer.attempt, 1, answer.amount, answer.currency, order.payment_token, order.user_id)


def remember(order: Order, command: OrderCommand) -> None:
    """Remember that a command was carried out."""
    order.recent_commands.append(command.command_id)
    del order.recent_commands[:-REMEMBERED_COMMANDS]


def refuse(command: OrderCommand, refusal: Refusal) -> list[Effect]:
    """Answer a command that changes nothing."""
    return [RefuseCommand(command, refusal)]
