"""Bad input of the orders stage goes to the dead letters with its reason, and the orders around it are unharmed."""

import pytest

from schemas import codec
from schemas.outcomes import PaymentKind, PaymentResult
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, PAYMENT_RESULTS, STOCK_DECISIONS
from streams.runtime.records import Record
from tests.streams.stages.saga import ID, confirmed, moves, new_stage, paying, statuses, two_lines
from tests.support.stages import NOW, Item, answers, dead, line, order_command, product_at, raw, record, results, said

IMPOSSIBLE_COMMANDS: dict[str, Item] = {
    "no ID": {"command_id": ""},
    "over-long ID": {"command_id": "c" * 129},
    "order ID 0": {"order_id": 0},
    "negative order ID": {"order_id": -7},
    "negative line": {"line": -1},
    "negative quantity": {"quantity": -1},
    "cancel of one line": {"kind": 0, "line": 1},
    "return of a quantity of no line": {"kind": 2, "line": 0, "quantity": 2},
    "unknown kind": {"kind": 77},
}


@pytest.mark.parametrize("fault", IMPOSSIBLE_COMMANDS)
def test_one_impossible_command_of_a_columnar_record_goes_alone(fault: str) -> None:
    stage, _ = confirmed()
    good = {"kind": 1, "command_id": "a", "order_id": ID, "line": 1, "quantity": 0}
    bad = {**good, "command_id": "b", **IMPOSSIBLE_COMMANDS[fault]}
    items = [good, bad, {**good, "command_id": "c", "line": 2}]
    whole = {name: [item[name] for item in items] for name in good}
    writes = stage.decide([record("OrderCommands", {**whole, "kind": bytes(whole["kind"]), "issued_at": NOW, "actor": "load"}, 6)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["topic"], letter["offset"], letter["index"]) == ("INVALID_COMMAND", "order.commands", 6, 1)
    alone = {name: bytes((value,)) if name == "kind" else [value] for name, value in bad.items()}
    assert codec.decode(letter["value"]) == ("OrderCommands", {**alone, "issued_at": NOW, "actor": "load"}, 1)
    assert statuses(writes) == [(2, "SHIPPED", "CONFIRMED"), (3, "SHIPPED", "SHIPPED")]


@pytest.mark.parametrize("fault", [fault for fault in IMPOSSIBLE_COMMANDS if fault != "unknown kind"])
def test_an_impossible_single_command_is_a_dead_letter(fault: str) -> None:
    change = dict(IMPOSSIBLE_COMMANDS[fault])
    kind = {0: "CANCEL", 1: "SHIP", 2: "RETURN"}[change.pop("kind", 1)]
    writes = new_stage().decide([record("OrderCommand", order_command(kind, change.pop("order_id", ID), **change))], NOW)
    assert [w.topic for w in writes] == [DEAD_LETTERS]
    assert [letter["reason"] for letter in dead(writes)] == ["INVALID_COMMAND"]


UNTAKEABLE: dict[str, tuple[Record, str]] = {
    "garbage among answers": (raw(STOCK_DECISIONS, b"garbage", 2), "NOT_CONFLUENT"),
    "garbage among commands": (raw(ORDER_COMMANDS, b"\xff" * 30, 2), "NOT_CONFLUENT"),
    "a tombstone among commands": (raw(ORDER_COMMANDS, None, 2), "NOT_CONFLUENT"),
    "garbage among results": (raw(PAYMENT_RESULTS, b"", 2), "NOT_CONFLUENT"),
    "unknown schema": (raw(ORDER_COMMANDS, b"\0\xff\xff\xff\xffbody", 2), "UNKNOWN_SCHEMA"),
    "cut short": (raw(ORDER_COMMANDS, codec.encode("OrderCommand", order_command("SHIP", ID))[:-2], 2), "UNDECODABLE"),
    "a line among commands": (raw(ORDER_COMMANDS, codec.encode("OrderLine", line()), 2), "WRONG_RECORD"),
    "commands among answers": (raw(STOCK_DECISIONS, codec.encode("OrderCommand", order_command("SHIP", ID)), 2), "WRONG_RECORD"),
    "unequal columns": (record("PaymentResults", {**results({"order_id": ID}), "amount": []}, 2), "UNEQUAL_COLUMNS"),
}


@pytest.mark.parametrize("what", UNTAKEABLE)
def test_what_cannot_be_taken_is_a_dead_letter(what: str) -> None:
    bad, reason = UNTAKEABLE[what]
    stage = new_stage()
    paying(stage)
    writes = stage.decide([bad, record("PaymentResults", results({"order_id": ID, "amount": 500}), 3)], NOW)
    (letter,) = dead(writes)
    assert (letter["stage"], letter["reason"], letter["topic"], letter["offset"], letter["index"]) == ("orders", reason, bad.topic, 2, -1)
    assert letter["value"] == (bad.value or b"")
    assert statuses(writes) == [(1, "DECIDED", "CONFIRMED")]


def test_two_orders_under_one_id_make_a_dead_letter_and_the_first_goes_on() -> None:
    stage = new_stage()
    first, second = two_lines()
    other = line(order_id=ID, line=2, line_count=2, user_id="bob", product_id=product_at(3))
    writes = stage.decide([record("StockDecisions", answers(first, other, second), 5)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["index"], letter["order_id"]) == ("CONFLICTING_ORDER", 1, ID)
    assert codec.decode(letter["value"]) == ("OrderLine", other, 1)
    assert moves(writes) == [("RELEASE", ID, 2, product_at(3), 2, 3)]
    assert len(said(writes, "PaymentRequests")) == 1


def test_a_declined_refund_is_a_dead_letter() -> None:
    stage, _ = confirmed()
    stage.decide([record("OrderCommand", order_command("SHIP", ID)), record("OrderCommand", order_command("RETURN", ID))], NOW)
    refund = {"order_id": ID, "kind": PaymentKind.REFUND, "sequence": 1, "amount": 500, "result": PaymentResult.DECLINED, "reason": "account closed"}
    writes = stage.decide([record("PaymentResults", results(refund), 8)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["order_id"], letter["topic"], letter["offset"]) == ("REFUND_DECLINED", ID, "payment.results", 8)
    assert "account closed" in letter["detail"]
