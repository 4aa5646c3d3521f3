"""The stock stage as a pure object: lines and commands in, answers, movements, levels and dead letters out."""

from collections.abc import Sequence
from typing import Any

import pytest

from schemas import codec
from schemas.outcomes import MAX_QUANTITY, Refusal, StockCommandKind
from schemas.partitions import order_partition
from schemas.topics import DEAD_LETTERS, ORDERS, STOCK_COMMANDS, STOCK_DECISIONS, STOCK_LEVELS, STOCK_STATE
from streams.runtime.records import Place, Record, Write
from streams.stages.outbox import ITEMS_PER_RECORD
from streams.stages.stock import STOCK, StockStage
from tests.support.stages import (
    NOW,
    PARTITIONS,
    Item,
    columns,
    dead,
    line,
    order_at,
    product_at,
    raw,
    record,
    restored,
    said,
    stock_command,
    stock_commands,
)

HERE = Place(0, PARTITIONS)
RELEASE, SHIP, RETURN = StockCommandKind.RELEASE, StockCommandKind.SHIP, StockCommandKind.RETURN


def _stage(stock: int = 10) -> StockStage:
    """A stage of partition 0 with `stock` units of its first product."""
    stage = StockStage(HERE)
    if stock:
        stage.decide([record("StockCommand", stock_command("RESTOCK", stock, command_id="opening"))], NOW)
    return stage


def _kinds(writes: Sequence[Write]) -> set[str]:
    return {codec.record_name(write.value) for write in writes}


# -- good lines ------------------------------------------------------------------------------------------------------------


def test_a_held_line_is_answered_on_its_order_s_partition_with_level_and_row() -> None:
    order_id = order_at(3)
    writes = _stage().decide([record("OrderLine", line(order_id=order_id, quantity=4), offset=17)], NOW)
    (answer,) = said(writes, "StockDecisions")
    assert answer == {
        **line(order_id=order_id, quantity=4),
        **{"refusal": 0, "available": 6, "version": 2, "offset": 17, "index": 0, "partition": 0, "decided_at": NOW, "to": 3},
    }
    (level,) = said(writes, "StockLevel")
    assert (level["available"], level["reserved"], level["version"], level["updated_at"]) == (6, 4, 2, NOW)
    (row,) = said(writes, "ProductRow")
    assert {k: v for k, v in level.items() if k != "updated_at"}.items() <= row.items()
    assert {(w.topic.name, w.partition, w.key) for w in writes} == {
        ("stock.decisions", 3, None),
        ("stock.levels", 0, product_at(0).encode()),
        ("stock.state", 0, product_at(0).encode()),
    }


def test_a_refused_line_changes_no_product() -> None:
    stage = _stage(3)
    writes = stage.decide([record("OrderLine", line(quantity=4))], NOW)
    (answer,) = said(writes, "StockDecisions")
    assert (answer["refusal"], answer["available"], answer["version"]) == (Refusal.INSUFFICIENT_STOCK, 3, 1)
    assert _kinds(writes) == {"StockDecisions"}


def test_an_unknown_product_has_nothing_and_leaves_no_row() -> None:
    stage = _stage()
    writes = stage.decide([record("OrderLine", line(product_id=product_at(0, 1)))], NOW)
    assert [(a["refusal"], a["available"], a["version"]) for a in said(writes, "StockDecisions")] == [(Refusal.INSUFFICIENT_STOCK, 0, 0)]
    assert list(stage.rows) == [product_at(0)]


def test_columns_are_answered_item_by_item() -> None:
    items = [line(order_id=order_at(n % 4, n), quantity=3) for n in range(5)]
    writes = _stage(10).decide([record("OrderLines", columns(items), offset=8)], NOW)
    found = sorted(said(writes, "StockDecisions"), key=lambda answer: answer["index"])
    assert [(a["order_id"], a["offset"], a["index"], bool(a["refusal"])) for a in found] == [(items[n]["order_id"], 8, n, n >= 3) for n in range(5)]
    assert all(a["to"] == order_partition(a["order_id"], PARTITIONS) for a in found)


