"""The payments stage: requests in, one answer each out; the provider is asked once per attempt."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from schemas import codec
from schemas.outcomes import PaymentKind
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_RESULTS, PAYMENT_STATE
from streams.domain import payment
from streams.domain.payment import Answer, Payment, Request
from streams.payments import Provider
from streams.runtime.records import Place, Record, StageKind, Write
from streams.stages.outbox import Columns, DeadLetters, decode_or_give_up
from streams.stages.rows import Rows

REQUEST: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "payment_token", "user_id")
RESULT_COLUMNS: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "result", "reason")


class PaymentsStage:
    """One row per order that was ever to be charged."""

    def __init__(self, place: Place, provider: Provider) -> None:
        self.rows: Rows[int, Payment] = Rows(b"%d".__mod__, int, lambda value: payment.from_row(codec.decode(value).value))
        self.place = place
        self.provider = provider

    def restore(self, rows: dict[bytes, bytes]) -> None:
        self.rows.recover(rows)

    def is_due(self, now: int) -> bool:  # noqa: ARG002 - payments have no deadlines of their own
        return False

    def expire(self, now: int) -> list[Write]:  # noqa: ARG002 - payments have no deadlines of their own
        return []

    def decide(self, records: Sequence[Record], now: int) -> list[Write]:
        dead = DeadLetters("payments")
        results = Columns(PAYMENT_RESULTS, "PaymentResults", RESULT_COLUMNS, ("kind", "result"))
        touched: set[int] = set()
        for request in self._requests(records, dead):
            answer = self._answer(request, touched)
            asked = (request.kind, request.order_id, request.attempt, request.sequence, request.amount, request.currency)
            results.items[self.place.partition].append((*asked, answer.result, answer.reason))
        return [*results.writes({"answered_at": now}), *dead.writes(now), *map(self._changed, sorted(touched))]

    def _requests(self, records: Sequence[Record], dead: DeadLetters) -> list[Request]:
        decoded = (decode_or_give_up(r, PAYMENT_REQUESTS, dead) for r in records)
        return [self._request(fields) for d in decoded if d is not None for fields in zip(*itemgetter(*REQUEST)(d.value), strict=True)]

    def _request(self, fields: tuple[Any, ...]) -> Request:
        return Request(PaymentKind(fields[0]), *fields[1:])

    def _answer(self, request: Request, touched: set[int]) -> Answer:
        """Give the answer given before, if any; else ask the provider and remember what it said."""
        row = self.rows.find(request.order_id)
        answer = payment.answered(row, request)
        if answer is None:
            answer = self.provider.ask([request])[0]
            self.rows[request.order_id] = payment.record(row, request, answer)
            touched.add(request.order_id)
        return answer

    def _changed(self, order_id: int) -> Write:
        return Write(PAYMENT_STATE, self.place.partition, b"%d" % order_id, codec.encode("PaymentRow", payment.to_row(self.rows[order_id])))


def payments_kind(provider: Provider) -> StageKind:
    """Return the payments stage over a provider."""
    return StageKind("payments", (PAYMENT_REQUESTS,), PAYMENT_STATE, lambda place: PaymentsStage(place, provider))
