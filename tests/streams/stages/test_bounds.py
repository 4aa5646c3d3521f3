"""One record from outside, as bad as it can be, must not make a transaction that no broker or process can hold."""

from schemas.topics import DEAD_LETTERS, ORDERS
from streams.runtime.records import Place
from streams.stages.orders import OrdersStage
from streams.stages.stock import StockStage
from tests.support.stages import NOW, PARTITIONS, columns, dead, line, raw, record, stock_commands

HERE = Place(0, PARTITIONS)
MIB = 1024 * 1024


def test_a_dead_letter_of_a_huge_record_fits_its_topic() -> None:
    """The brokers measure compressed batches, so a record far over max.message.bytes can reach a topic."""
    writes = StockStage(HERE).decide([raw(ORDERS, b"\0" * (10 * MIB))], NOW)
    assert len(dead(writes)) == 1
    assert max(len(write.value or b"") for write in writes) <= DEAD_LETTERS.max_message_bytes


def test_a_record_of_bad_items_makes_no_flood() -> None:
    items = [line(quantity=0) for _ in range(1_000)]
    bad = record("OrderLines", columns(items))
    writes = StockStage(HERE).decide([bad], NOW)
    assert len(dead(writes)) == len(items)
    assert sum(len(write.value or b"") for write in writes) < 20 * len(bad.value or b"")


def test_an_over_long_actor_of_stock_commands_makes_no_flood() -> None:
    items = [{"kind": 0, "command_id": f"c{n}", "order_id": 0, "line": 0} for n in range(200)]
    bad = record("StockCommands", stock_commands(items, actor="a" * 100_000))
    writes = StockStage(HERE).decide([bad], NOW)
    assert max(len(write.value or b"") for write in writes) <= 4 * MIB


def test_an_over_long_actor_of_order_commands_makes_no_flood() -> None:
    ids = list(range(1, 201))
    whole = {"kind": b"\1" * 200, "command_id": [f"c{n}" for n in ids], "order_id": ids, "line": [0] * 200, "quantity": [0] * 200}
    bad = record("OrderCommands", {**whole, "issued_at": NOW, "actor": "a" * 100_000})
    writes = OrdersStage(HERE, 1_000).decide([bad], NOW)
    assert sum(len(write.value or b"") for write in writes) < 20 * len(bad.value or b"")
