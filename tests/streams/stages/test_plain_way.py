"""The orders stage gives the same bytes on its compiled plain way and on the plain path alone, whatever comes in."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from schemas import codec, compiled
from schemas.outcomes import MAX_AMOUNT, MAX_LINES, MAX_PRICE, MAX_QUANTITY, OrderCommandKind, PaymentKind, PaymentResult
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDER_STATE, PAYMENT_RESULTS, STOCK_DECISIONS
from streams.domain.order import to_row
from streams.runtime.records import Place, Record, Write
from streams.stages.orders import OrdersStage
from streams.stages.plain_way import PlainPathAlone
from tests.streams.stages.inputs import order_records
from tests.support.freed import is_freed_at_once
from tests.support.stages import NOW, PARTITIONS, Item, answers, changelog, columns, line, order_at, product_at, record, results, rows_of, said

HERE = Place(0, PARTITIONS)
TIMEOUT = 60_000
native: Any = compiled.load("streams.stages._orders", compiled.ORDERS_VERSION)
pytestmark = pytest.mark.skipif(native is None, reason="no compiled parts here")
Stages = tuple[OrdersStage, OrdersStage]


def both(retention: int = 0) -> Stages:
    """Return a stage with the compiled way and one without."""
    mine, pure = OrdersStage(HERE, TIMEOUT, retention), OrdersStage(HERE, TIMEOUT, retention)
    mine.way, pure.way = native.PlainWay(mine), PlainPathAlone(pure)
    return mine, pure


def alike(stages: Stages, step: Callable[[OrdersStage], list[Write]]) -> list[Write]:
    """Let both do the same; return what both wrote."""
    mine, pure = (_written(step, stage) for stage in stages)
    assert mine == pure
    if isinstance(mine, str) or isinstance(pure, str):
        reject()  # both end the process, and with it this history
    assert [type(value) for write in mine for value in write] == [type(value) for write in pure for value in write]
    assert stages[0].open == stages[1].open
    assert stages[0].tally.__dict__ == stages[1].tally.__dict__
    return mine


def _written(step: Callable[[OrdersStage], list[Write]], stage: OrdersStage) -> list[Write] | str:
    """Return what it wrote; for what breaks an invariant of the domain (an amount that no stage pays), which one."""
    try:
        return step(stage)
    except AssertionError as broken:
        return f"{broken}"


def decide(stages: Stages, batch: Sequence[Record], now: int = NOW) -> list[Write]:
    return alike(stages, lambda stage: stage.decide(batch, now))


# -- what comes in ---------------------------------------------------------------------------------------------------------

ORDERS = [order_at(0, n) for n in range(6)]
odd_lines = st.sampled_from(
    [
        *({"quantity": 0}, {"quantity": MAX_QUANTITY, "unit_price": MAX_AMOUNT // MAX_QUANTITY}, {"unit_price": MAX_PRICE}, {"unit_price": 0}),
        *({"line": 4}, {"line_count": 2}, {"user_id": "bob"}, {"user_id": "é" * 64}, {"payment_token": ""}, {"payment_token": "日本"}, {"currency": "EUR"}),
        *({"currency": "gbp"}, {"placed_at": 5}, {"product_id": "a\0b"}, {"product_id": "🙂"}, {"order_id": order_at(1)}, {"order_id": 0}, {"refusal": 21}),
        *({"refusal": 20}, {"refusal": 5}, {"refusal": 3}, {"refusal": 30}, {"refusal": 99}),
    ]
)


@st.composite
def heard_lines(draw: st.DrawFn) -> Item:
    order_id = draw(st.sampled_from(ORDERS))
    count = 1 + ORDERS.index(order_id) % 3
    number = draw(st.integers(1, count))
    whole = line(order_id=order_id, line=number, line_count=count, product_id=product_at(number % PARTITIONS), quantity=number, unit_price=100 * (order_id % 4))
    whole["refusal"] = draw(st.sampled_from([0, 0, 0, 0, 0, 0, 20, 21]))
    return whole | draw(odd_lines) if draw(st.integers(0, 11)) == 0 else whole


@st.composite
def payments(draw: st.DrawFn) -> Item:
    whole: Item = {"order_id": draw(st.sampled_from(ORDERS)), "amount": draw(st.sampled_from([100, 400, 0])), "reason": draw(st.sampled_from(["", "é"]))}
    if draw(st.integers(0, 4)):
        return whole
    odd = {
        **{"kind": st.sampled_from([*PaymentKind, 9]), "result": st.sampled_from([*PaymentResult, 7]), "attempt": st.sampled_from([0, 1, 2, 1_000, 1_001])},
        **{"sequence": st.integers(0, 2), "amount": st.sampled_from([-1, 0, 5]), "order_id": st.sampled_from([0, -1, order_at(3)])},
    }
    return whole | {name: draw(odd[name]) for name in draw(st.lists(st.sampled_from(sorted(odd)), min_size=1, max_size=2))}


def order_commands(items: Sequence[Item], actor: str = "warehouse") -> Item:
    """Return an OrderCommands record: whole orders are shipped, but for what an item says."""
    whole = columns([{"kind": OrderCommandKind.SHIP, "command_id": f"ship-{item['order_id']}", "line": 0, "quantity": 0, **item} for item in items])
    return {**whole, "kind": bytes(whole["kind"]), "issued_at": NOW, "actor": actor}


@st.composite
def ships(draw: st.DrawFn) -> Record:
    plain: st.SearchStrategy[Item] = st.sampled_from([{"order_id": order_id} for order_id in ORDERS])
    odd = [
        {"kind": 0},
        {"kind": 2},
        {"kind": 10},
        {"kind": 3},
        {"line": 1},
        {"line": -1},
        {"quantity": 1},
        {"quantity": -1},
        {"command_id": ""},
        {"command_id": "x" * 129},
    ]
    odd += [{"command_id": "é" * 128}, {"order_id": order_at(1)}, {"order_id": 0}, {"order_id": -5}, {"order_id": order_at(0, 30)}]
    whole = draw(st.lists(plain, min_size=1, max_size=6))
    return record(
        "OrderCommands", order_commands([item | draw(st.sampled_from([{}] * 30 + odd)) for item in whole], draw(st.sampled_from(["warehouse", "é" * 65])))
    )


def plain_records() -> st.SearchStrategy[Record]:
    heard = st.lists(heard_lines(), min_size=1, max_size=8).map(lambda items: record("StockDecisions", answers(*items)))
    paid = st.lists(payments(), min_size=1, max_size=6).map(lambda items: record("PaymentResults", results(*items)))
    return st.one_of(heard, heard, paid, ships())


@st.composite
def spoiled(draw: st.DrawFn) -> Record:
    """Bytes of a record with some changed, cut off or added."""
    found = draw(plain_records())
    value = bytearray(found.value or b"")
    for _ in range(draw(st.integers(0, 3))):
        value[draw(st.integers(0, len(value) - 1))] = draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x80, 0xFF])))
    cut = draw(st.one_of(st.just(len(value)), st.integers(0, len(value))))
    topic = draw(st.sampled_from([STOCK_DECISIONS.name, PAYMENT_RESULTS.name, ORDER_COMMANDS.name]))
    return Record(topic, 0, 0, b"key", bytes(value[:cut]) + draw(st.binary(max_size=2)))


batches = st.lists(st.one_of(plain_records(), plain_records(), plain_records(), order_records, spoiled()), max_size=8).map(
    lambda records: [found._replace(offset=n) for n, found in enumerate(records)]
)


# -- the same ---------------------------------------------------------------------------------------------------------------


@settings(max_examples=150)
@given(st.lists(st.tuples(batches, st.integers(0, 5)), max_size=6), st.sampled_from([0, 0, 50_000]))
def test_any_history_is_decided_to_the_same_bytes_and_rows(history: list[tuple[list[Record], int]], retention: int) -> None:
    stages, now, writes = both(retention), NOW, []
    for batch, ticks in history:
        now += ticks * TIMEOUT // 4
        writes += alike(stages, lambda stage, now=now: stage.expire(now))  # type: ignore[misc]
        writes += decide(stages, batch, now)
        for stage in stages:
            stage.committed()
    assert stages[0].rows.count_all() == stages[1].rows.count_all()
    again = both(retention)
    for stage in again:
        stage.restore(changelog(writes, ORDER_STATE))
    assert rows_of(again[0]) == rows_of(again[1]) == rows_of(stages[1]) == rows_of(stages[0])


@settings(max_examples=150)
@given(st.lists(st.tuples(batches, st.booleans()), max_size=5))
def test_rows_are_the_same_whoever_goes_on_with_them(history: list[tuple[list[Record], bool]]) -> None:
    """A row that the one wrote is read by the other: after a restart, and after it was an object and is bytes again."""
    stages, writes = both(), []
    for number, (batch, restarts) in enumerate(history):
        writes += decide(stages, batch, NOW + number)
        if restarts:
            stages = both()
            for stage in stages:
                stage.restore(changelog(writes, ORDER_STATE))
        for stage in stages:
            stage.rows.cool(0, lambda order: codec.encode("OrderRow", to_row(order)))


def lines_of(order_id: int, count: int, **fields: Any) -> list[Item]:
    whole = {"order_id": order_id, "line_count": count, **fields}
    return [line(**whole, line=n, product_id=product_at(n % PARTITIONS, n // PARTITIONS % 5), quantity=n % 7 + 1) for n in range(1, count + 1)]


@pytest.mark.parametrize("size", [1, 2, 7, 2_000])
def test_orders_are_rejected_and_what_comes_later_goes_back(size: int) -> None:
    chance = random.Random(size)
    heard = [item for order_id, count in zip(ORDERS, (1, 2, 25, 3, 40, 400), strict=True) for item in lines_of(order_id, count)]
    for item in heard:
        item["refusal"] = chance.choice([0, 0, 0, 0, 20, 21])
    chance.shuffle(heard)
    stages = both()
    pieces = [record("StockDecisions", answers(*heard[at : at + size])) for at in range(0, len(heard), size)]
    writes = [write for at in range(0, len(pieces), 5) for write in decide(stages, pieces[at : at + 5], NOW + at)]
    assert {outcome["status"] for outcome in said(writes, "OrderOutcome")} == {"REJECTED"}
    assert list(stages[0].rows) == [], "none of it needed the plain path"
    decide(stages, pieces[:9])
    assert list(stages[0].rows) != [], "lines that are known"


@pytest.mark.parametrize("size", [1, 2, 7, 2_000])
def test_orders_of_many_lines_come_in_any_order_and_in_pieces(size: int) -> None:
    chance = random.Random(size)
    heard = [item for order_id, count in zip(ORDERS, (1, 2, 25, 3, 40, MAX_LINES), strict=True) for item in lines_of(order_id, count)]
    chance.shuffle(heard)
    stages = both()
    pieces = [record("StockDecisions", answers(*heard[at : at + size])) for at in range(0, len(heard), size)]
    writes = [write for at in range(0, len(pieces), 5) for write in decide(stages, pieces[at : at + 5])]
    paid = record("PaymentResults", results(*({"order_id": order_id, "amount": 5} for order_id in ORDERS)))
    writes += decide(stages, [paid])
    writes += decide(stages, [record("OrderCommands", order_commands([{"order_id": order_id} for order_id in ORDERS]))])
    assert sum(write.topic is ORDER_OUTCOMES for write in writes) == 2 * len(ORDERS)
    assert list(stages[0].rows) == [], "none of it needed the plain path"


def test_plain_items_are_taken_by_the_way_itself_and_others_left() -> None:
    """Without this every test here could pass on the plain path alone."""
    stages = both()
    for name in ("StockDecisions", "PaymentResults"):
        item = {"order_id": ORDERS[1], "amount": 200} if name == "PaymentResults" else line(order_id=ORDERS[1])
        sound = answers(item) if name == "StockDecisions" else results(item)
        decide(stages, [record(name, sound)])
    assert (list(stages[0].rows), list(stages[1].rows)) == ([], [ORDERS[1]])
    decide(stages, [record("StockDecisions", answers(line(order_id=ORDERS[2]), line(order_id=ORDERS[3], unit_price=0), line(order_id=ORDERS[4])))])
    assert list(stages[0].rows) == [ORDERS[3]]


def test_a_batch_may_hear_of_an_order_on_both_ways() -> None:
    first, second = lines_of(ORDERS[1], 2)
    decide(both(), [record("StockDecisions", answers(first, first, second)), record("PaymentResults", results({"order_id": ORDERS[1]}))])
    stages = both()
    batch = [record("StockDecisions", answers(*lines_of(ORDERS[1], 2))), record("PaymentResults", results({"order_id": ORDERS[1]}))]
    decide(stages, [*batch, batch[1], batch[0]])


def test_empty_columns_and_columns_in_blocks_are_answered_alike() -> None:
    empty = codec.head("StockDecisions") + b"\0" * 17
    two = codec.encode("StockDecisions", answers(*lines_of(ORDERS[1], 2)))
    split = two.replace(b"\x04" + b"\x02\x04" + b"\0", b"\x02\x02\x02\x04\0", 1)  # the line numbers: a block of one, and another
    assert codec.decode(split) == codec.decode(two) != split
    for value in (empty, split):
        decide(both(), [Record(STOCK_DECISIONS.name, 0, 3, None, value)])


def test_a_stage_is_gone_as_soon_as_nobody_has_it() -> None:
    """A task that reopens freezes what Python's collector knows: a stage in a cycle, and all its rows, would be there for ever."""

    def worked(way: Any) -> OrdersStage:
        stage = OrdersStage(HERE, TIMEOUT)
        stage.way = way(stage)
        heard = answers(*lines_of(ORDERS[1], 2), {**line(order_id=ORDERS[3]), "refusal": 21}, line(order_id=ORDERS[4]))
        stage.decide([record("StockDecisions", heard), record("PaymentResults", results({"order_id": ORDERS[1]}))], NOW)
        stage.expire(NOW + TIMEOUT)
        return stage

    for way in (native.PlainWay, PlainPathAlone):
        assert is_freed_at_once(lambda way=way: worked(way))