def test_a_product_s_level_and_row_are_written_once_per_batch() -> None:
    writes = _stage().decide([record("OrderLine", line(order_id=n, quantity=1), offset=n) for n in range(1, 9)], NOW)
    assert len(said(writes, "StockDecisions")) == 8
    assert [level["version"] for level in said(writes, "StockLevel")] == [9]
    assert [row["version"] for row in said(writes, "ProductRow")] == [9]


def test_an_untracked_product_always_reserves() -> None:
    stage = _stage(0)
    stage.decide([record("StockCommand", stock_command("UNTRACK"))], NOW)
    writes = stage.decide([record("OrderLine", line(quantity=MAX_QUANTITY, unit_price=1))], NOW)
    assert [a["refusal"] for a in said(writes, "StockDecisions")] == [0]


def test_a_frozen_product_refuses_until_it_is_unfrozen() -> None:
    batch = [
        record("StockCommand", stock_command("FREEZE"), 0),
        record("OrderLine", line(order_id=order_at(0, 1)), 1),
        record("StockCommand", stock_command("UNFREEZE"), 2),
        record("OrderLine", line(order_id=order_at(0, 2)), 3),
    ]
    found = said(_stage().decide(batch, NOW), "StockDecisions")
    assert [a["refusal"] for a in found] == [Refusal.PRODUCT_FROZEN, 0]


# -- bad input: it goes to the dead letters with its reason, and the lines around it are unharmed ---------------------------

INVALID_LINES = {
    "order ID 0": ({"order_id": 0}, Refusal.INVALID_ORDER_ID),
    "negative order ID": ({"order_id": -5}, Refusal.INVALID_ORDER_ID),
    "empty product ID": ({"product_id": ""}, Refusal.INVALID_PRODUCT),
    "over-long product ID": ({"product_id": "P" * 65}, Refusal.INVALID_PRODUCT),
    "product ID with a zero byte": ({"product_id": "\0positions"}, Refusal.INVALID_PRODUCT),
    "empty user ID": ({"user_id": ""}, Refusal.INVALID_USER),
    "over-long user ID": ({"user_id": "u" * 65}, Refusal.INVALID_USER),
    "line 0": ({"line": 0}, Refusal.INVALID_LINE),
    "negative line": ({"line": -1}, Refusal.INVALID_LINE),
    "line beyond line_count": ({"line": 3, "line_count": 2}, Refusal.INVALID_LINE),
    "line_count 0": ({"line_count": 0}, Refusal.INVALID_LINE),
    "too many lines": ({"line": 1, "line_count": 1_001}, Refusal.INVALID_LINE),
    "quantity 0": ({"quantity": 0}, Refusal.INVALID_QUANTITY),
    "negative quantity": ({"quantity": -2}, Refusal.INVALID_QUANTITY),
    "huge quantity": ({"quantity": MAX_QUANTITY + 1}, Refusal.INVALID_QUANTITY),
    "largest long as quantity": ({"quantity": 2**63 - 1, "unit_price": 2**63 - 1}, Refusal.INVALID_QUANTITY),
    "negative price": ({"unit_price": -1}, Refusal.INVALID_PRICE),
    "huge amount": ({"unit_price": 10**9, "quantity": 10**7}, Refusal.INVALID_PRICE),
    "unknown currency": ({"currency": "ZZZ"}, Refusal.UNKNOWN_CURRENCY),
    "currency in small letters": ({"currency": "gbp"}, Refusal.UNKNOWN_CURRENCY),
    "empty currency": ({"currency": ""}, Refusal.UNKNOWN_CURRENCY),
    "over-long token": ({"payment_token": "t" * 256}, Refusal.INVALID_TOKEN),
    "time before 1970": ({"placed_at": -1}, Refusal.INVALID_TIME),
    "time in microseconds": ({"placed_at": NOW * 1_000}, Refusal.INVALID_TIME),
    "two faults: the first in order of precedence": ({"currency": "ZZZ", "quantity": 0}, Refusal.INVALID_QUANTITY),
}


