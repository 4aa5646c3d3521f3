"""Records between stages that no stage writes are given up whole; what stages write never is."""

from __future__ import annotations

from typing import Any

import pytest

from schemas import codec
from schemas.outcomes import MAX_ORDER_ID, Refusal
from schemas.topics import PAYMENT_RESULTS, STOCK_DECISIONS, Topic
from streams.domain.payment import MAX_ATTEMPT
from streams.runtime.records import Place
from streams.stages import foreign
from streams.stages.stock import StockStage
from tests.streams.stages.saga import ID, new_stage, paying, statuses
from tests.streams.stages.test_stock_bad_input import INVALID_LINES
from tests.support.examples import example
from tests.support.stages import NOW, PARTITIONS, answers, columns, dead, line, order_at, product_at, raw, record, results, stock_command

HERE = Place(0, PARTITIONS)
MINE = line(order_id=order_at(0, 7))

FOREIGN: dict[str, tuple[Topic, dict[str, Any]]] = {
    "an unknown refusal": (STOCK_DECISIONS, answers({**MINE, "refusal": 200})),
    "held, but no valid line": (STOCK_DECISIONS, answers({**MINE, "quantity": -5})),
    "refused for stock, but no valid line": (STOCK_DECISIONS, answers({**MINE, "line": 0, "refusal": int(Refusal.INSUFFICIENT_STOCK)})),
    "held, for an order ID that is none": (STOCK_DECISIONS, answers({**MINE, "order_id": -1})),
    "refused as invalid, but of no order": (STOCK_DECISIONS, answers({**MINE, "order_id": 0, "refusal": int(Refusal.INVALID_QUANTITY)})),
    "refused as invalid, too long for a store": (STOCK_DECISIONS, answers({**MINE, "user_id": "u" * 65, "refusal": int(Refusal.INVALID_USER)})),
    "one bad answer among good ones": (STOCK_DECISIONS, answers(MINE, {**MINE, "quantity": 0}, MINE)),
    "an answer for another partition": (STOCK_DECISIONS, answers(line(order_id=order_at(1)))),
    "an unknown kind of payment": (PAYMENT_RESULTS, results({"order_id": ID, "kind": 7})),
    "an unknown result": (PAYMENT_RESULTS, results({"order_id": ID, "result": 9})),
    "a charge that was refunded": (PAYMENT_RESULTS, results({"order_id": ID, "kind": 0, "result": 2})),
    "less money than none": (PAYMENT_RESULTS, results({"order_id": ID, "amount": -1})),
    "money of no order": (PAYMENT_RESULTS, results({"order_id": 0})),
    "attempt 0": (PAYMENT_RESULTS, results({"order_id": ID, "attempt": 0})),
    "an attempt that nobody makes": (PAYMENT_RESULTS, results({"order_id": ID, "attempt": MAX_ATTEMPT + 1})),
    "money of another partition's order": (PAYMENT_RESULTS, results({"order_id": order_at(2)})),
}
NAMES = {STOCK_DECISIONS: "StockDecisions", PAYMENT_RESULTS: "PaymentResults"}


@pytest.mark.parametrize("what", FOREIGN)
def test_it_is_a_dead_letter_as_a_whole_and_the_records_around_it_are_taken(what: str) -> None:
    topic, value = FOREIGN[what]
    stage = new_stage()
    paying(stage)
    bad = raw(topic, codec.encode(NAMES[topic], value), 2)
    writes = stage.decide([bad, record("PaymentResults", results({"order_id": ID, "amount": 500}), 3)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["topic"], letter["offset"], letter["index"], letter["value"]) == ("FOREIGN_RECORD", topic.name, 2, -1, bad.value)
    assert statuses(writes) == [(1, "DECIDED", "CONFIRMED")]
    assert set(stage.rows.keys_all()) == {ID}


MOVEMENTS = {
    "cut short": (lambda whole: whole[:-5], "UNDECODABLE"),
    "an unknown kind": (lambda whole: whole.replace(b"\x04\x00\x0a", b"\x04\x00\xc8"), "FOREIGN_RECORD"),
}


@pytest.mark.parametrize("what", MOVEMENTS)
def test_a_bad_answer_to_commands_has_its_dead_letter_though_the_orders_stage_has_no_use_for_good_ones(what: str) -> None:
    spoil, reason = MOVEMENTS[what]
    whole = codec.encode("StockMovements", example("StockMovements"))
    assert new_stage().decide([raw(STOCK_DECISIONS, whole, 2)], NOW) == []
    spoilt = spoil(whole)
    assert spoilt != whole
    (letter,) = dead(new_stage().decide([raw(STOCK_DECISIONS, spoilt, 2)], NOW))
    assert (letter["reason"], letter["value"]) == (reason, spoilt)


@pytest.mark.parametrize("fault", INVALID_LINES)
@pytest.mark.parametrize("order_id", [1, MAX_ORDER_ID])
def test_what_the_stock_stage_answers_to_any_line_is_not_foreign(fault: str, order_id: int) -> None:
    stage = StockStage(HERE)
    stage.decide([record("StockCommand", stock_command("RESTOCK", 3))], NOW)
    change, _ = INVALID_LINES[fault]
    lines = [line(order_id=order_id), line(order_id=order_id, line_count=2, line=2), line(order_id=order_id, product_id=product_at(0, 1)), line(**change)]
    decided = stage.decide([record("OrderLines", columns(lines), 1)], NOW)
    said = [(write.partition, codec.decode(write.value)) for write in decided if write.topic is STOCK_DECISIONS]
    assert said
    assert [foreign.fault_of(record.name, record.value, Place(partition, PARTITIONS)) for partition, record in said] == [None] * len(said)
