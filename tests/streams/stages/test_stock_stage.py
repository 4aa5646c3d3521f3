"""The stock stage as a pure object: lines and commands in, answers, movements, levels and dead letters out."""

from collections.abc import Sequence

import pytest

from schemas import codec
from schemas.outcomes import MAX_ITEMS, MAX_QUANTITY, Refusal, StockCommandKind
from schemas.partitions import order_partition
from schemas.topics import ORDERS, STOCK_COMMANDS, STOCK_DECISIONS, STOCK_LEVELS, STOCK_STATE
from streams.runtime.records import Place, Record, Write
from streams.stages.stock import STOCK, StockStage
from tests.support.stages import (
    NOW,
    PARTITIONS,
    columns,
    dead,
    line,
    order_at,
    product_at,
    record,
    restored,
    said,
    stock_command,
    stock_commands,
    stocked,
)

HERE = Place(0, PARTITIONS)
RELEASE, SHIP, RETURN = StockCommandKind.RELEASE, StockCommandKind.SHIP, StockCommandKind.RETURN


def _kinds(writes: Sequence[Write]) -> set[str]:
    return {codec.record_name(write.value) for write in writes}


# -- good lines ------------------------------------------------------------------------------------------------------------


def test_a_held_line_is_answered_on_its_order_s_partition_with_level_and_row() -> None:
    order_id = order_at(3)
    writes = stocked().decide([record("OrderLine", line(order_id=order_id, quantity=4), offset=17)], NOW)
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
    stage = stocked(3)
    writes = stage.decide([record("OrderLine", line(quantity=4))], NOW)
    (answer,) = said(writes, "StockDecisions")
    assert (answer["refusal"], answer["available"], answer["version"]) == (Refusal.INSUFFICIENT_STOCK, 3, 1)
    assert _kinds(writes) == {"StockDecisions"}


def test_an_unknown_product_has_nothing_and_leaves_no_row() -> None:
    stage = stocked()
    writes = stage.decide([record("OrderLine", line(product_id=product_at(0, 1)))], NOW)
    assert [(a["refusal"], a["available"], a["version"]) for a in said(writes, "StockDecisions")] == [(Refusal.INSUFFICIENT_STOCK, 0, 0)]
    assert list(stage.rows) == [product_at(0)]


def test_columns_are_answered_item_by_item() -> None:
    items = [line(order_id=order_at(n % 4, n), quantity=3) for n in range(5)]
    writes = stocked(10).decide([record("OrderLines", columns(items), offset=8)], NOW)
    found = sorted(said(writes, "StockDecisions"), key=lambda answer: answer["index"])
    assert [(a["order_id"], a["offset"], a["index"], bool(a["refusal"])) for a in found] == [(items[n]["order_id"], 8, n, n >= 3) for n in range(5)]
    assert all(a["to"] == order_partition(a["order_id"], PARTITIONS) for a in found)


def test_a_product_s_level_and_row_are_written_once_per_batch() -> None:
    writes = stocked().decide([record("OrderLine", line(order_id=n, quantity=1), offset=n) for n in range(1, 9)], NOW)
    assert len(said(writes, "StockDecisions")) == 8
    assert [level["version"] for level in said(writes, "StockLevel")] == [9]
    assert [row["version"] for row in said(writes, "ProductRow")] == [9]


def test_an_untracked_product_always_reserves() -> None:
    stage = stocked(0)
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
    found = said(stocked().decide(batch, NOW), "StockDecisions")
    assert [a["refusal"] for a in found] == [Refusal.PRODUCT_FROZEN, 0]


# -- records on the wrong partition: forwarded, never decided here ----------------------------------------------------------


def test_lines_of_another_partition_s_product_are_forwarded() -> None:
    items = [line(), line(order_id=order_at(2), product_id=product_at(3), quantity=5)]
    stage = stocked()
    writes = stage.decide([record("OrderLines", columns(items), 4)], NOW)
    (forwarded,) = [w for w in writes if w.topic is ORDERS]
    assert (forwarded.partition, forwarded.key) == (3, product_at(3).encode())
    assert codec.decode(forwarded.value).value == items[1]
    assert [a["index"] for a in said(writes, "StockDecisions")] == [0]
    assert list(stage.rows) == [product_at(0)]


@pytest.mark.parametrize("kind", ["RESTOCK", "FREEZE", "UNTRACK"])
def test_commands_about_another_partition_s_product_are_forwarded(kind: str) -> None:
    command = stock_command(kind, 5 if kind == "RESTOCK" else 0, product_id=product_at(2), actor="goods-in")
    writes = stocked().decide([record("StockCommand", command)], NOW)
    (forwarded,) = writes
    assert (forwarded.topic, forwarded.partition, forwarded.key) == (STOCK_COMMANDS, 2, product_at(2).encode())
    carried = StockStage(Place(2, PARTITIONS)).decide([Record(STOCK_COMMANDS.name, 2, 0, forwarded.key, forwarded.value)], NOW)
    (movement,) = said(carried, "StockMovements")
    assert (movement["kind"], movement["command_id"], movement["actor"]) == (StockCommandKind[kind], command["command_id"], "goods-in")


