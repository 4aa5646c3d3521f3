"""What was asked of the payment provider for one order, and what it said: the same request gets the same answer. Pure.

A request whose answer is not certain yet is pending: it is kept in the row before anybody asks, and asked until the provider
says. An order's requests are asked one after the other, in the order in which they came: a refund waits for its charge.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.outcomes import PaymentKind, PaymentResult

MAX_ATTEMPT: Final = 1_000
"""Far more than an order ever has; a number beyond it was not counted by the orders agent."""


REVERSAL: Final = -1
"""Sequence of the payments agent's own refund: what a declined charge took after all goes back."""

Key: TypeAlias = tuple[int, int]
"""(attempt, sequence): one request of an order."""


class Request(NamedTuple):
    """A charge (sequence 0) or a refund of that attempt (sequence from 1, or REVERSAL). `amount` in minor units."""

    kind: PaymentKind
    order_id: int
    attempt: int
    sequence: int
    amount: int
    currency: str
    payment_token: str
    user_id: str

    @property
    def key(self) -> Key:
        return self.attempt, self.sequence


class Answer(NamedTuple):
    """What became of a request; `reason` is empty unless it was declined.

    `moved_nothing`: the provider says that there was nothing to be done at all, such as a refund of a charge it never made.
    """

    result: PaymentResult
    reason: str = ""
    moved_nothing: bool = False


class Charge(NamedTuple):
    """An attempt that was answered."""

    amount: int
    result: PaymentResult
    reason: str


class Pending(NamedTuple):
    """A request that is being asked. `since` in ms; `offset` and `item` (in the record there) say where it stands on payment.requests."""

    request: Request
    since: int
    offset: int
    item: int


@dataclass(slots=True)
class Payment:
    """One order's row: charges by attempt, refunds (minor units) by (attempt, sequence), what is pending, oldest first.

    Only money given back counts as a refund.
    """

    order_id: int
    charges: dict[int, Charge] = field(default_factory=dict)
    refunds: dict[Key, int] = field(default_factory=dict)
    pending: dict[Key, Pending] = field(default_factory=dict)

    def kept(self, attempt: int) -> int:
        """Return the money of an attempt that has not been given back, minor units."""
        charge = self.charges.get(attempt)
        if charge is None or charge.result is not PaymentResult.PAID:
            return 0
        return charge.amount - sum(amount for (of, _), amount in self.refunds.items() if of == attempt)

    def first_pending(self) -> Pending | None:
        """Return the request to ask now; the others wait for its answer."""
        return next(iter(self.pending.values()), None)


_NOTHING: Final = Payment(0)
"""What is known of an order that was never to be charged; never changed."""

# -- what can be asked at all ------------------------------------------------------------------------------------------------


def is_request(kind: int, sequence: int) -> bool:
    """Return whether there is such a request: a charge has sequence 0, a refund one over 0."""
    return (sequence == 0 and kind in (PaymentKind.CHARGE, PaymentKind.FORGET)) or (kind == PaymentKind.REFUND and sequence > 0)


def contradiction(payment: Payment | None, request: Request) -> str | None:
    """Return how a request contradicts what the row knows: a refund of no attempt, or the same request with another amount; None: it does not."""
    attempt, sequence = request.key
    row = payment or _NOTHING
    if sequence and attempt not in row.charges and (attempt, 0) not in row.pending:
        return f"a refund of attempt {attempt}, which was never charged"
    known = _known_amount(row, request.key)
    if known is not None and known != request.amount:
        return f"attempt {attempt} sequence {sequence} was asked for {known} before, and now for {request.amount}"
    return None


def _known_amount(row: Payment, key: Key) -> int | None:
    if key in row.pending:
        return row.pending[key].request.amount
    if key[1]:
        return row.refunds.get(key)
    charge = row.charges.get(key[0])
    return charge.amount if charge else None


# -- answers ---------------------------------------------------------------------------------------------------------------


def answered(payment: Payment | None, request: Request) -> Answer | None:
    """Return the answer that is certain without asking the provider; None: ask it, or where anything is pending, `wait`.

    That is the answer given before to the same attempt or refund, the refusal of a second charge, or that of a refund that has no
    money to come from. Ask about one order's requests one after the other, with `record` between: each may depend on the one before.
    """
    row = payment or _NOTHING
    known = _recorded(row, request)
    return known if known or row.pending else _refused(row, request)


def _recorded(row: Payment, request: Request) -> Answer | None:
    if request.kind == PaymentKind.REFUND:
        return Answer(PaymentResult.REFUNDED) if request.key in row.refunds else None
    charge = row.charges.get(request.attempt)
    return Answer(charge.result, charge.reason) if charge else None


