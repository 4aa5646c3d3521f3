"""The payments stage: requests in, one answer each out; the provider is asked for each until it answers.

What the provider cannot say at once becomes pending in the order's row. Only when that is committed is the request left at
the provider's desk; its answer comes back as a batch without records, like a timer. Nothing waits for the provider.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import Final

import structlog

from schemas import codec
from schemas.outcomes import DeadLetterReason, PaymentKind, PaymentResult
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_RESULTS, PAYMENT_STATE
from streams.domain import payment
from streams.domain.payment import REVERSAL, Answer, Payment, Pending, Request
from streams.payments import Heard, Provider, key_of
from streams.runtime.records import Place, Record, StageKind, Write
from streams.stages import foreign, plain_way
from streams.stages.outbox import Columns, DeadLetters, decode_or_give_up
from streams.stages.rows import Rows, second_field

log = structlog.get_logger("holdfast.payments")
REQUEST: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "payment_token", "user_id")
_columns_of = itemgetter(*REQUEST)
_KINDS: Final = tuple(PaymentKind)
RESULT_COLUMNS: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "result", "reason")
_encode_row = codec.encoder("PaymentRow")
HOT_ROWS: Final = 20_000
"""So many rows of a task stay objects; the others are bytes until they are touched again."""
FIRST_WITH_PENDING: Final = 119
"""Schema ID of PaymentRow: earlier ones know nothing that is pending."""
ASKING_SECONDS: Final = 0.02
"""How long an idle read waits while the provider is asked: an answer ends no read."""


class PaymentsStage:
    """One row per order that was ever to be charged."""

    def __init__(self, place: Place, provider: Provider) -> None:
        self.rows: Rows[int, Payment] = Rows(b"%d".__mod__, int, lambda value: payment.from_row(codec.decode(value).value))
        self.place = place
        self.provider = provider
        self.desk = provider.desk()
        self.unanswered: set[int] = set()
        """Orders with anything pending."""
        self.to_leave: dict[int, None] = {}
        """Of these the orders whose first pending request is not at the desk yet: it is not committed."""
        self.contradicted = 0
        self.way = plain_way.for_payments(self)

    def restore(self, rows: dict[bytes, bytes]) -> None:
        """Take the rows; what is pending in them is asked again, by the same keys."""
        found = {int(key) for key, value in rows.items() if is_pending(value)}
        self.rows.recover(rows)
        self._leave(found, recovered=True)
        self.unanswered = found

    def is_due(self, now: int) -> bool:
        """Whether the provider has answered."""
        return self.desk.is_due(now)

    def expire(self, now: int) -> list[Write]:
        return self.decide((), now)

    def decide(self, records: Sequence[Record], now: int) -> list[Write]:
        batch = _PaymentsBatch(self, now)
        for heard in self.desk.collect(now):
            batch.hear(heard)
        for record in records:
            if not self.way.take(record):
                batch.take(record)
        return batch.writes()

    def committed(self) -> None:
        """Have asked what has become pending: that it is to be asked is known to whoever comes after us."""
        if self.to_leave:
            orders, self.to_leave = self.to_leave, {}
            self._leave(orders, recovered=False)
        self.rows.cool(HOT_ROWS, _row_bytes)

    def _leave(self, orders: Iterable[int], *, recovered: bool) -> None:
        firsts = (row.first_pending() for order_id in orders if (row := self.rows.find(order_id)) is not None)
        self.desk.leave(sorted((first for first in firsts if first is not None), key=_place_of), recovered=recovered)

    def patience(self) -> float | None:
        return ASKING_SECONDS if self.desk.is_asking() else None

    def held_back(self) -> Mapping[str, int]:
        """Return how far the answers reach: requests behind the oldest pending one count as lag."""
        rows = map(self.rows.find, self.unanswered)
        offsets = [pending.offset for row in rows if row is not None for pending in row.pending.values()]
        return {PAYMENT_REQUESTS.name: min(offsets)} if offsets else {}

    def close(self) -> None:
        self.desk.close()


def is_pending(value: bytes) -> bool:
    """Whether anything is pending in a PaymentRow, without decoding the row."""
    return int.from_bytes(value[1 : codec.HEADER_BYTES], "big") >= FIRST_WITH_PENDING and second_field(value) > 0


def _place_of(pending: Pending) -> tuple[int, int]:
    return pending.offset, pending.item


class _PaymentsBatch:
    """One batch under way: what is answered, which orders changed."""

    def __init__(self, stage: PaymentsStage, now: int) -> None:
        self.stage = stage
        self.rows = stage.rows
        self.now = now
        self.dead = DeadLetters("payments")
        self.results = Columns(PAYMENT_RESULTS, "PaymentResults", RESULT_COLUMNS, ("kind", "result"))
        self.said = self.results.items[stage.place.partition]
        self.touched: set[int] = set()
        stage.way.begin(self, now)

    # -- requests ------------------------------------------------------------------------------------------------------

    def take(self, record: Record) -> None:
        decoded = decode_or_give_up(record, PAYMENT_REQUESTS, self.dead)
        if decoded is None:
            return
        fault = foreign.fault_of(decoded.name, decoded.value, self.stage.place)
        if fault is not None:
            self.dead.add(record, -1, DeadLetterReason.FOREIGN_RECORD, f"no stage writes such a {decoded.name}: {fault}")
            return
        for index, fields in enumerate(zip(*_columns_of(decoded.value), strict=True)):
            self.request(record, index, Request._make((_KINDS[fields[0]], *fields[1:])))

    def request(self, record: Record, index: int, request: Request) -> None:
        row = self.rows.find(request.order_id)
        if request.kind is PaymentKind.FORGET:
            self._forget(row)
            return
        answer = None
        if row is not None or request.sequence:  # nearly every request is an order's first
            fault = payment.contradiction(row, request)
            if fault is not None:
                self.dead.add(record, index, DeadLetterReason.INVALID_COMMAND, fault, request.order_id, item=_alone(request, self.now))
                return
            answer = payment.answered(row, request)
        if answer is None and not (row and row.pending):
            answer = self._ask(row, request)
        if answer is None:
            self.wait(row, Pending(request, self.now, record.offset, index))
        else:
            self._say(request, answer)

    def _forget(self, row: Payment | None) -> None:
        """Forget a row whose order is forgotten, unless the provider still owes an answer: then it stays."""
        if row is not None and not row.pending:
            del self.rows[row.order_id]
            self.touched.add(row.order_id)

    def _ask(self, row: Payment | None, request: Request) -> Answer | None:
        """Return what the provider says at once, remembered."""
        answer = self.stage.provider.ask([request])[0]
        if answer is not None:
            self.rows[request.order_id] = payment.record(row, request, answer)
            self.touched.add(request.order_id)
        return answer

    def wait(self, row: Payment | None, pending: Pending) -> None:
        order_id = pending.request.order_id
        row = self.rows[order_id] = payment.wait(row, pending)
        self.touched.add(order_id)
        self.stage.unanswered.add(order_id)
        if row.first_pending() is pending:
            self.stage.to_leave[order_id] = None

    def _say(self, request: Request, answer: Answer) -> None:
        self.said.append((*request[:6], answer.result, answer.reason))

    # -- answers -------------------------------------------------------------------------------------------------------

    def hear(self, heard: Heard) -> None:
        """Take an answer from the desk; the first one stands."""
        row = self.rows.find(heard.request.order_id)
        first = row.first_pending() if row else None
        if row is None or first is None or first.request != heard.request:
            self._contradicted(heard)
            return
        for request, answer in payment.settle(row, heard.request, heard.answer, doubtful=heard.doubtful):
            self._say(request, answer)
        if heard.request.sequence == REVERSAL:
            self._reversed(first, heard.answer)
        self._go_on(row)

    def _go_on(self, row: Payment) -> None:
        self.touched.add(row.order_id)
        if row.pending:
            self.stage.to_leave[row.order_id] = None
        else:
            self.stage.unanswered.discard(row.order_id)

    def _contradicted(self, heard: Heard) -> None:
        self.stage.contradicted += 1
        log.warning("a second answer changes nothing", key=key_of(heard.request), said=heard.answer.result.name, in_all=self.stage.contradicted)

    def _reversed(self, pending: Pending, answer: Answer) -> None:
        """What a declined charge took goes back; where the provider will not, people must see to it."""
        if answer.result is PaymentResult.REFUNDED:
            log.warning("a charge that was declined had taken money: it is given back", key=key_of(pending.request), amount=pending.request.amount)
        elif not answer.moved_nothing:
            request = pending.request
            detail = f"attempt {request.attempt} was declined, {request.amount} {request.currency} may be taken; its reversal was declined: {answer.reason}"
            charge = request._replace(kind=PaymentKind.CHARGE, sequence=0)
            place = Record(PAYMENT_REQUESTS.name, self.stage.place.partition, pending.offset, None, _alone(charge, pending.since))
            self.dead.add(place, pending.item, DeadLetterReason.REFUND_DECLINED, detail, request.order_id)

    # -- what is written -----------------------------------------------------------------------------------------------

    def writes(self) -> list[Write]:
        return [*self.results.writes({"answered_at": self.now}), *self.dead.writes(self.now), *self.stage.way.changed(self.touched)]

    def changed(self, order_id: int) -> Write:
        return Write(PAYMENT_STATE, self.stage.place.partition, b"%d" % order_id, self.rows.written(order_id, _row_bytes))


def _row_bytes(row: Payment) -> bytes:
    return _encode_row(payment.to_row(row))


def _alone(request: Request, requested_at: int) -> bytes:
    """Return one item of a columnar record as a record of its own."""
    columns = {name: [getattr(request, name)] for name in REQUEST}
    return codec.encode("PaymentRequests", {**columns, "kind": bytes((request.kind,)), "requested_at": requested_at})


def payments_kind(provider: Provider, *, forgets: bool = False) -> StageKind:
    """Return the payments stage over a provider; `forgets`: whether its rows may go, as their orders do."""
    return StageKind("payments", (PAYMENT_REQUESTS,), PAYMENT_STATE, lambda place: PaymentsStage(place, provider), voice=PAYMENT_RESULTS, forgets=forgets)
