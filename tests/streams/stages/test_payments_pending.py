"""The payments stage with a provider that does not answer at once: pending and committed first, asked then, answered in a batch of its own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from schemas import codec
from schemas.outcomes import PaymentKind, PaymentResult
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_STATE
from streams.domain.payment import REVERSAL, Answer, Pending, Request
from streams.payments import Heard
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN, Sandbox
from streams.runtime.records import Place, Write
from streams.stages.payments import PaymentsStage, is_pending, payments_kind
from tests.support.examples import example
from tests.support.stages import NOW, PARTITIONS, changelog, dead, order_at, record, requests, restored, rows_of, said

HERE = Place(0, PARTITIONS)
ORDER, OTHER = order_at(0), order_at(0, 1)
PAID, NO, REFUNDED = Answer(PaymentResult.PAID), Answer(PaymentResult.DECLINED, "no"), Answer(PaymentResult.REFUNDED)
REFUND = {"kind": int(PaymentKind.REFUND), "order_id": ORDER, "sequence": 1, "amount": 50}


@dataclass
class Outside:
    """A provider that is certain of nothing, and its one desk."""

    left: list[Request] = field(default_factory=list)
    recovered: list[Request] = field(default_factory=list)
    heard: list[Heard] = field(default_factory=list)
    closed: bool = False

    def ask(self, requests: Sequence[Request]) -> list[Answer | None]:
        return [None] * len(requests)

    def desk(self) -> Outside:
        return self

    def leave(self, pending: Sequence[Pending], *, recovered: bool = False) -> None:
        (self.recovered if recovered else self.left).extend(each.request for each in pending)

    def is_due(self, now: int) -> bool:
        return bool(self.heard)

    def collect(self, now: int) -> list[Heard]:
        heard, self.heard = self.heard, []
        return heard

    def is_asking(self) -> bool:
        return bool(self.left)

    def close(self) -> None:
        self.closed = True


class Shop:
    """A payments stage, what it wrote, and the provider outside."""

    def __init__(self) -> None:
        self.outside = Outside()
        self.stage = PaymentsStage(HERE, self.outside)
        self.writes: list[Write] = []
        self.offset = 0

    def request(self, *items: dict[str, Any], committed: bool = True) -> list[Write]:
        self.offset += 1
        return self._take(self.stage.decide([record("PaymentRequests", requests(*items), self.offset)], NOW), committed)

    def answer(self, request: Request, answer: Answer, *, doubtful: bool = False) -> list[Write]:
        self.outside.heard.append(Heard(request, answer, doubtful))
        assert self.stage.is_due(NOW)
        return self._take(self.stage.expire(NOW + 1), True)

    def _take(self, writes: list[Write], committed: bool) -> list[Write]:
        self.writes += writes
        if committed:
            self.stage.committed()
        return writes

    def again(self) -> Shop:
        """The task that opens next, by what is in the changelog."""
        shop = Shop()
        shop.stage.restore(changelog(self.writes, PAYMENT_STATE))
        return shop


def results(writes: list[Write]) -> list[tuple[int, int, PaymentResult]]:
    return [(r["order_id"], r["sequence"], PaymentResult(r["result"])) for r in said(writes, "PaymentResults")]


# -- first written, then asked -----------------------------------------------------------------------------------------------


def test_nobody_is_asked_before_the_request_is_committed_as_pending() -> None:
    shop = Shop()
    writes = shop.request({"order_id": ORDER}, committed=False)
    assert [w.topic for w in writes] == [PAYMENT_STATE]
    assert codec.decode(writes[0].value).value["pending"][0]["payment_token"] == "tok_ann"
    assert shop.outside.left == []
    shop.stage.committed()
    assert [(r.order_id, r.attempt, r.sequence) for r in shop.outside.left] == [(ORDER, 1, 0)]
    shop.stage.committed()
    assert len(shop.outside.left) == 1


def test_an_answer_is_a_batch_without_records_that_writes_result_and_row_together() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    writes = shop.answer(shop.outside.left[0], PAID)
    assert results(writes) == [(ORDER, 0, PaymentResult.PAID)]
    assert [(w.topic, w.key) for w in writes[1:]] == [(PAYMENT_STATE, b"%d" % ORDER)]
    assert shop.stage.expire(NOW) == []


def test_an_answer_rides_along_with_requests_that_are_there() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    shop.outside.heard.append(Heard(shop.outside.left[0], PAID))
    assert results(shop.request({"order_id": OTHER})) == [(ORDER, 0, PaymentResult.PAID)]


def test_a_task_that_opens_asks_again_what_is_pending_and_only_that() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER}, {"order_id": OTHER})
    shop.answer(shop.outside.left[0], PAID)
    again = shop.again()
    assert [(r.order_id, r.payment_token, r.amount) for r in again.outside.recovered] == [(OTHER, "tok_ann", 200)]
    assert again.outside.left == []
    assert results(again.answer(again.outside.recovered[0], PAID, doubtful=True)) == [(OTHER, 0, PaymentResult.PAID)]
    assert rows_of(again.stage).keys() == {ORDER, OTHER}


def test_an_aborted_batch_is_asked_for_by_nobody() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER}, committed=False)
    shop.writes.clear()
    assert shop.again().outside.recovered == []
    assert shop.outside.left == []


def test_a_row_of_the_version_before_has_nothing_pending() -> None:
    row = {k: v for k, v in example("PaymentRow").items() if k not in ("pending", "unanswered")}
    old = codec._codec("PaymentRow", 117, (codec.AVRO / "earlier" / "PaymentRow.117.avsc").read_text())
    import io

    import fastavro

    body = io.BytesIO()
    fastavro.schemaless_writer(body, old.schema, row)
    before = old.header + body.getvalue()
    assert codec.decode(before).value == {**row, "pending": [], "unanswered": 0}
    assert not is_pending(before)
    assert is_pending(codec.encode("PaymentRow", example("PaymentRow")))
    assert not is_pending(codec.encode("PaymentRow", {**example("PaymentRow"), "pending": [], "unanswered": 0}))


@pytest.mark.parametrize("unanswered", [1, 63, 64, 200])
def test_however_many_are_pending_it_shows_without_decoding(unanswered: int) -> None:
    assert is_pending(codec.encode("PaymentRow", {**example("PaymentRow"), "unanswered": unanswered}))


# -- the order in which they are asked ---------------------------------------------------------------------------------------


def test_a_refund_is_asked_when_its_charge_is_answered() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER}, REFUND)
    assert [r.sequence for r in shop.outside.left] == [0]
    shop.answer(shop.outside.left[0], PAID)
    assert [r.sequence for r in shop.outside.left] == [0, 1]
    assert results(shop.answer(shop.outside.left[1], REFUNDED)) == [(ORDER, 1, PaymentResult.REFUNDED)]


def test_a_request_that_comes_in_the_batch_of_the_answer_before_it_is_asked_once() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    shop.outside.heard.append(Heard(shop.outside.left[0], PAID))
    shop.request(REFUND)
    assert [r.sequence for r in shop.outside.left] == [0, 1]


def test_a_repeated_request_is_answered_with_the_first() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER}, {"order_id": ORDER})
    shop.request({"order_id": ORDER})
    assert len(shop.outside.left) == 1
    assert results(shop.answer(shop.outside.left[0], NO)) == [(ORDER, 0, PaymentResult.DECLINED)]
    assert results(shop.request({"order_id": ORDER})) == [(ORDER, 0, PaymentResult.DECLINED)]


# -- a provider that contradicts itself --------------------------------------------------------------------------------------


def test_the_first_answer_stands_and_the_second_is_counted() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    asked = shop.outside.left[0]
    shop.answer(asked, PAID)
    assert shop.answer(asked, NO) == []
    assert shop.stage.contradicted == 1
    assert results(shop.request({"order_id": ORDER})) == [(ORDER, 0, PaymentResult.PAID)]


def test_an_answer_to_what_nobody_asked_changes_nothing() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    for odd in (shop.outside.left[0]._replace(order_id=OTHER), shop.outside.left[0]._replace(amount=1)):
        assert shop.answer(odd, PAID) == []
    assert shop.stage.contradicted == 2


def test_a_doubtful_decline_is_reversed_under_a_key_of_its_own() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    asked = shop.outside.left[0]
    assert results(shop.answer(asked, NO, doubtful=True)) == [(ORDER, 0, PaymentResult.DECLINED)]
    reversal = shop.outside.left[1]
    assert (reversal.kind, reversal.sequence, reversal.amount) == (PaymentKind.REFUND, REVERSAL, 200)
    assert shop.again().outside.recovered == [reversal]
    assert results(shop.answer(reversal, REFUNDED)) == []
    assert shop.again().outside.recovered == []


def test_a_reversal_that_is_declined_is_a_dead_letter_for_people() -> None:
    shop = Shop()
    shop.request({"order_id": OTHER}, {"order_id": ORDER})
    shop.answer(next(r for r in shop.outside.left if r.order_id == ORDER), NO, doubtful=True)
    (letter,) = dead(shop.answer(shop.outside.left[-1], Answer(PaymentResult.DECLINED, "closed")))
    assert (letter["reason"], letter["topic"], letter["partition"], letter["offset"], letter["index"]) == ("REFUND_DECLINED", "payment.requests", 0, 1, 1)
    assert letter["order_id"] == ORDER
    assert "closed" in letter["detail"]
    assert said([Write(PAYMENT_REQUESTS, 0, None, letter["value"])], "PaymentRequests")[0]["order_id"] == ORDER


def test_a_reversal_that_finds_nothing_is_no_news() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    shop.answer(shop.outside.left[0], NO, doubtful=True)
    assert dead(shop.answer(shop.outside.left[1], Answer(PaymentResult.DECLINED, "nothing there", moved_nothing=True))) == []
    assert shop.stage.held_back() == {}


# -- what others see ---------------------------------------------------------------------------------------------------------


def test_what_is_pending_counts_as_lag_from_the_oldest_on() -> None:
    shop = Shop()
    shop.request({"order_id": ORDER})
    shop.request({"order_id": OTHER})
    assert shop.stage.held_back() == {"payment.requests": 1}
    assert shop.again().stage.held_back() == {"payment.requests": 1}
    shop.answer(shop.outside.left[0], PAID)
    assert shop.stage.held_back() == {"payment.requests": 2}
    shop.answer(shop.outside.left[1], NO, doubtful=True)
    assert shop.stage.held_back() == {"payment.requests": 2}
    shop.answer(shop.outside.left[2], REFUNDED)
    assert shop.stage.held_back() == {}


def test_an_idle_read_is_short_while_somebody_is_asked() -> None:
    shop = Shop()
    assert shop.stage.patience() is None
    shop.request({"order_id": ORDER})
    assert 0 < (shop.stage.patience() or 0) < 0.1


def test_a_task_that_closes_has_nothing_asked_any_more() -> None:
    shop = Shop()
    shop.stage.close()
    assert shop.outside.closed


# -- the sandbox's tokens ----------------------------------------------------------------------------------------------------


def _sandbox_stage(token: str) -> tuple[PaymentsStage, list[Write]]:
    stage = PaymentsStage(HERE, Sandbox(slow_ms=100, silent_ms=5_000))
    writes = stage.decide([record("PaymentRequests", requests({"order_id": ORDER, "payment_token": token}))], NOW)
    stage.committed()
    return stage, writes


@pytest.mark.parametrize(("token", "due"), [(SLOW_TOKEN, 100), (SILENT_TOKEN, 5_000), (TWICE_TOKEN, 0)])
@pytest.mark.parametrize("restarts", [False, True])
def test_a_token_is_answered_in_its_own_time(token: str, due: int, restarts: bool) -> None:
    stage, writes = _sandbox_stage(token)
    assert results(writes) == []
    if restarts:
        again = restored(payments_kind(stage.provider), HERE, writes)
        assert isinstance(again, PaymentsStage)
        stage = again
    assert not stage.is_due(NOW + due - 1)
    assert stage.is_due(NOW + due)
    assert results(stage.expire(NOW + due)) == [(ORDER, 0, PaymentResult.PAID)]
    assert stage.contradicted == (token == TWICE_TOKEN)
    assert not stage.is_due(NOW * 2)