def _around(bad: Record) -> list[Record]:
    """A batch with a good line before and one after the bad record."""
    return [record("OrderLine", line(order_id=order_at(1, 50)), 1), bad, record("OrderLine", line(order_id=order_at(1, 51)), 3)]


def _assert_unharmed(writes: Sequence[Write]) -> None:
    held = [a for a in said(writes, "StockDecisions") if a["refusal"] == 0]
    assert [(a["order_id"], a["available"], a["version"]) for a in held] == [(order_at(1, 50), 8, 2), (order_at(1, 51), 6, 3)]
    (row,) = said(writes, "ProductRow")
    assert (row["product_id"], row["available"], row["reserved"]) == (product_at(0), 6, 4)


def _assert_refused(writes: Sequence[Write], bad: Item, refusal: Refusal, offset: int, index: int) -> None:
    """An invalid line is refused too, so that its order is rejected; one without an order ID cannot be."""
    refused = [a for a in said(writes, "StockDecisions") if a["refusal"]]
    if refusal is Refusal.INVALID_ORDER_ID:
        assert refused == []
        return
    (answer,) = refused
    assert (answer["refusal"], answer["offset"], answer["index"], answer["order_id"]) == (refusal, offset, index, bad["order_id"])
    assert max(len(answer["product_id"]), len(answer["user_id"]), len(answer["currency"])) <= 64
    assert len(answer["payment_token"]) <= 255


@pytest.mark.parametrize("fault", INVALID_LINES)
def test_an_invalid_line_is_dead_and_refused(fault: str) -> None:
    change, refusal = INVALID_LINES[fault]
    bad = record("OrderLine", line(**{"order_id": order_at(2), **change}), 2)
    writes = _stage().decide(_around(bad), NOW)
    (letter,) = dead(writes)
    order_id = None if refusal is Refusal.INVALID_ORDER_ID else order_at(2)
    assert letter == {
        **{"stage": "stock", "topic": "orders", "partition": 0, "offset": 2, "index": 0, "reason": refusal.name, "detail": letter["detail"]},
        **{"order_id": order_id, "key": b"key", "value": bad.value, "died_at": NOW, "to": 0},
    }
    assert 0 < len(letter["detail"]) < 1_000
    _assert_refused(writes, line(**{"order_id": order_at(2), **change}), refusal, 2, 0)
    _assert_unharmed(writes)


@pytest.mark.parametrize("fault", INVALID_LINES)
def test_one_invalid_item_of_a_columnar_record_goes_alone(fault: str) -> None:
    change, refusal = INVALID_LINES[fault]
    bad = line(**{"order_id": order_at(2), **change})
    items = [line(order_id=order_at(1, 50)), bad, line(order_id=order_at(1, 51))]
    writes = _stage().decide([record("OrderLines", columns(items), 7)], NOW)
    assert [(letter["offset"], letter["index"], letter["reason"]) for letter in dead(writes)] == [(7, 1, refusal.name)]
    _assert_refused(writes, bad, refusal, 7, 1)
    _assert_unharmed(writes)


def _level() -> bytes:
    return codec.encode("StockLevel", said(_stage().decide([record("OrderLine", line())], NOW), "StockLevel")[0])