def test_a_forwarded_line_is_decided_where_it_belongs_and_never_comes_back() -> None:
    bad = record("OrderLine", line(product_id=product_at(3)))
    (forwarded,) = stocked().decide([bad], NOW)
    writes = StockStage(Place(3, PARTITIONS)).decide([Record(ORDERS.name, 3, 0, forwarded.key, forwarded.value)], NOW)
    assert [a["order_id"] for a in said(writes, "StockDecisions")] == [order_at(0)]
    assert [w for w in writes if w.topic is ORDERS] == []


# -- commands ----------------------------------------------------------------------------------------------------------------


def test_a_command_is_answered_on_the_product_s_own_partition_number() -> None:
    writes = stocked(0).decide([record("StockCommand", stock_command("RESTOCK", 7, command_id="receipt-1"), 5)], NOW)
    (movement,) = said(writes, "StockMovements")
    assert movement == {
        **{"partition": 0, "decided_at": NOW, "kind": 0, "command_id": "receipt-1", "order_id": 0, "line": 0, "product_id": product_at(0), "quantity": 7},
        **{"refusal": 0, "available": 7, "reserved": 0, "shipped": 0, "received": 7, "written_off": 0, "returned": 0, "version": 1},
        **{"offset": 5, "index": 0, "actor": "test", "to": 0},
    }
    assert _kinds(writes) == {"StockMovements", "ProductRow", "StockLevel"}


def test_a_repeated_command_changes_nothing_and_says_nothing() -> None:
    stage = stocked()
    again = record("StockCommand", stock_command("RESTOCK", 10, command_id="opening"), 1)
    assert stage.decide([again], NOW) == []
    assert restored(STOCK, HERE, [*_opening_writes()]).decide([again], NOW) == []


def _opening_writes() -> list[Write]:
    return StockStage(HERE).decide([record("StockCommand", stock_command("RESTOCK", 10, command_id="opening"))], NOW)


def test_a_refused_command_is_answered_and_changes_nothing() -> None:
    stage = stocked(3)
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
    found = said(stocked(10).decide(batch, NOW), "StockDecisions")
    assert [(a["refusal"], a["version"]) for a in found] == [(0, 2), (0, 4), (Refusal.INSUFFICIENT_STOCK, 4)]


# -- sizes -------------------------------------------------------------------------------------------------------------------


def test_very_many_answers_are_several_records_in_order() -> None:
    stage = stocked(1_000_000)
    order_id = order_at(1)
    items = [line(order_id=order_id, line=1, quantity=1) for _ in range(MAX_ITEMS - 500)]
    writes = [w for w in stage.decide([record("OrderLines", columns(items), n) for n in range(3)], NOW) if w.topic is STOCK_DECISIONS]
    assert [codec.decode(w.value).size for w in writes] == [MAX_ITEMS, MAX_ITEMS, MAX_ITEMS - 1_500]
    assert [(a["offset"], a["index"]) for a in said(writes, "StockDecisions")] == [(n, index) for n in range(3) for index in range(len(items))]


def test_a_record_of_too_many_items_is_a_dead_letter_and_none_of_it_is_taken() -> None:
    """What one record asks for has to fit one transaction, and one batch."""
    whole = columns([line(quantity=1)] * (MAX_ITEMS + 1))
    writes = stocked(1_000_000).decide([record("OrderLines", whole, 7)], NOW)
    (letter,) = dead(writes)
    assert (letter["reason"], letter["offset"], letter["index"]) == ("TOO_MANY_ITEMS", 7, -1)
    assert len(writes) == 1


def test_the_largest_answers_fit_their_topic() -> None:
    """Texts as long as they may be, in characters of four bytes."""
    wide = line(user_id="\N{PARTY POPPER}" * 64, payment_token="\N{PARTY POPPER}" * 255, quantity=1)
    writes = stocked(MAX_ITEMS).decide([record("OrderLines", columns([wide] * MAX_ITEMS))], NOW)
    assert max(len(w.value or b"") for w in writes if w.topic is STOCK_DECISIONS) < STOCK_DECISIONS.max_message_bytes


def test_an_empty_batch_and_an_empty_record_write_nothing() -> None:
    assert stocked().decide([], NOW) == []
    assert stocked().decide([record("OrderLines", {name: [] for name in columns([line()])})], NOW) == []


def test_products_have_no_deadlines() -> None:
    assert not stocked().is_due(NOW * 2)
    assert stocked().expire(NOW * 2) == []


def test_levels_and_rows_say_the_same() -> None:
    writes = stocked().decide([record("OrderLine", line(quantity=3))], NOW)
    assert {w.key for w in writes if w.topic is STOCK_LEVELS} == {w.key for w in writes if w.topic is STOCK_STATE}


def test_rows_are_written_in_the_order_in_which_they_changed_not_of_a_hash() -> None:
    """The order of a set of texts differs from process to process: the same batch would make other bytes."""
    products = [product_at(0, n) for n in range(12)]
    batch = [record("StockCommand", stock_command("RESTOCK", 1, product_id=product_id), n) for n, product_id in enumerate(reversed(products))]
    rows = [w.key for w in stocked(0).decide(batch, NOW) if w.topic is STOCK_STATE]
    assert rows == [product_id.encode() for product_id in reversed(products)]
