"""What was asked of the payment provider for one order, and what it said: the same request gets the same answer. Pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

from schemas.outcomes import PaymentKind, PaymentResult


class Request(NamedTuple):
    """A charge (sequence 0) or a refund of that attempt (sequence from 1). `amount` in minor units."""

    kind: PaymentKind
    order_id: int
    attempt: int
    sequence: int
    amount: int
    currency: str
    payment_token: str
    user_id: str


class Answer(NamedTuple):
    """What became of a request; `reason` is empty unless it was declined."""

    result: PaymentResult
    reason: str = ""


class Charge(NamedTuple):
    """An attempt that was answered."""

    amount: int
    result: PaymentResult
    reason: str


@dataclass(slots=True)
class Payment:
    """One order's row: charges by attempt, refunds (minor units) by (attempt, sequence). Only money given back counts as a refund."""

    order_id: int
    charges: dict[int, Charge] = field(default_factory=dict)
    refunds: dict[tuple[int, int], int] = field(default_factory=dict)

    def kept(self, attempt: int) -> int:
        """Return the money of an attempt that has not been given back, minor units."""
        charge = self.charges.get(attempt)
        if charge is None or charge.result is not PaymentResult.PAID:
            return 0
        return charge.amount - sum(amount for (of, _), amount in self.refunds.items() if of == attempt)


def answered(payment: Payment | None, request: Request) -> Answer | None:
    """Return the answer that is certain without asking the provider; None: ask it.

    That is the answer given before to the same attempt or refund, or the refusal of a refund that has no money to come from.
    Ask about one order's requests one after the other, with `record` between: each may depend on the one before.
    """
    if request.kind == PaymentKind.CHARGE:
        charge = payment.charges.get(request.attempt) if payment else None
        return Answer(charge.result, charge.reason) if charge else None
    return _refund_answered(payment or Payment(request.order_id), request)


def _refund_answered(payment: Payment, request: Request) -> Answer | None:
    if (request.attempt, request.sequence) in payment.refunds:
        return Answer(PaymentResult.REFUNDED)
    kept = payment.kept(request.attempt)
    if 0 < request.amount <= kept:
        return None
    return Answer(PaymentResult.DECLINED, f"attempt {request.attempt} has {kept} left, not {request.amount}")


def record(payment: Payment | None, request: Request, answer: Answer) -> Payment:
    """Enter an answer, changing the row in place or making it; the first answer to a request stands.

    A declined refund is not entered: no money moved, and the provider may be asked again.
    """
    payment = payment or Payment(request.order_id)
    if request.kind == PaymentKind.CHARGE:
        payment.charges.setdefault(request.attempt, Charge(request.amount, answer.result, answer.reason))
    elif answer.result is PaymentResult.REFUNDED:
        payment.refunds.setdefault((request.attempt, request.sequence), request.amount)
        assert payment.kept(request.attempt) >= 0, f"order {request.order_id} got back more than it paid in attempt {request.attempt}"
    return payment


def to_row(payment: Payment) -> dict[str, Any]:
    """Return the payment as a PaymentRow record."""
    charges = payment.charges.values()
    return {
        "order_id": payment.order_id,
        "attempt": list(payment.charges),
        "amount": [charge.amount for charge in charges],
        "result": bytes([charge.result for charge in charges]),
        "reason": [charge.reason for charge in charges],
        "refund_attempt": [attempt for attempt, _ in payment.refunds],
        "refund_sequence": [sequence for _, sequence in payment.refunds],
        "refund_amount": list(payment.refunds.values()),
    }


def from_row(row: dict[str, Any]) -> Payment:
    """Return the payment of a PaymentRow record."""
    charges = (Charge(amount, PaymentResult(result), reason) for amount, result, reason in zip(row["amount"], row["result"], row["reason"], strict=True))
    refunds = zip(row["refund_attempt"], row["refund_sequence"], strict=True)
    return Payment(row["order_id"], dict(zip(row["attempt"], charges, strict=True)), dict(zip(refunds, row["refund_amount"], strict=True)))