UNTAKEABLE: dict[str, tuple[Any, str]] = {
    "garbage": (lambda: raw(ORDERS, b"\xde\xad\xbe\xef" * 5, 2), "NOT_CONFLUENT"),
    "text": (lambda: raw(ORDERS, b'{"order_id": 1}', 2), "NOT_CONFLUENT"),
    "nothing": (lambda: raw(ORDERS, b"", 2), "NOT_CONFLUENT"),
    "a tombstone": (lambda: raw(ORDERS, None, 2), "NOT_CONFLUENT"),
    "unknown schema": (lambda: raw(ORDERS, b"\0\0\0\x03\xe7body", 2), "UNKNOWN_SCHEMA"),
    "cut short": (lambda: raw(ORDERS, codec.encode("OrderLine", line())[:-3], 2), "UNDECODABLE"),
    "bytes left over": (lambda: raw(ORDERS, codec.encode("OrderLine", line()) + b"x", 2), "UNDECODABLE"),
    "text that is no UTF-8": (lambda: raw(ORDERS, codec.encode("OrderLine", line()).replace(b"tok_ann", b"tok_\xff\xfe\xfd"), 2), "UNDECODABLE"),
    "a command on orders": (lambda: raw(ORDERS, codec.encode("StockCommand", stock_command("RESTOCK", 5)), 2), "WRONG_RECORD"),
    "a level on orders": (lambda: raw(ORDERS, _level(), 2), "WRONG_RECORD"),
    "a line on stock.commands": (lambda: raw(STOCK_COMMANDS, codec.encode("OrderLine", line()), 2), "WRONG_RECORD"),
    "garbage on stock.commands": (lambda: raw(STOCK_COMMANDS, b"garbage", 2), "NOT_CONFLUENT"),
    "unequal columns": (lambda: record("OrderLines", {**columns([line(), line()]), "quantity": [2]}, 2), "UNEQUAL_COLUMNS"),
    "unequal columns of commands": (lambda: record("StockCommands", {**stock_commands([{"kind": SHIP}]), "kind": b""}, 2), "UNEQUAL_COLUMNS"),
}


@pytest.mark.parametrize("what", UNTAKEABLE)
def test_what_cannot_be_taken_is_a_dead_letter(what: str) -> None:
    make, reason = UNTAKEABLE[what]
    bad = make()
    writes = _stage().decide(_around(bad), NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["topic"], letter["partition"], letter["offset"], letter["index"]) == (reason, bad.topic, 0, 2, -1)
    assert (letter["value"], letter["key"], letter["order_id"]) == (bad.value or b"", b"key", None)
    assert [w.key for w in writes if w.topic is DEAD_LETTERS] == [bad.topic.encode()]
    _assert_unharmed(writes)


IMPOSSIBLE_COMMANDS = {
    "no ID": stock_command("RESTOCK", 5, command_id=""),
    "over-long ID": stock_command("RESTOCK", 5, command_id="c" * 129),
    "no product": stock_command("RESTOCK", 5, product_id=""),
    "over-long product": stock_command("RESTOCK", 5, product_id="P" * 65),
    "product with a zero byte": stock_command("RESTOCK", 5, product_id="\0positions"),
    "restock of nothing": stock_command("RESTOCK", 0),
    "negative restock": stock_command("RESTOCK", -1),
    "negative write-off": stock_command("WRITE_OFF", -1),
    "huge find": stock_command("FOUND", MAX_QUANTITY + 1),
    "count below nothing": stock_command("COUNT", -1, as_of=NOW),
    "count without a time": stock_command("COUNT", 5),
    "count in microseconds": stock_command("COUNT", 5, as_of=NOW * 1_000),
    "freeze with a quantity": stock_command("FREEZE", 1),
}


@pytest.mark.parametrize("fault", IMPOSSIBLE_COMMANDS)
def test_an_impossible_command_is_a_dead_letter(fault: str) -> None:
    bad = record("StockCommand", IMPOSSIBLE_COMMANDS[fault], 2)
    writes = _stage().decide(_around(bad), NOW)
    assert [(letter["reason"], letter["offset"], letter["index"], letter["value"]) for letter in dead(writes)] == [("INVALID_COMMAND", 2, 0, bad.value)]
    assert said(writes, "StockMovements") == []
    _assert_unharmed(writes)


