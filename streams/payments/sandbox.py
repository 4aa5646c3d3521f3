"""Provider `sandbox`: moves no money. Pure and repeatable, for demos, tests and benchmarks.

What it answers hangs on the payment token, and beyond that on a share of the orders to be declined.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from itertools import count
from typing import Final

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Pending, Request
from streams.payments import Heard
from telemetry import traces

DECLINED_TOKEN: Final = "tok_declined"  # noqa: S105
SLOW_TOKEN: Final = "tok_slow"  # noqa: S105
"""Answered (paid) some seconds later."""
TWICE_TOKEN: Final = "tok_twice"  # noqa: S105
"""Answered twice: paid, and then declined."""
SILENT_TOKEN: Final = "tok_silent"  # noqa: S105
"""Not answered (paid) before the order's time is up."""
PAID: Final = Answer(PaymentResult.PAID)
REFUNDED: Final = Answer(PaymentResult.REFUNDED)
DECLINED: Final = Answer(PaymentResult.DECLINED, "token declined")
DECLINED_BY_RATE: Final = Answer(PaymentResult.DECLINED, "declined by rate")
SLOW_MS: Final = 5_000
SILENT_MS: Final = 905_000
_MASK: Final = 2**64 - 1


class Sandbox:
    """Declines the token `tok_declined`, and beyond it a share of the orders (0.0 to 1.0), always the same ones; refunds all.

    A charge of `tok_slow` is answered `slow_ms` after it became pending, one of `tok_silent` `silent_ms` after.
    """

    def __init__(self, decline_rate: float = 0.0, slow_ms: int = SLOW_MS, silent_ms: int = SILENT_MS) -> None:
        if not 0.0 <= decline_rate <= 1.0:
            raise ValueError(f"decline rate {decline_rate}: give a share from 0.0 to 1.0")
        self._below = int(decline_rate * 2**64)
        self.delays: Final = {SLOW_TOKEN: slow_ms, SILENT_TOKEN: silent_ms, TWICE_TOKEN: 0}

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer | None]:
        """Return the answer to each request, in their order; None to one that is answered later."""
        return [None if r.payment_token in self.delays and r.kind is PaymentKind.CHARGE else self.decide(r) for r in requests]

    def desk(self) -> SandboxDesk:
        return SandboxDesk(self)

    def decide(self, request: Request) -> Answer:
        """Return what becomes of a request, sooner or later."""
        if request.kind is PaymentKind.REFUND:
            return REFUNDED
        if request.payment_token == DECLINED_TOKEN:
            return DECLINED
        return DECLINED_BY_RATE if self._below and _scatter(request.order_id) < self._below else PAID


class SandboxDesk:
    """Answers when the time has come: a pending request says since when it waits."""

    def __init__(self, sandbox: Sandbox) -> None:
        self._sandbox = sandbox
        self._waiting: list[tuple[int, int, int, Request, int, traces.Span | None]] = []
        self._numbers = count()  # spans cannot be compared

    def leave(self, pending: Sequence[Pending], *, recovered: bool = False) -> None:  # noqa: ARG002 - nobody else ever asked
        for request, since, offset, item in pending:
            is_charge = request.kind == PaymentKind.CHARGE
            due = since + (self._sandbox.delays.get(request.payment_token, 0) if is_charge else 0)
            heapq.heappush(self._waiting, (due, offset, item, request, next(self._numbers), traces.here()))

    def is_due(self, now: int) -> bool:
        return bool(self._waiting) and self._waiting[0][0] <= now

    def collect(self, now: int) -> list[Heard]:
        heard: list[Heard] = []
        while self.is_due(now):
            *_, request, _, left_in = heapq.heappop(self._waiting)
            traces.came_from(left_in)
            heard.append(Heard(request, self._sandbox.decide(request)))
            if request.payment_token == TWICE_TOKEN and request.kind == PaymentKind.CHARGE:
                heard.append(Heard(request, Answer(PaymentResult.DECLINED, "said otherwise before")))
        return heard

    def is_asking(self) -> bool:
        return bool(self._waiting)

    def close(self) -> None:
        self._waiting.clear()


def _scatter(order_id: int) -> int:
    """Return 64 evenly spread bits for an order ID (splitmix64's finaliser: stable over processes and versions)."""
    bits = (order_id * 0x9E3779B97F4A7C15) & _MASK
    bits = ((bits ^ (bits >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    bits = ((bits ^ (bits >> 27)) * 0x94D049BB133111EB) & _MASK
    return bits ^ (bits >> 31)
