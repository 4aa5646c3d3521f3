"""The payments stage gives the same bytes on its compiled plain way and on the plain path alone, whatever comes in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, compiled
from schemas.outcomes import MAX_ITEMS, PaymentKind
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_STATE
from streams.domain.payment import Answer, Request, to_row
from streams.payments import Desk
from streams.payments.sandbox import DECLINED_TOKEN, SILENT_TOKEN, SLOW_MS, SLOW_TOKEN, TWICE_TOKEN, Sandbox
from streams.runtime.records import Place, Record, Write
from streams.stages.payments import PaymentsStage
from streams.stages.plain_way import PlainPathAlone
from tests.streams.stages.inputs import payment_records
from tests.support.freed import is_freed_at_once
from tests.support.stages import NOW, PARTITIONS, Item, changelog, order_at, record, requests, rows_of

HERE = Place(0, PARTITIONS)
native: Any = compiled.load("streams.stages._payments", compiled.PAYMENTS_VERSION)
pytestmark = pytest.mark.skipif(native is None, reason="no compiled parts here")


@dataclass
class Noting:
    """The sandbox, with a note of what it was asked."""

    asked: list[Request] = field(default_factory=list)
    sandbox: Sandbox = field(default_factory=lambda: Sandbox(0.3))

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer | None]:
        self.asked += requests
        return self.sandbox.ask(requests)

    def desk(self) -> Desk:
        return self.sandbox.desk()


Stages = tuple[PaymentsStage, PaymentsStage]


def both() -> Stages:
    """Return a stage with the compiled way and one without."""
    mine, pure = PaymentsStage(HERE, Noting()), PaymentsStage(HERE, Noting())
    mine.way, pure.way = native.PlainWay(mine), PlainPathAlone(pure)
    return mine, pure


def decide(stages: Stages, batch: Sequence[Record], now: int = NOW) -> list[Write]:
    """Let both decide and commit; return what both wrote."""
    mine, pure = (stage.decide(batch, now) for stage in stages)
    assert mine == pure
    assert [type(value) for write in mine for value in write] == [type(value) for write in pure for value in write]
    assert (stages[0].unanswered, stages[0].to_leave) == (stages[1].unanswered, stages[1].to_leave)
    for stage in stages:
        stage.committed()
    assert sorted(stages[0].provider.asked) == sorted(stages[1].provider.asked)  # type: ignore[attr-defined]
    return mine


ORDERS = [order_at(0, n) for n in range(8)]
tokens = st.sampled_from(["tok_ann", "tok_ann", "tok_ann", DECLINED_TOKEN, SLOW_TOKEN, SILENT_TOKEN, TWICE_TOKEN, "", "é"])
odd = {
    **{"kind": st.sampled_from([*PaymentKind, 3, 9]), "attempt": st.sampled_from([0, 1, 2, 1_000, 1_001, -(2**31)]), "sequence": st.integers(-1, 2)},
    **{"amount": st.sampled_from([-1, 0, 5, 2**63 - 1]), "order_id": st.sampled_from([0, -1, order_at(3), 2**63 - 1]), "user_id": st.just("日本")},
}


@st.composite
def items(draw: st.DrawFn) -> Item:
    whole: Item = {"order_id": draw(st.sampled_from(ORDERS)), "payment_token": draw(tokens), "amount": draw(st.sampled_from([200, 200, 300]))}
    whole |= draw(st.sampled_from([{}, {}, {}, {"kind": 1, "sequence": 1, "amount": 50}, {"kind": 2}]))
    if draw(st.integers(0, 9)):
        return whole
    return whole | {name: draw(odd[name]) for name in draw(st.lists(st.sampled_from(sorted(odd)), min_size=1, max_size=2))}


plain_records = st.lists(items(), min_size=1, max_size=8).map(lambda many: record("PaymentRequests", requests(*many)))


@st.composite
def spoiled(draw: st.DrawFn) -> Record:
    """Bytes of a record with some changed, cut off or added."""
    value = bytearray(draw(plain_records).value or b"")
    for _ in range(draw(st.integers(0, 3))):
        value[draw(st.integers(0, len(value) - 1))] = draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF])))
    cut = draw(st.one_of(st.just(len(value)), st.integers(0, len(value))))
    return Record(PAYMENT_REQUESTS.name, 0, 0, b"key", bytes(value[:cut]) + draw(st.binary(max_size=2)))


batches = st.lists(st.one_of(plain_records, plain_records, payment_records, spoiled()), max_size=6).map(
    lambda records: [found._replace(offset=n) for n, found in enumerate(records)]
)


@settings(max_examples=100)
@given(st.lists(st.tuples(batches, st.integers(0, 3), st.sampled_from(["", "restart", "cool"])), max_size=5))
def test_any_history_is_answered_to_the_same_bytes_and_rows(history: list[tuple[list[Record], int, str]]) -> None:
    stages, now, writes = both(), NOW, []
    for batch, ticks, then in history:
        now += ticks * SLOW_MS
        writes += decide(stages, batch, now)
        if then == "restart":
            stages = both()
            for stage in stages:
                stage.restore(changelog(writes, PAYMENT_STATE))
        for stage in stages:
            stage.rows.cool(0 if then == "cool" else 100, lambda row: codec.encode("PaymentRow", to_row(row)))
    assert rows_of(stages[0]) == rows_of(stages[1])
    assert stages[0].rows.count_all() == len(changelog(writes, PAYMENT_STATE))


def test_first_charges_are_taken_by_the_way_itself_and_others_left() -> None:
    """Without this every test here could pass on the plain path alone."""
    stages = both()
    many = [{"order_id": order_at(0, n), "payment_token": ("tok_ann", DECLINED_TOKEN)[n % 2]} for n in range(8)]
    decide(stages, [record("PaymentRequests", requests(*many))])
    assert (list(stages[0].rows), len(stages[1].rows)) == ([], 8)
    assert stages[0].provider.asked == stages[1].provider.asked  # type: ignore[attr-defined]
    slow, again = {"order_id": order_at(0, 9), "payment_token": SLOW_TOKEN}, many[3]
    decide(stages, [record("PaymentRequests", requests(slow, again, {"order_id": order_at(0, 10)}))])
    assert sorted(stages[0].rows) == sorted([order_at(0, 9), order_at(0, 3)])


def test_an_order_may_be_forgotten_and_begin_anew_in_one_batch() -> None:
    charge, forget = {"order_id": ORDERS[0]}, {"order_id": ORDERS[0], "kind": 2}
    for many in ([charge, forget], [charge, forget, charge], [forget, charge], [charge, charge, forget, charge, charge]):
        together, apart = [record("PaymentRequests", requests(*many))], [record("PaymentRequests", requests(each), n) for n, each in enumerate(many)]
        for batch in (together, apart):
            stages = both()
            decide(stages, batch)
            decide(stages, batch)
            assert rows_of(stages[0]) == rows_of(stages[1])


def test_as_many_items_as_a_record_may_have() -> None:
    many = [{"order_id": order_at(0, n % 50), "attempt": n // 50 + 1} for n in range(MAX_ITEMS)]
    decide(both(), [record("PaymentRequests", requests(*many))])
    decide(both(), [Record(PAYMENT_REQUESTS.name, 0, 0, None, codec.head("PaymentRequests") + b"\0" * 9)])


def test_a_stage_is_gone_as_soon_as_nobody_has_it() -> None:
    """As in test_plain_way.py."""

    def worked(way: Any) -> PaymentsStage:
        stage = PaymentsStage(HERE, Noting())
        stage.way = way(stage)
        stage.decide([record("PaymentRequests", requests({"order_id": ORDERS[0]}, {"order_id": ORDERS[1], "payment_token": SLOW_TOKEN}))], NOW)
        stage.committed()
        return stage

    for way in (native.PlainWay, PlainPathAlone):
        assert is_freed_at_once(lambda way=way: worked(way))