IMPOSSIBLE_ITEMS: dict[str, Item] = {
    "unknown kind": {"kind": 99},
    "a gap in the kinds": {"kind": 8},
    "release of more than is reserved": {"kind": RELEASE, "quantity": 7},
    "ship of more than is reserved": {"kind": SHIP, "quantity": 7},
    "return of more than was shipped": {"kind": RETURN, "quantity": 1},
    "release of nothing": {"kind": RELEASE, "quantity": 0},
    "ship of a negative number": {"kind": SHIP, "quantity": -3},
    "release without an order": {"kind": RELEASE, "order_id": 0},
    "restock without an ID": {"kind": StockCommandKind.RESTOCK, "order_id": 0},
    "ship of a product nobody knows": {"kind": SHIP, "product_id": product_at(0, 3)},
}


@pytest.mark.parametrize("fault", IMPOSSIBLE_ITEMS)
def test_one_impossible_command_of_a_columnar_record_goes_alone(fault: str) -> None:
    stage = _stage()
    stage.decide([record("OrderLine", line(quantity=6))], NOW)
    items = [{"kind": RELEASE, "quantity": 1}, IMPOSSIBLE_ITEMS[fault], {"kind": SHIP, "quantity": 2}]
    writes = stage.decide([record("StockCommands", stock_commands(items), 9)], NOW)
    assert [(letter["reason"], letter["offset"], letter["index"]) for letter in dead(writes)] == [("INVALID_COMMAND", 9, 1)]
    moved = said(writes, "StockMovements")
    assert [(m["kind"], m["quantity"], m["index"], m["reserved"], m["shipped"]) for m in moved] == [(RELEASE, 1, 0, 5, 0), (SHIP, 2, 2, 3, 2)]
    assert list(stage.rows) == [product_at(0)]


# -- records on the wrong partition: forwarded, never decided here ----------------------------------------------------------


def test_lines_of_another_partition_s_product_are_forwarded() -> None:
    items = [line(), line(order_id=order_at(2), product_id=product_at(3), quantity=5)]
    stage = _stage()
    writes = stage.decide([record("OrderLines", columns(items), 4)], NOW)
    (forwarded,) = [w for w in writes if w.topic is ORDERS]
    assert (forwarded.partition, forwarded.key) == (3, product_at(3).encode())
    assert codec.decode(forwarded.value).value == items[1]
    assert [a["index"] for a in said(writes, "StockDecisions")] == [0]
    assert list(stage.rows) == [product_at(0)]


@pytest.mark.parametrize("kind", ["RESTOCK", "FREEZE", "UNTRACK"])
def test_commands_about_another_partition_s_product_are_forwarded(kind: str) -> None:
    command = stock_command(kind, 5 if kind == "RESTOCK" else 0, product_id=product_at(2), actor="goods-in")
    writes = _stage().decide([record("StockCommand", command)], NOW)
    (forwarded,) = writes
    assert (forwarded.topic, forwarded.partition, forwarded.key) == (STOCK_COMMANDS, 2, product_at(2).encode())
    carried = StockStage(Place(2, PARTITIONS)).decide([Record(STOCK_COMMANDS.name, 2, 0, forwarded.key, forwarded.value)], NOW)
    (movement,) = said(carried, "StockMovements")
    assert (movement["kind"], movement["command_id"], movement["actor"]) == (StockCommandKind[kind], command["command_id"], "goods-in")


def test_a_forwarded_line_is_decided_where_it_belongs_and_never_comes_back() -> None:
    bad = record("OrderLine", line(product_id=product_at(3)))
    (forwarded,) = _stage().decide([bad], NOW)
    writes = StockStage(Place(3, PARTITIONS)).decide([Record(ORDERS.name, 3, 0, forwarded.key, forwarded.value)], NOW)
    assert [a["order_id"] for a in said(writes, "StockDecisions")] == [order_at(0)]
    assert [w for w in writes if w.topic is ORDERS] == []


# -- commands ----------------------------------------------------------------------------------------------------------------


