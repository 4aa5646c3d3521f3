"""Provider `sandbox`: moves no money. Pure and repeatable, for demos, tests and benchmarks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Request

DECLINED_TOKEN: Final = "tok_declined"  # noqa: S105
_MASK: Final = 2**64 - 1


class Sandbox:
    """Declines the token `tok_declined`, and beyond it a share of the orders (0.0 to 1.0), always the same ones; refunds all."""

    def __init__(self, decline_rate: float = 0.0) -> None:
        if not 0.0 <= decline_rate <= 1.0:
            raise ValueError(f"decline rate {decline_rate}: give a share from 0.0 to 1.0")
        self._below = int(decline_rate * 2**64)

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        """Return the answer to each request, in their order."""
        return [self._answer(request) for request in requests]

    def _answer(self, request: Request) -> Answer:
        if request.kind == PaymentKind.REFUND:
            return Answer(PaymentResult.REFUNDED)
        if request.payment_token == DECLINED_TOKEN:
            return Answer(PaymentResult.DECLINED, "token declined")
        if _scatter(request.order_id) < self._below:
            return Answer(PaymentResult.DECLINED, "declined by rate")
        return Answer(PaymentResult.PAID)


def _scatter(order_id: int) -> int:
    """Return 64 evenly spread bits for an order ID (splitmix64's finaliser: stable over processes and versions)."""
    bits = (order_id * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)
