"""The payments stage as a pure object: every request answered, the provider asked once per attempt."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice

import pytest

from schemas import codec
from schemas.outcomes import MAX_ITEMS, PaymentKind, PaymentResult
from schemas.partitions import order_partition
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_STATE
from streams.domain.payment import Answer, Request
from streams.payments import Desk
from streams.payments.sandbox import DECLINED_TOKEN, Sandbox
from streams.runtime.records import Place, Record, Write
from streams.stages.payments import PaymentsStage, payments_kind
from tests.support.stages import NOW, PARTITIONS, dead, line, order_at, raw, record, requests, restored, rows_of, said

HERE = Place(0, PARTITIONS)
REFUND = int(PaymentKind.REFUND)
SEVEN, EIGHT = order_at(0), order_at(0, 1)


@dataclass
class Noting:
    """The sandbox, with a note of what it was asked."""

    asked: list[Request] = field(default_factory=list)
    sandbox: Sandbox = field(default_factory=Sandbox)

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer | None]:
        self.asked += requests
        return self.sandbox.ask(requests)

    def desk(self) -> Desk:
        return self.sandbox.desk()


def _stage() -> tuple[PaymentsStage, Noting]:
    provider = Noting()
    return PaymentsStage(HERE, provider), provider


def test_a_charge_is_answered_on_its_own_partition_and_remembered() -> None:
    stage, _ = _stage()
    writes = stage.decide([record("PaymentRequests", requests({"order_id": SEVEN, "amount": 500}))], NOW)
    (result,) = said(writes, "PaymentResults")
    assert result == {
        **{"kind": 0, "order_id": SEVEN, "attempt": 1, "sequence": 0, "amount": 500, "currency": "GBP"},
        **{"result": PaymentResult.PAID, "reason": "", "answered_at": NOW, "to": 0},
    }
    assert [(w.partition, w.key) for w in writes if w.topic is PAYMENT_STATE] == [(0, b"%d" % SEVEN)]


def test_a_declined_token_says_why() -> None:
    stage, _ = _stage()
    writes = stage.decide([record("PaymentRequests", requests({"order_id": SEVEN, "payment_token": DECLINED_TOKEN}))], NOW)
    assert [(r["result"], r["reason"]) for r in said(writes, "PaymentResults")] == [(PaymentResult.DECLINED, "token declined")]


@pytest.mark.parametrize("again", ["same batch", "next batch", "after a restart"])
@pytest.mark.parametrize("token", ["tok_ann", DECLINED_TOKEN])
def test_the_same_attempt_gets_the_same_answer_and_is_asked_once(again: str, token: str) -> None:
    stage, provider = _stage()
    request = record("PaymentRequests", requests({"order_id": SEVEN, "payment_token": token}))
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
    refund = {"order_id": SEVEN, "kind": REFUND, "amount": 150}
    batch = requests({"order_id": SEVEN, "amount": 200}, {**refund, "sequence": 1}, {**refund, "sequence": 2}, {**refund, "sequence": 1})
    found = said(stage.decide([record("PaymentRequests", batch)], NOW), "PaymentResults")
    assert [r["result"] for r in found] == [PaymentResult.PAID, PaymentResult.REFUNDED, PaymentResult.DECLINED, PaymentResult.REFUNDED]
    assert [(r.kind, r.sequence) for r in provider.asked] == [(0, 0), (1, 1)]
    assert "50 left" in found[2]["reason"]


BAD: dict[str, tuple[Record, str]] = {
    "garbage": (raw(PAYMENT_REQUESTS, b"garbage", 2), "NOT_CONFLUENT"),
    "a tombstone": (raw(PAYMENT_REQUESTS, None, 2), "NOT_CONFLUENT"),
    "unknown schema": (raw(PAYMENT_REQUESTS, b"\0\0\0\0\x01", 2), "UNKNOWN_SCHEMA"),
    "cut short": (raw(PAYMENT_REQUESTS, codec.encode("PaymentRequests", requests({"order_id": SEVEN}))[:-2], 2), "UNDECODABLE"),
    "an order line": (raw(PAYMENT_REQUESTS, codec.encode("OrderLine", line()), 2), "WRONG_RECORD"),
    "unequal columns": (record("PaymentRequests", {**requests({"order_id": SEVEN}), "amount": [1, 2]}, 2), "UNEQUAL_COLUMNS"),
    "an unknown kind": (record("PaymentRequests", requests({"order_id": SEVEN, "kind": 3}), 2), "FOREIGN_RECORD"),
    "a charge that is numbered": (record("PaymentRequests", requests({"order_id": SEVEN, "sequence": 1}), 2), "FOREIGN_RECORD"),
    "a refund that is not": (record("PaymentRequests", requests({"order_id": SEVEN, "kind": 1}), 2), "FOREIGN_RECORD"),
    "a reversal of somebody else": (record("PaymentRequests", requests({"order_id": SEVEN, "kind": 1, "sequence": -1}), 2), "FOREIGN_RECORD"),
    "attempt 0": (record("PaymentRequests", requests({"order_id": SEVEN, "attempt": 0}), 2), "FOREIGN_RECORD"),
    "an attempt nobody counted to": (record("PaymentRequests", requests({"order_id": SEVEN, "attempt": 2**31 - 1}), 2), "FOREIGN_RECORD"),
    "a charge of nothing": (record("PaymentRequests", requests({"order_id": SEVEN, "amount": 0}), 2), "FOREIGN_RECORD"),
    "a refund of less": (record("PaymentRequests", requests({"order_id": SEVEN, "kind": 1, "sequence": 1, "amount": -5}), 2), "FOREIGN_RECORD"),
    "no order": (record("PaymentRequests", requests({"order_id": 0}), 2), "FOREIGN_RECORD"),
    "another partition's order": (record("PaymentRequests", requests({"order_id": order_at(1)}), 2), "FOREIGN_RECORD"),
}


@pytest.mark.parametrize("what", BAD)
def test_what_cannot_be_taken_is_a_dead_letter_and_the_rest_is_answered(what: str) -> None:
    bad, reason = BAD[what]
    stage, _ = _stage()
    good = [record("PaymentRequests", requests({"order_id": order_at(0, n)}), n) for n in (1, 3)]
    writes = stage.decide([good[0], bad, good[1]], NOW)
    (letter,) = dead(writes)
    assert (letter["stage"], letter["reason"], letter["topic"], letter["offset"], letter["index"]) == ("payments", reason, "payment.requests", 2, -1)
    assert letter["value"] == (bad.value or b"")
    assert [r["order_id"] for r in said(writes, "PaymentResults")] == [order_at(0, 1), order_at(0, 3)]


CONTRADICTIONS = {
    "a refund of an attempt that is not there": {"kind": REFUND, "sequence": 1, "attempt": 2},
    "the same attempt for another amount": {"amount": 201},
}


@pytest.mark.parametrize("what", CONTRADICTIONS)
def test_what_contradicts_its_order_is_a_dead_letter_of_its_own(what: str) -> None:
    stage, provider = _stage()
    items = [{"order_id": SEVEN}, {"order_id": SEVEN, **CONTRADICTIONS[what]}, {"order_id": EIGHT}]
    writes = stage.decide([record("PaymentRequests", requests(*items), 2)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["offset"], letter["index"], letter["order_id"]) == ("INVALID_COMMAND", 2, 1, SEVEN)
    assert said([Write(PAYMENT_REQUESTS, 0, None, letter["value"])], "PaymentRequests")[0]["amount"] == items[1].get("amount", 200)
    assert [r["order_id"] for r in said(writes, "PaymentResults")] == [SEVEN, EIGHT]
    assert len(provider.asked) == 2


def test_very_many_requests_are_answered_in_several_records() -> None:
    stage, _ = _stage()
    many = list(islice((n for n in count(1) if order_partition(n, PARTITIONS) == 0), MAX_ITEMS + 11))
    writes = stage.decide([record("PaymentRequests", requests(*({"order_id": n} for n in some))) for some in (many[:11], many[11:])], NOW)
    sizes = [codec.decode(w.value).size for w in writes if w.topic is not PAYMENT_STATE]
    assert sizes == [MAX_ITEMS, 11]


def test_rows_come_back_from_the_changelog() -> None:
    stage, provider = _stage()
    batch = requests(
        {"order_id": SEVEN}, {"order_id": EIGHT, "payment_token": DECLINED_TOKEN}, {"order_id": SEVEN, "kind": REFUND, "sequence": 1, "amount": 50}
    )
    writes = stage.decide([record("PaymentRequests", batch)], NOW)
    assert rows_of(restored(payments_kind(provider), HERE, writes)) == rows_of(stage)
    assert len(rows_of(stage)) == 2


def test_what_is_answered_at_once_leaves_nothing_to_come_back_to() -> None:
    stage, _ = _stage()
    stage.decide([record("PaymentRequests", requests({"order_id": SEVEN}))], NOW)
    stage.committed()
    assert not stage.is_due(NOW * 2)
    assert stage.expire(NOW * 2) == []
    assert (stage.patience(), stage.held_back()) == (None, {})
