"""Short ways to write an order's events and to read its effects."""

from __future__ import annotations

from typing import Any

from schemas.outcomes import OrderCommandKind, PaymentKind, PaymentResult, Refusal
from streams.domain import order as saga
from streams.domain.order_events import ImportLine

NOW = 1_000_000
TIMEOUT = 900
ORDER = 7


def line(number: int = 1, of: int = 2, refusal: Refusal = Refusal.NONE, **changes: Any) -> saga.LineAnswer:
    """Line n asks for n units of product pn at 10 each: two lines cost 10 + 20."""
    answer = saga.LineAnswer(ORDER, number, of, f"p{number}", number, 10, "GBP", "ann", "tok", 5, int(refusal))
    return answer._replace(**changes)


def refused(number: int = 2, of: int = 2, refusal: Refusal = Refusal.INSUFFICIENT_STOCK, **changes: Any) -> saga.LineAnswer:
    return line(number, of, refusal, **changes)


def command(kind: OrderCommandKind, line: int = 0, quantity: int = 0, command_id: str = "") -> saga.OrderCommand:
    return saga.OrderCommand(kind, command_id or f"{kind.name}-{line}-{quantity}", ORDER, line, quantity, "")


def cancel(command_id: str = "stop") -> saga.OrderCommand:
    return command(OrderCommandKind.CANCEL, command_id=command_id)


def ship(line: int = 0, command_id: str = "") -> saga.OrderCommand:
    return command(OrderCommandKind.SHIP, line, command_id=command_id)


def give_back(line: int = 0, quantity: int = 0, command_id: str = "") -> saga.OrderCommand:
    return command(OrderCommandKind.RETURN, line, quantity, command_id)


def charge(result: PaymentResult, amount: int = 30, attempt: int = 1) -> saga.PaymentAnswer:
    return saga.PaymentAnswer(PaymentKind.CHARGE, ORDER, attempt, 0, amount, "GBP", result, "")


def paid(amount: int = 30, attempt: int = 1) -> saga.PaymentAnswer:
    return charge(PaymentResult.PAID, amount, attempt)


def declined(attempt: int = 1) -> saga.PaymentAnswer:
    return charge(PaymentResult.DECLINED, attempt=attempt)


def refund(result: PaymentResult = PaymentResult.REFUNDED, amount: int = 30, sequence: int = 1, attempt: int = 1) -> saga.PaymentAnswer:
    return saga.PaymentAnswer(PaymentKind.REFUND, ORDER, attempt, sequence, amount, "GBP", result, "")


def imported(**changes: Any) -> saga.Import:
    """An order of two lines that another system has shipped."""
    lines = tuple(ImportLine(n, f"p{n}", n, 10, "SHIPPED", "", 0) for n in (1, 2))
    order = saga.Import(ORDER, "old-shop", "order-7", "SHIPPED", "", "ann", "GBP", 30, 0, lines, 5, 6, 7)
    return order._replace(**changes)


TIME_UP = saga.Deadline(ORDER)


class Saga:
    """One order that hears one event after the other; its outcomes are published as they come."""

    def __init__(self, *events: saga.Event) -> None:
        self.order: saga.Order | None = None
        self.outcomes: list[dict[str, Any]] = []
        self.now = NOW
        for event in events:
            self.hear(event)

    def hear(self, event: saga.Event) -> str:
        """Return the status after the event and what it led to, in short."""
        self.now += TIMEOUT if isinstance(event, saga.Deadline) else 0
        self.order, effects = saga.decide(self.order, event, self.now, TIMEOUT)
        told = [self.tell(effect) for effect in effects]
        return " ".join([self.order.status.name if self.order else "UNKNOWN", *told])

    def tell(self, effect: saga.Effect) -> str:
        match effect:
            case saga.MoveStock():
                return f"{effect.kind.name}:{effect.line}x{effect.quantity}"
            case saga.AskPayment():
                return f"{effect.kind.name}:{effect.attempt}.{effect.sequence}={effect.amount}"
            case saga.Publish():
                assert self.order
                self.outcomes.append(saga.publish(self.order, effect.change, self.now))
                return effect.change.name
            case saga.PublishImport():
                self.outcomes.append(saga.outcome_of(effect.imported))
                return "IMPORTED"
            case saga.RefuseCommand():
                return f"NO:{effect.refusal.name}"
            case saga.GiveUp():
                return f"DEAD:{effect.reason.name}"
