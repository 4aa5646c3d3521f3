"""A payment provider whose answers may be lost: whoever asks in doubt may find a charge declined that took the money all the same."""

from __future__ import annotations

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain import payment
from tests.streams.domain.model import Model
from tests.streams.domain.plans import DECLINED_TOKEN


class Provider:
    """The token says whether there is money; what was taken goes back once. What moves is told to the model."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.asked: set[tuple[int, ...]] = set()
        self.taken: set[int] = set()
        """Orders whose money was taken with a charge that was declined."""

    def ask(self, request: payment.Request, *, takes: bool = False) -> payment.Answer:
        """Return the answer to a request; one that is declined takes the money, if told to."""
        assert request[:4] not in self.asked, "the provider was asked twice"
        self.asked.add(request[:4])
        return self.refund(request) if request.kind == PaymentKind.REFUND else self.charge(request, takes=takes)

    def charge(self, request: payment.Request, *, takes: bool) -> payment.Answer:
        declined = request.payment_token == DECLINED_TOKEN
        if declined and takes:
            self.taken.add(request.order_id)
        if takes or not declined:
            self.model.money[request.order_id] += request.amount
        return payment.Answer(PaymentResult.DECLINED, "no money") if declined else payment.Answer(PaymentResult.PAID)

    def refund(self, request: payment.Request) -> payment.Answer:
        if request.sequence == payment.REVERSAL and request.order_id not in self.taken:
            return payment.Answer(PaymentResult.DECLINED, "nothing was taken", moved_nothing=True)
        self.model.money[request.order_id] -= request.amount
        return payment.Answer(PaymentResult.REFUNDED)
