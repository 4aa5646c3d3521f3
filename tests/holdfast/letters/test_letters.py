"""Dead letters: what is found in their bytes, what a correction makes of them, what is sent. Pure."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.letters import words
from holdfast.letters.book import Book, Choice, Letter, LetterId
from holdfast.letters.errors import LetterError
from holdfast.letters.inside import look_into
from holdfast.letters.mending import Correction, assignments, read_corrections
from holdfast.letters.plan import Plan, Wish, plan
from schemas import codec
from schemas.partitions import order_partition, product_partition
from tests.faults.poison import poisons
from tests.support.examples import example

LINE = {**example("OrderLine"), "line": 1, "line_count": 1}
STOCK = example("StockCommand")


def dead(value: bytes, offset: int = 0, **fields: Any) -> dict[str, Any]:
    common = {"stage": "stock", "topic": "orders", "partition": 1, "offset": offset, "index": -1, "reason": "UNDECODABLE", "detail": "", "order_id": None}
    return {**common, "key": b"k", "value": value, "died_at": 1_000 + offset, **fields}


def letter(value: bytes, offset: int = 0, **fields: Any) -> Letter:
    return Letter(LetterId(0, offset), dead(value, offset, **fields))


def ids(count: int) -> Sequence[int]:
    return range(900, 900 + count)


def planned(*letters: Letter, new_orders: bool = False, corrections: dict[LetterId, Correction] | None = None, **changes: Any) -> Plan:
    common = Correction(fields=tuple(changes.items()))
    return plan(letters, Wish(corrections or {}, common, new_orders), ids)


def sent(made: Plan) -> list[tuple[str, dict[str, Any]]]:
    assert made.refused == []
    return [(one.record, item) for group in made.groups for one in group for item in one.items]


def why(made: Plan) -> str:
    assert not made.groups
    ((_, text),) = made.refused
    return text


# -- what is inside ------------------------------------------------------------------------------------------------------


def test_a_record_that_breaks_off_is_read_up_to_there() -> None:
    whole = codec.encode("StockCommand", STOCK)
    inside = look_into(whole[:-9])
    assert (inside.record, inside.single) == ("StockCommand", "StockCommand")
    assert inside.items == ({name: value for name, value in STOCK.items() if name != "note"},)
    assert "'note'" in inside.broke


def test_the_items_of_columns_are_as_many_single_records() -> None:
    columns = example("StockCommands")
    inside = look_into(codec.encode("StockCommands", columns))
    assert [item["product_id"] for item in inside.items] == columns["product_id"]
    assert all(item["actor"] == columns["actor"] for item in inside.items)
    assert not inside.broke


def test_json_of_a_producer_without_avro_is_known_by_its_fields() -> None:
    assert look_into(json.dumps(LINE).encode())[:3] == ("OrderLine", "OrderLine", (LINE,))
    assert look_into(json.dumps([LINE, LINE]).encode()).items == (LINE, LINE)
    other = look_into(b'{"order_id": 1}')
    assert (other.record, other.items, other.text) == (None, (), '{"order_id": 1}')


def test_no_poison_is_too_much_for_it() -> None:
    for poison in (p for p in poisons(Random(1)) if len(p.value or b"") < 100_000):
        one = letter(poison.value or b"", reason=poison.reason or "NOT_CONFLUENT")
        assert json.loads(json.dumps(words.document(one, whole=True)))["id"] == "0-0"
        words.sheet(one)
        planned(one)
        planned(one, quantity="1")


@given(st.binary(max_size=200), st.sampled_from([b"", *(codec.encode(name, example(name))[:5] for name in codec.schema_ids())]))
def test_nor_are_any_bytes(body: bytes, header: bytes) -> None:
    one = letter(header + body)
    json.dumps(words.document(one, whole=True))
    planned(one)


# -- what is sent --------------------------------------------------------------------------------------------------------


def test_a_line_goes_to_the_partition_of_its_product_and_a_command_to_that_of_its_order() -> None:
    command = {**example("OrderCommand"), "kind": "SHIP", "order_id": 7, "line": 0, "quantity": 0}
    made = planned(letter(codec.encode("OrderLine", LINE)), letter(codec.encode("OrderCommand", command), 1))
    (line,), (ship,) = (group[0].sendings(8) for group in made.groups)
    assert (line.topic.name, line.partition, codec.decode(line.value).value) == ("orders", product_partition(LINE["product_id"], 8), LINE)
    assert (ship.topic.name, ship.partition, ship.order_id) == ("order.commands", order_partition(7, 8), 7)


def test_a_correction_is_set_and_checked() -> None:
    bad = letter(codec.encode("StockCommand", {**STOCK, "quantity": -5}), reason="INVALID_COMMAND")
    assert "RESTOCK takes 1 to" in why(planned(bad))
    assert sent(planned(bad, quantity="5")) == [("StockCommand", {**STOCK, "quantity": 5})]
    assert "whole number" in why(planned(bad, quantity="five"))
    assert "no field" in why(planned(bad, unit_price="5"))
    assert "use one of RESTOCK" in why(planned(bad, kind="RELEASE"))


def test_one_of_the_orders_agent_s_own_commands_is_never_sent_by_hand() -> None:
    item = {"command_id": [""], "order_id": [3], "line": [1], "product_id": ["p"], "quantity": [7], "as_of": [0]}
    release = codec.encode("StockCommands", {**item, "kind": b"\x0a", "issued_at": 0, "actor": "orders"})
    assert "'RELEASE' cannot be sent" in why(planned(letter(release, reason="INVALID_COMMAND")))


def test_what_breaks_off_needs_a_word_of_somebody() -> None:
    broken = letter(codec.encode("StockCommand", STOCK)[:-9])
    assert "not whole" in why(planned(broken))
    assert sent(planned(broken, note="mended")) == [("StockCommand", {**STOCK, "note": "mended"})]
    shorter = letter(codec.encode("OrderLine", LINE)[:30])
    assert "is missing: --set" in why(planned(shorter, quantity="1"))


def test_unreadable_bytes_need_the_whole_record() -> None:
    garbage = letter(b"\x07garbage")
    assert "give the whole record" in why(planned(garbage))
    whole = {garbage.id: Correction("OrderLine", (LINE,))}
    assert sent(planned(garbage, corrections=whole)) == [("OrderLine", LINE)]


def test_a_record_of_a_stage_is_not_sent_by_hand() -> None:
    assert "only a stage may send" in why(planned(letter(codec.encode("PaymentRequests", example("PaymentRequests")))))


def test_too_many_items_go_one_by_one() -> None:
    columns = {name: [value] * 3_000 for name, value in LINE.items()}
    many = letter(codec.encode("OrderLines", columns), reason="TOO_MANY_ITEMS")
    assert sent(planned(many)) == [("OrderLine", LINE)] * 3_000


def test_a_settled_letter_is_refused() -> None:
    done = letter(codec.encode("OrderLine", LINE))
    done.settled = {"action": "DISCARDED"}
    assert why(planned(done)) == "it is DISCARDED already"


# -- orders of their own -------------------------------------------------------------------------------------------------


def invalid(offset: int, **changes: Any) -> Letter:
    line = {**LINE, "order_id": 5, "quantity": 0, **changes}
    return letter(codec.encode("OrderLine", line), offset, reason="INVALID_QUANTITY", order_id=line["order_id"])


def test_a_line_of_an_order_that_has_its_answer_needs_a_new_order() -> None:
    assert "--new-order" in why(planned(invalid(0), quantity="1"))
    assert sent(planned(invalid(0), quantity="1", new_orders=True)) == [("OrderLine", {**LINE, "order_id": 900, "quantity": 1})]
    assert sent(planned(invalid(0), quantity="1", order_id="77")) == [("OrderLine", {**LINE, "order_id": 77, "quantity": 1})]


def test_orders_of_one_line_under_one_id_become_orders_of_their_own() -> None:
    made = planned(*(invalid(n) for n in range(3)), quantity="1", new_orders=True)
    assert [item["order_id"] for _, item in sent(made)] == [900, 901, 902]
    assert len(made.groups) == 3


def test_the_lines_of_one_order_stay_together() -> None:
    lines = [invalid(n, line=n + 1, line_count=3) for n in range(3)]
    made = planned(*lines, invalid(9, order_id=6), quantity="1", new_orders=True)
    assert [[one.items[0]["order_id"] for one in group] for group in made.groups] == [[900] * 3, [901]]


def test_half_an_order_is_not_sent() -> None:
    made = planned(invalid(0, line=1, line_count=3), invalid(2, line=3, line_count=3), quantity="1", new_orders=True)
    assert not made.groups
    assert all("[1, 3] are among the letters chosen" in text for _, text in made.refused)


# -- the book ------------------------------------------------------------------------------------------------------------


def book(*records: tuple[str, dict[str, Any]] | bytes) -> Book:
    made = Book()
    for offset, record in enumerate(records):
        made.add(0, offset, record if isinstance(record, bytes) else codec.encode(*record))
    return made


def mark(offset: int, action: str = "REDRIVEN") -> tuple[str, dict[str, Any]]:
    return "DeadLetterSettled", {"partition": 0, "offset": offset, "action": action, "sent": [], "actor": "ann", "note": "", "settled_at": 1}


def test_a_mark_settles_its_letter_once() -> None:
    found = book(("DeadLetter", dead(b"a", 1)), ("DeadLetter", dead(b"b", 2)), mark(0), mark(0, "DISCARDED"), b"garbage", mark(77))
    assert [(str(one.id), one.state) for one in found] == [("0-0", "REDRIVEN"), ("0-1", "OPEN")]
    assert found.strangers == 2
    assert +found.open == {dead(b"b")["reason"]: 1}


def test_what_a_sink_said_twice_is_one_letter() -> None:
    found = book(("DeadLetter", dead(b"a")), ("DeadLetter", dead(b"a", died_at=5)), ("DeadLetter", dead(b"a", stage="mysql")), mark(1))
    first, other = found
    assert (first.repeats, first.state, other.state) == (1, "REDRIVEN", "OPEN")
    assert found.find(LetterId(0, 1)) is first
    assert found.open.total() == 1


CHOICES = {
    "reason": (Choice(reasons=frozenset({"UNDECODABLE"})), True),
    "another reason": (Choice(reasons=frozenset({"WRONG_RECORD"})), False),
    "topic": (Choice(topics=frozenset({"orders"})), True),
    "its whole name": (Choice(topics=frozenset({"eu.orders"})), True),
    "another topic": (Choice(topics=frozenset({"eu"})), False),
    "partition": (Choice(partitions=frozenset({2})), False),
    "an order": (Choice(orders=frozenset({1})), False),
    "from its time": (Choice(since=1_003), True),
    "after its time": (Choice(since=1_004), False),
    "until its time": (Choice(until=1_003), False),
    "state": (Choice(state="REDRIVEN"), False),
}


@pytest.mark.parametrize("what", CHOICES)
def test_choosing(what: str) -> None:
    choice, meant = CHOICES[what]
    assert choice.holds(letter(b"", 3, topic="eu.orders"), ("eu.",)) is meant


# -- corrections in files ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["array", "lines", "letters"])
def test_a_file_of_corrections(form: str, tmp_path: Path) -> None:
    entries = [{"id": "3-17", "set": {"quantity": 1}}, {"id": "0-2", "record": "OrderLine", "items": [LINE]}]
    forms = {"array": json.dumps(entries), "lines": "\n".join(map(json.dumps, entries)), "letters": json.dumps({"letters": entries})}
    (tmp_path / "c").write_text(forms[form])
    assert read_corrections(tmp_path / "c") == {LetterId(3, 17): Correction(fields=(("quantity", 1),)), LetterId(0, 2): Correction("OrderLine", (LINE,))}


def test_what_show_prints_can_be_edited_and_sent(tmp_path: Path) -> None:
    bad = letter(codec.encode("OrderLines", {name: [value] for name, value in {**LINE, "quantity": -1}.items()}), 4)
    shown = words.document(bad, whole=True)
    shown["items"][0]["quantity"] = 2
    (tmp_path / "c").write_text(json.dumps({"letters": [shown]}))
    assert sent(planned(bad, corrections=read_corrections(tmp_path / "c"))) == [("OrderLine", {**LINE, "quantity": 2})]


BAD_FILES = {"no JSON": "nonsense", "no ID": "[{}]", "no such ID": '[{"id": "x"}]', "items that are none": '[{"id": "1-1", "items": [1]}]', "a number": "3"}


@pytest.mark.parametrize("what", BAD_FILES)
def test_a_file_that_is_none_says_so(what: str, tmp_path: Path) -> None:
    (tmp_path / "c").write_text(BAD_FILES[what])
    with pytest.raises(LetterError, match=str(tmp_path / "c")):
        read_corrections(tmp_path / "c")


def test_one_letter_twice_in_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "c").write_text('{"id": "1-1", "set": {}}\n{"id": "1-1", "set": {}}')
    with pytest.raises(LetterError, match="entry 2: 1-1 is there twice"):
        read_corrections(tmp_path / "c")


def test_a_set_that_sets_nothing_is_refused() -> None:
    assert assignments(["quantity=1", "note=a=b"]) == (("quantity", "1"), ("note", "a=b"))
    for text in ("quantity", "size=1"):
        with pytest.raises(LetterError, match="--set"):
            assignments([text])