def _refused(row: Payment, request: Request) -> Answer | None:
    """Return why a request is declined without asking; None: the provider has to say."""
    if request.kind == PaymentKind.REFUND:
        kept = row.kept(request.attempt)
        is_covered = 0 < request.amount <= kept
        return None if is_covered else Answer(PaymentResult.DECLINED, f"attempt {request.attempt} has {kept} left, not {request.amount}")
    paid = next((attempt for attempt, charge in row.charges.items() if charge.result is PaymentResult.PAID), None)
    return Answer(PaymentResult.DECLINED, f"attempt {paid} was paid") if paid else None


def record(payment: Payment | None, request: Request, answer: Answer) -> Payment:
    """Enter an answer, changing the row in place or making it; the first answer to a request stands.

    A declined refund is not entered: no money moved, and the provider may be asked again.
    """
    payment = payment or Payment(request.order_id)
    if request.kind is PaymentKind.CHARGE:
        payment.charges.setdefault(request.attempt, Charge._make((request.amount, answer.result, answer.reason)))
    elif answer.result is PaymentResult.REFUNDED:
        payment.refunds.setdefault(request.key, request.amount)
        assert payment.kept(request.attempt) >= 0, f"order {request.order_id} got back more than it paid in attempt {request.attempt}"
    return payment


# -- what is pending -------------------------------------------------------------------------------------------------------


def wait(payment: Payment | None, pending: Pending) -> Payment:
    """Enter a request as pending, changing the row in place or making it; one that is pending already stays as it was."""
    payment = payment or Payment(pending.request.order_id)
    payment.pending.setdefault(pending.request.key, pending)
    return payment


def settle(payment: Payment, request: Request, answer: Answer, *, doubtful: bool) -> list[tuple[Request, Answer]]:
    """Enter what the provider said to the first pending request; return what can be answered now, that request first.

    `doubtful`: it was asked before, and what came of that is not known. A charge declined then may have taken the money all the
    same: its reversal becomes pending. Requests that waited for this answer and need no provider any more are answered as well.
    """
    first = payment.pending.pop(request.key)
    said = [] if request.sequence == REVERSAL else [(first.request, answer)]
    if said:
        record(payment, first.request, answer)
    if doubtful and request.sequence == 0 and answer.result is PaymentResult.DECLINED:
        payment.pending = {(request.attempt, REVERSAL): first._replace(request=_reversal_of(first.request)), **payment.pending}
    return [*said, *_answer_certain(payment)]


def _reversal_of(charge: Request) -> Request:
    return charge._replace(kind=PaymentKind.REFUND, sequence=REVERSAL)


def _answer_certain(payment: Payment) -> list[tuple[Request, Answer]]:
    said: list[tuple[Request, Answer]] = []
    while (waiting := payment.first_pending()) and waiting.request.sequence != REVERSAL:
        answer = _recorded(payment, waiting.request) or _refused(payment, waiting.request)
        if answer is None:
            break
        said.append((waiting.request, answer))
        del payment.pending[waiting.request.key]
    return said


# -- the changelog ---------------------------------------------------------------------------------------------------------


def to_row(payment: Payment) -> dict[str, Any]:
    """Return the payment as a PaymentRow record."""
    charges = payment.charges.values()
    return {
        "order_id": payment.order_id,
        "unanswered": len(payment.pending),
        "attempt": list(payment.charges),
        "amount": [charge.amount for charge in charges],
        "result": bytes([charge.result for charge in charges]),
        "reason": [charge.reason for charge in charges],
        "refund_attempt": [attempt for attempt, _ in payment.refunds],
        "refund_sequence": [sequence for _, sequence in payment.refunds],
        "refund_amount": list(payment.refunds.values()),
        "pending": [_pending_row(*pending) for pending in payment.pending.values()] if payment.pending else [],
    }


def _pending_row(request: Request, since: int, offset: int, item: int) -> dict[str, Any]:
    names = ("attempt", "sequence", "amount", "currency", "payment_token", "user_id")
    return {**{name: getattr(request, name) for name in names}, "since": since, "offset": offset, "index": item}


def from_row(row: dict[str, Any]) -> Payment:
    """Return the payment of a PaymentRow record."""
    charges = (Charge(amount, PaymentResult(result), reason) for amount, result, reason in zip(row["amount"], row["result"], row["reason"], strict=True))
    refunds = zip(row["refund_attempt"], row["refund_sequence"], strict=True)
    return Payment(
        row["order_id"],
        dict(zip(row["attempt"], charges, strict=True)),
        dict(zip(refunds, row["refund_amount"], strict=True)),
        dict(_pending_of(row["order_id"], each) for each in row["pending"]),
    )


def _pending_of(order_id: int, row: dict[str, Any]) -> tuple[Key, Pending]:
    kind = PaymentKind.REFUND if row["sequence"] else PaymentKind.CHARGE
    header = (row["attempt"], row["sequence"], row["amount"], row["currency"], row["payment_token"], row["user_id"])
    request = Request(kind, order_id, *header)
    return request.key, Pending(request, row["since"], row["offset"], row["index"])
