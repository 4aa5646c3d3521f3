"""The payments stage as a pure object: every request answered, the provider asked once per attempt."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from schemas import codec
from schemas.outcomes import PaymentKind, PaymentResult
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_STATE
from streams.domain.payment import Answer, Request
from streams.payments.sandbox import DECLINED_TOKEN, Sandbox
from streams.runtime.records import Place, Record
from streams.stages.outbox import ITEMS_PER_RECORD
from streams.stages.payments import PaymentsStage, payments_kind
from tests.support.stages import NOW, PARTITIONS, dead, line, raw, record, requests, restored, rows_of, said

HERE = Place(0, PARTITIONS)
REFUND = int(PaymentKind.REFUND)


@dataclass
class Noting:
    """The sandbox, with a note of what it was asked."""

    asked: list[Request] = field(default_factory=list)
    sandbox: Sandbox = field(default_factory=Sandbox)

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        self.asked += requests
        return self.sandbox.ask(requests)


def _stage() -> tuple[PaymentsStage, Noting]:
    provider = Noting()
    return PaymentsStage(HERE, provider), provider


def test_a_charge_is_answered_on_its_own_partition_and_remembered() -> None:
    stage, _ = _stage()
    writes = stage.decide([record("PaymentRequests", requests({"order_id": 7, "amount": 500}))], NOW)
    (result,) = said(writes, "PaymentResults")
    assert result == {
        **{"kind": 0, "order_id": 7, "attempt": 1, "sequence": 0, "amount": 500, "currency": "GBP"},
        **{"result": PaymentResult.PAID, "reason": "", "answered_at": NOW, "to": 0},
    }
    assert [(w.partition, w.key) for w in writes if w.topic is PAYMENT_STATE] == [(0, b"7")]


def test_a_declined_token_says_why() -> None:
    stage, _ = _stage()
    writes = stage.decide([record("PaymentRequests", requests({"order_id": 7, "payment_token": DECLINED_TOKEN}))], NOW)
    assert [(r["result"], r["reason"]) for r in said(writes, "PaymentResults")] == [(PaymentResult.DECLINED, "token declined")]


@pytest.mark.parametrize("again", ["same batch", "next batch", "after a restart"])
@pytest.mark.parametrize("token", ["tok_ann", DECLINED_TOKEN])
def test_the_same_attempt_gets_the_same_answer_and_is_asked_once(again: str, token: str) -> None:
    stage, provider = _stage()
    request = record("PaymentRequests", requests({"order_id": 7, "payment_token": token}))
    first = stage.decide([request] * (2 if again == "same batch" else 1), NOW)
    if again == "after a restart":
        stage = PaymentsStage(HERE, provider)
        stage.restore({w.key: w.value for w in first if w.topic is PAYMENT_STATE and w.key and w.value})
    second = [] if again == "same batch" else stage.decide([request], NOW)
    found = said([*first, *second], "PaymentResults")
    assert len(found) == 2
    assert found[0] == found[1]
    assert len(provider.asked) == 1


def test_a_refund_never_exceeds_its_payment() -> None:
    stage, provider = _stage()
    refund = {"order_id": 7, "kind": REFUND, "amount": 150}
    batch = requests({"order_id": 7, "amount": 200}, {**refund, "sequence": 1}, {**refund, "sequence": 2}, {**refund, "sequence": 1})
    found = said(stage.decide([record("PaymentRequests", batch)], NOW), "PaymentResults")
    assert [r["result"] for r in found] == [PaymentResult.PAID, PaymentResult.REFUNDED, PaymentResult.DECLINED, PaymentResult.REFUNDED]
    assert [(r.kind, r.sequence) for r in provider.asked] == [(0, 0), (1, 1)]
    assert "50 left" in found[2]["reason"]


@pytest.mark.parametrize("amount", [0, -5])
def test_a_refund_of_nothing_is_declined(amount: int) -> None:
    stage, _ = _stage()
    batch = requests({"order_id": 7}, {"order_id": 7, "kind": REFUND, "sequence": 1, "amount": amount})
    assert [r["result"] for r in said(stage.decide([record("PaymentRequests", batch)], NOW), "PaymentResults")] == [PaymentResult.PAID, PaymentResult.DECLINED]


def test_a_refund_of_a_charge_nobody_made_is_declined_without_asking() -> None:
    stage, provider = _stage()
    found = said(stage.decide([record("PaymentRequests", requests({"order_id": 7, "kind": REFUND, "sequence": 1}))], NOW), "PaymentResults")
    assert [r["result"] for r in found] == [PaymentResult.DECLINED]
    assert provider.asked == []


BAD: dict[str, tuple[Record, str]] = {
    "garbage": (raw(PAYMENT_REQUESTS, b"garbage", 2), "NOT_CONFLUENT"),
    "a tombstone": (raw(PAYMENT_REQUESTS, None, 2), "NOT_CONFLUENT"),
    "unknown schema": (raw(PAYMENT_REQUESTS, b"\0\0\0\0\x01", 2), "UNKNOWN_SCHEMA"),
    "cut short": (raw(PAYMENT_REQUESTS, codec.encode("PaymentRequests", requests({"order_id": 1}))[:-2], 2), "UNDECODABLE"),
    "an order line": (raw(PAYMENT_REQUESTS, codec.encode("OrderLine", line()), 2), "WRONG_RECORD"),
    "unequal columns": (record("PaymentRequests", {**requests({"order_id": 1}), "amount": [1, 2]}, 2), "UNEQUAL_COLUMNS"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_taken_is_a_dead_letter_and_the_rest_is_answered(what: str) -> None:
    bad, reason = BAD[what]
    stage, _ = _stage()
    good = [record("PaymentRequests", requests({"order_id": n}), n) for n in (1, 3)]
    writes = stage.decide([good[0], bad, good[1]], NOW)
    (letter,) = dead(writes)
    assert (letter["stage"], letter["reason"], letter["topic"], letter["offset"], letter["index"]) == ("payments", reason, "payment.requests", 2, -1)
    assert letter["value"] == (bad.value or b"")
    assert [r["order_id"] for r in said(writes, "PaymentResults")] == [1, 3]


def test_very_many_requests_are_answered_in_several_records() -> None:
    stage, _ = _stage()
    writes = stage.decide([record("PaymentRequests", requests(*({"order_id": n} for n in range(1, ITEMS_PER_RECORD + 12))))], NOW)
    sizes = [codec.decode(w.value).size for w in writes if w.topic is not PAYMENT_STATE]
    assert sizes == [ITEMS_PER_RECORD, 11]


def test_rows_come_back_from_the_changelog() -> None:
    stage, provider = _stage()
    batch = requests({"order_id": 7}, {"order_id": 8, "payment_token": DECLINED_TOKEN}, {"order_id": 7, "kind": REFUND, "sequence": 1, "amount": 50})
    writes = stage.decide([record("PaymentRequests", batch)], NOW)
    assert rows_of(restored(payments_kind(provider), HERE, writes)) == rows_of(stage)
    assert len(rows_of(stage)) == 2


def test_payments_have_no_deadlines() -> None:
    stage, _ = _stage()
    assert not stage.is_due(NOW * 2)
    assert stage.expire(NOW * 2) == []