def test_a_command_is_answered_on_the_product_s_own_partition_number() -> None:
    writes = _stage(0).decide([record("StockCommand", stock_command("RESTOCK", 7, command_id="receipt-1"), 5)], NOW)
    (movement,) = said(writes, "StockMovements")
    assert movement == {
        **{"partition": 0, "decided_at": NOW, "kind": 0, "command_id": "receipt-1", "order_id": 0, "line": 0, "product_id": product_at(0), "quantity": 7},
        **{"refusal": 0, "available": 7, "reserved": 0, "shipped": 0, "received": 7, "written_off": 0, "returned": 0, "version": 1},
        **{"offset": 5, "index": 0, "actor": "test", "to": 0},
    }
    assert _kinds(writes) == {"StockMovements", "ProductRow", "StockLevel"}


def test_a_repeated_command_changes_nothing_and_says_nothing() -> None:
    stage = _stage()
    again = record("StockCommand", stock_command("RESTOCK", 10, command_id="opening"), 1)
    assert stage.decide([again], NOW) == []
    assert restored(STOCK, HERE, [*_opening_writes()]).decide([again], NOW) == []


def _opening_writes() -> list[Write]:
    return StockStage(HERE).decide([record("StockCommand", stock_command("RESTOCK", 10, command_id="opening"))], NOW)


def test_a_refused_command_is_answered_and_changes_nothing() -> None:
    stage = _stage(3)
    writes = stage.decide([record("StockCommand", stock_command("WRITE_OFF", 4))], NOW)
    assert [(m["refusal"], m["available"], m["version"]) for m in said(writes, "StockMovements")] == [(Refusal.INSUFFICIENT_STOCK, 3, 1)]
    assert _kinds(writes) == {"StockMovements"}


def test_lines_and_commands_of_one_batch_are_decided_in_the_batch_s_order() -> None:
    batch = [
        record("OrderLine", line(order_id=order_at(0, 0), quantity=10), 0),
        record("StockCommands", stock_commands([{"kind": RELEASE, "quantity": 10, "order_id": order_at(0, 0)}]), 0),
        record("OrderLine", line(order_id=order_at(0, 1), quantity=10), 1),
        record("OrderLine", line(order_id=order_at(0, 2), quantity=1), 2),
    ]
    found = said(_stage(10).decide(batch, NOW), "StockDecisions")
    assert [(a["refusal"], a["version"]) for a in found] == [(0, 2), (0, 4), (Refusal.INSUFFICIENT_STOCK, 4)]


# -- sizes -------------------------------------------------------------------------------------------------------------------


def test_very_many_answers_are_several_records_in_order() -> None:
    stage = _stage(1_000_000)
    order_id = order_at(1)
    items = [line(order_id=order_id, line=1, quantity=1) for _ in range(2 * ITEMS_PER_RECORD + 500)]
    writes = [w for w in stage.decide([record("OrderLines", columns(items))], NOW) if w.topic is STOCK_DECISIONS]
    assert [codec.decode(w.value).size for w in writes] == [ITEMS_PER_RECORD, ITEMS_PER_RECORD, 500]
    assert [a["index"] for a in said(writes, "StockDecisions")] == list(range(len(items)))


def test_the_largest_answers_fit_their_topic() -> None:
    """Texts as long as they may be, in characters of four bytes."""
    wide = line(user_id="\N{PARTY POPPER}" * 64, payment_token="\N{PARTY POPPER}" * 255, quantity=1)
    writes = _stage(ITEMS_PER_RECORD).decide([record("OrderLines", columns([wide] * ITEMS_PER_RECORD))], NOW)
    assert max(len(w.value or b"") for w in writes if w.topic is STOCK_DECISIONS) < STOCK_DECISIONS.max_message_bytes


def test_an_empty_batch_and_an_empty_record_write_nothing() -> None:
    assert _stage().decide([], NOW) == []
    assert _stage().decide([record("OrderLines", {name: [] for name in columns([line()])})], NOW) == []


def test_products_have_no_deadlines() -> None:
    assert not _stage().is_due(NOW * 2)
    assert _stage().expire(NOW * 2) == []


def test_levels_and_rows_say_the_same() -> None:
    writes = _stage().decide([record("OrderLine", line(quantity=3))], NOW)
    assert {w.key for w in writes if w.topic is STOCK_LEVELS} == {w.key for w in writes if w.topic is STOCK_STATE}
