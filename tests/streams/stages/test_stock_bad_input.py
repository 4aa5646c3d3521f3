"""Bad input of the stock stage goes to the dead letters with its reason, and the lines around it are unharmed."""

from collections.abc import Callable, Sequence

import pytest

from schemas import codec
from schemas.outcomes import MAX_QUANTITY, Refusal, StockCommandKind
from schemas.topics import DEAD_LETTERS, ORDERS, STOCK_COMMANDS
from streams.runtime.records import Record, Write
from tests.support.stages import (
    NOW,
    Item,
    columns,
    dead,
    line,
    order_at,
    product_at,
    raw,
    record,
    said,
    stock_command,
    stock_commands,
    stocked,
)

RELEASE, SHIP, RETURN = StockCommandKind.RELEASE, StockCommandKind.SHIP, StockCommandKind.RETURN

INVALID_LINES: dict[str, tuple[Item, Refusal]] = {
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
    writes = stocked().decide(_around(bad), NOW)
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
    writes = stocked().decide([record("OrderLines", columns(items), 7)], NOW)
    (letter,) = dead(writes)
    assert (letter["offset"], letter["index"], letter["reason"]) == (7, 1, refusal.name)
    assert codec.decode(letter["value"]) == ("OrderLine", bad, 1)
    _assert_refused(writes, bad, refusal, 7, 1)
    _assert_unharmed(writes)


def _level() -> bytes:
    return codec.encode("StockLevel", said(stocked().decide([record("OrderLine", line())], NOW), "StockLevel")[0])


UNTAKEABLE: dict[str, tuple[Callable[[], Record], str]] = {
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
    writes = stocked().decide(_around(bad), NOW)
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
    writes = stocked().decide(_around(bad), NOW)
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
    stage = stocked()
    stage.decide([record("OrderLine", line(quantity=6))], NOW)
    items = [{"kind": RELEASE, "quantity": 1}, IMPOSSIBLE_ITEMS[fault], {"kind": SHIP, "quantity": 2}]
    writes = stage.decide([record("StockCommands", stock_commands(items), 9)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["offset"], letter["index"]) == ("INVALID_COMMAND", 9, 1)
    assert codec.decode(letter["value"]) == ("StockCommands", stock_commands([IMPOSSIBLE_ITEMS[fault]]), 1)
    moved = said(writes, "StockMovements")
    assert [(m["kind"], m["quantity"], m["index"], m["reserved"], m["shipped"]) for m in moved] == [(RELEASE, 1, 0, 5, 0), (SHIP, 2, 2, 3, 2)]
    assert list(stage.rows) == [product_at(0)]
