"""The stock stage gives the same bytes on its compiled table and on the pure one, whatever comes in."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec, compiled
from schemas.outcomes import MAX_AMOUNT, MAX_ITEMS, MAX_LINES, MAX_ORDER_ID, MAX_PRICE, MAX_QUANTITY, MAX_TIME, StockCommandKind
from schemas.topics import ORDERS, STOCK_COMMANDS, STOCK_STATE
from streams.domain.product import Product, to_row
from streams.runtime.records import BrokenRowError, Place, Record, Write
from streams.stages.stock import StockStage
from streams.stages.stock_table import PlainTable, StockTable
from tests.support.stages import NOW, PARTITIONS, changelog, columns, line, order_at, product_at, record, rows_of, stock_command, stock_commands

HERE = Place(0, PARTITIONS)
native: Any = compiled.load("streams.stages._stock", compiled.STOCK_VERSION)
pytestmark = pytest.mark.skipif(native is None, reason="no compiled parts here")


def compiled_table(place: Place) -> StockTable:
    return native.Table(place.partition, place.partitions)  # type: ignore[no-any-return]


def both() -> tuple[StockStage, StockStage]:
    return StockStage(HERE, compiled_table), StockStage(HERE, PlainTable)


def decide(stages: tuple[StockStage, StockStage], batch: Sequence[Record], now: int = NOW) -> list[Write]:
    """Let both decide; return what both wrote."""
    mine, pure = (stage.decide(batch, now) for stage in stages)
    assert mine == pure
    return mine


# -- what comes in ---------------------------------------------------------------------------------------------------------

OURS = [product_at(0, n) for n in range(4)]
texts = st.sampled_from(["", "a", "ann", "a\0b", "é", "日本", "🙂" * 64, "x" * 64, "x" * 65, "x" * 255, "x" * 256, "é" * 64, "é" * 65])
odd = {
    "order_id": st.sampled_from([0, -1, 1, 7, MAX_ORDER_ID, -(2**63)]),
    "line": st.sampled_from([0, 1, 2, MAX_LINES, MAX_LINES + 1, -(2**31), 2**31 - 1]),
    "line_count": st.sampled_from([0, 1, 2, MAX_LINES, MAX_LINES + 1, 2**31 - 1]),
    "product_id": st.one_of(texts, st.sampled_from([product_at(1), product_at(3), "🙂" * 64, product_at(0, 9)])),
    "quantity": st.sampled_from([0, -1, MAX_QUANTITY, MAX_QUANTITY + 1, 2**63 - 1, -(2**63)]),
    "unit_price": st.sampled_from([0, -1, MAX_PRICE, MAX_PRICE + 1, MAX_AMOUNT // 2, 2**63 - 1]),
    "currency": st.sampled_from(["GBP", "EUR", "XXX", "gbp", "GB", "GBPX", "", "G£P", "ÄÄÄ"]),
    "user_id": texts,
    "payment_token": texts,
    "placed_at": st.sampled_from([0, -1, MAX_TIME, MAX_TIME + 1, 2**63 - 1]),
}


@st.composite
def lines(draw: st.DrawFn, mostly_valid: bool = True) -> dict[str, Any]:
    whole = line(order_id=draw(st.integers(1, 40)), product_id=draw(st.sampled_from(OURS)), quantity=draw(st.integers(1, 6)))
    if draw(st.integers(0, 9 if mostly_valid else 2)) == 0:
        for field in draw(st.lists(st.sampled_from(sorted(odd)), min_size=1, max_size=2)):
            whole[field] = draw(odd[field])
    return whole


@st.composite
def commands(draw: st.DrawFn) -> Record:
    kind = draw(st.sampled_from(["RESTOCK", "WRITE_OFF", "FOUND", "COUNT", "FREEZE", "UNFREEZE", "TRACK", "UNTRACK"]))
    quantity = 0 if kind in ("FREEZE", "UNFREEZE", "TRACK", "UNTRACK") else draw(st.integers(1, 30))
    fields = {
        "command_id": draw(st.sampled_from("abcdefgé")) + kind,
        "product_id": draw(st.sampled_from([*OURS, product_at(2)])),
        "as_of": NOW if kind == "COUNT" else 0,
    }
    return record("StockCommand", stock_command(kind, quantity, **fields))


@st.composite
def sagas(draw: st.DrawFn) -> Record:
    items = st.fixed_dictionaries(
        {
            "kind": st.sampled_from([StockCommandKind.RELEASE, StockCommandKind.SHIP, StockCommandKind.RETURN]),
            "product_id": st.sampled_from(OURS),
            "quantity": st.integers(1, 3),
        }
    )
    odd = st.sampled_from([{"quantity": 0}, {"order_id": 0}, {"kind": 7}, {"kind": 13, "command_id": "again"}, {"product_id": product_at(0, 9)}, {"line": -1}])
    many = draw(st.lists(items, min_size=1, max_size=6))
    if draw(st.integers(0, 4)) == 0:
        many[0] |= draw(odd)
    return record("StockCommands", stock_commands(many, draw(st.sampled_from(["orders", "orders", "é" * 64, "x" * 65]))))


@st.composite
def spoiled(draw: st.DrawFn) -> Record:
    """Bytes of order lines with some changed, cut off or added."""
    value = bytearray(draw(st.one_of(orders(), sagas())).value or b"")
    for _ in range(draw(st.integers(0, 3))):
        value[draw(st.integers(0, len(value) - 1))] = draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF])))
    cut = draw(st.one_of(st.just(len(value)), st.integers(0, len(value))))
    return Record(draw(st.sampled_from([ORDERS.name, STOCK_COMMANDS.name])), 0, 0, b"key", bytes(value[:cut]) + draw(st.binary(max_size=2)))


def orders() -> st.SearchStrategy[Record]:
    one = lines().map(lambda item: record("OrderLine", item))
    many = st.lists(lines(), min_size=1, max_size=8).map(lambda items: record("OrderLines", columns(items)))
    return st.one_of(one, many)


batches = st.lists(st.one_of(orders(), orders(), orders(), commands(), sagas(), sagas(), spoiled()), max_size=12).map(
    lambda records: [found._replace(offset=n) for n, found in enumerate(records)]
)


# -- the same ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=120)
@given(st.lists(batches, max_size=5), st.integers(0, 40))
def test_any_history_is_decided_to_the_same_bytes_and_rows(history: list[list[Record]], units: int) -> None:
    stages = both()
    opening = [record("StockCommand", stock_command("RESTOCK", units, command_id=f"opening-{p}", product_id=p)) for p in OURS if units]
    writes = decide(stages, opening)
    for number, batch in enumerate(history):
        writes += decide(stages, batch, NOW + number)
    assert rows_of(stages[0]) == rows_of(stages[1])
    again = StockStage(HERE, compiled_table), StockStage(HERE, PlainTable)
    for stage in again:
        stage.restore(changelog(writes, STOCK_STATE))
    assert rows_of(again[0]) == rows_of(again[1]) == rows_of(stages[0])
    assert set(again[0].rows) == set(rows_of(stages[1]))


@settings(max_examples=120)
@given(st.lists(lines(mostly_valid=False), min_size=1, max_size=3), st.booleans())
def test_every_odd_line_is_answered_alike(items: list[dict[str, Any]], together: bool) -> None:
    batch = [record("OrderLines", columns(items))] if together else [record("OrderLine", item, n) for n, item in enumerate(items)]
    decide(both(), batch)


def test_plain_lines_are_taken_by_the_table_itself() -> None:
    """Without this every test here could pass on the plain path alone."""
    table = compiled_table(HERE)
    sound = [record("OrderLines", columns([line(), line(order_id=order_at(3))])), record("OrderLine", line(user_id="日本")), record("OrderLine", line())]
    assert table.take(sound, 0) == 3
    assert table.take([sound[0], record("StockCommand", stock_command("FREEZE")), sound[1]], 0) == 1
    assert table.take([record("OrderLine", line(product_id=product_at(1)))], 0) == 0
    assert table.take([record("OrderLine", line(quantity=0))], 0) == 0
    asked = [record("StockCommands", stock_commands([{"kind": kind, "quantity": 1}])) for kind in (StockCommandKind.RELEASE, StockCommandKind.SHIP)]
    assert table.take([*asked, record("StockCommands", stock_commands([{"kind": StockCommandKind.REHOLD, "command_id": "a"}]))], 0) == 0, "nothing is held yet"
    stocked = Product(product_at(0), available=5, reserved=5, received=10, version=2)
    table.put(stocked)
    assert table.take([*asked, record("StockCommands", stock_commands([{"kind": StockCommandKind.REHOLD, "command_id": "a"}]))], 0) == 2
    assert table.take([record("StockCommands", stock_commands([{"kind": StockCommandKind.SHIP, "quantity": 2}] * 2))], 0) == 0, "3 are held"
    assert table.take([record("StockCommands", stock_commands([{"kind": StockCommandKind.RETURN, "quantity": 1}]))], 0) == 1


def test_more_answers_than_a_record_may_have_are_several_records() -> None:
    stages = both()
    items = [line(order_id=order_at(1), line=n % 9 + 1, line_count=9) for n in range(MAX_ITEMS)]
    batch = [record("OrderLines", columns(items[: MAX_ITEMS - 1])), record("OrderLines", columns(items)), record("OrderLine", line(order_id=order_at(2)))]
    writes = decide(stages, batch)
    assert [codec.decode(write.value).size for write in writes] == [MAX_ITEMS, MAX_ITEMS - 1, 1]


@pytest.mark.parametrize("tracked", [True, False])
@pytest.mark.parametrize(
    "moves",
    [[], [(NOW - 5, 3)], [(NOW, 2)], [(NOW, 0)], [(NOW + 9, 2)], *([(NOW - 40 + n, 1) for n in range(count)] for count in (15, 16, 17)), [(NOW, 2**61)]],
)
def test_what_is_shipped_and_comes_back_is_remembered_alike(moves: list[tuple[int, int]], tracked: bool) -> None:
    product = Product(OURS[0], available=9, reserved=9, shipped=9, received=27, version=7, tracked=tracked, recent_commands=["a", "é"], moves=moves)
    stages = both()
    for stage in stages:
        stage.restore({product.product_id.encode(): codec.encode("ProductRow", to_row(product))})
    kinds = [StockCommandKind.SHIP, StockCommandKind.RETURN, StockCommandKind.RELEASE, StockCommandKind.RETURN, StockCommandKind.SHIP, StockCommandKind.RETURN]
    for number, kind in enumerate([*kinds, *kinds[:2] * 9]):
        for later in (0, 1):
            units = 2 if kind is StockCommandKind.SHIP and later else 1
            asked = stock_commands([{"kind": kind, "product_id": product.product_id, "quantity": units}] * (1 + number % 2))
            decide(stages, [record("StockCommands", asked)], NOW + number // 3 + later)
    assert rows_of(stages[0]) == rows_of(stages[1])


def test_as_many_commands_as_a_record_may_have() -> None:
    products = [Product(product_at(0, n), reserved=10_000, received=10_000, version=1) for n in range(300)]
    stages = both()
    for stage in stages:
        stage.restore({p.product_id.encode(): codec.encode("ProductRow", to_row(p)) for p in products})
    items = [{"kind": StockCommandKind.SHIP, "product_id": products[n * 7 % 300].product_id, "quantity": n % 5 + 1} for n in range(MAX_ITEMS)]
    batch = [record("StockCommands", stock_commands(items[:-1])), record("StockCommands", stock_commands(items))]
    writes = decide(stages, batch)
    assert [codec.decode(write.value).size for write in writes[:2]] == [MAX_ITEMS, MAX_ITEMS - 1]


def test_empty_columns_and_columns_in_blocks_are_answered_alike() -> None:
    empty = codec.head("OrderLines") + b"\0" * 10
    two = codec.encode("OrderLines", columns([line(), line()]))
    split = two.replace(b"\x04" + b"\x02\x02" + b"\0", b"\x02\x02\x02\x02\0", 1)  # the line numbers: a block of one, and another
    assert codec.decode(split) == codec.decode(two) != split
    for value in (empty, split):
        decide(both(), [Record(ORDERS.name, 0, 3, None, value)])


def test_many_products_are_found_again() -> None:
    products = [Product(f"product {n}", available=n, received=n, version=n, recent_commands=["é"] * (n % 3), moves=[(n, 1)] * (n % 2)) for n in range(20_000)]
    chance = random.Random(1)
    rows = {p.product_id.encode(): codec.encode("ProductRow", to_row(p)) for p in products}
    table = compiled_table(HERE)
    table.restore(rows)
    chance.shuffle(products)
    assert table.count_all() == len(products)
    assert [table.find(p.product_id) for p in products] == products
    assert table.find("product") is None
    assert table.find("") is None
    assert table.find("x" * 500) is None
    assert table.find("\ud800") is None


def test_a_change_of_what_was_found_counts_when_it_is_put() -> None:
    table = compiled_table(HERE)
    table.put(Product("a", available=3))
    found = table.find("a")
    assert found is not None
    found.available, found.recent_commands[:], found.moves[:] = 9, ["x" * 100, "y"], [(1, 2), (3, -4)]
    assert table.find("a") == Product("a", available=3)
    table.put(found)
    assert table.find("a") == found


sound_row = codec.encode("ProductRow", to_row(Product("P", available=2, received=2, version=1, recent_commands=["c"], moves=[(1, 2)])))


@settings(max_examples=200)
@given(st.data())
def test_a_row_of_any_bytes_is_read_alike(data: st.DataObject) -> None:
    value = bytearray(sound_row)
    for _ in range(data.draw(st.integers(0, 3))):
        value[data.draw(st.integers(5, len(value) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF])))
    cut = data.draw(st.one_of(st.just(len(value)), st.integers(5, len(value))))
    found = [_row(stage, bytes(value[:cut])) for stage in both()]
    assert found[0] == found[1]


def _row(stage: StockStage, value: bytes) -> Any:
    try:
        stage.restore({b"P": value})
        return stage.rows.find("P")
    except BrokenRowError as error:
        return error.key
