"""Histories of a small shop: complete, in order, and equal to what the stock agent published."""

from __future__ import annotations

from typing import Any

import pytest

from holdfast.history.orders import READ, Event, Place, events, marks_of
from holdfast.history.products import Answers, Movement
from holdfast.reconcile.mends import Mend
from schemas import codec, topics
from schemas.partitions import order_partition
from tests.flow.shop import A, B
from tests.support.examples import example
from tests.support.flow import Flow

MANY = 2**40 + 77


@pytest.fixture(scope="module")
def shop() -> Flow:
    flow = Flow(seed=3)
    flow.stock("RESTOCK", A, 10, command_id="r1", actor="goods-in")
    flow.stock("UNTRACK", B)
    flow.run()
    flow.order(MANY, (A, 3), (B, 2))
    flow.order(2, (A, 100))
    flow.run()
    flow.wait(1_000)
    flow.command("SHIP", MANY, actor="warehouse")
    flow.command("CANCEL", MANY, actor="shop")
    flow.run()
    flow.command("RETURN", MANY, line=1, quantity=1)
    flow.stock("COUNT", A, 6, as_of=flow.now, actor="stock-take")
    flow.stock("FREEZE", A)
    flow.run()
    flow.assert_clean()
    return flow


def answers(flow: Flow, *products: str, until: int | None = None) -> Answers:
    found = Answers(frozenset(products) or None, until)
    for partition in range(flow.partitions):
        for record in flow.log.records[topics.STOCK_DECISIONS.name, partition]:
            decoded = codec.decode(record.value)
            found.add(decoded.name, decoded.value)
    return found


def levels(flow: Flow, product: str) -> dict[int, dict[str, Any]]:
    return {level["version"]: level for level in flow.said(topics.STOCK_LEVELS, "StockLevel") if level["product_id"] == product}


@pytest.mark.parametrize("product", [A, B])
def test_the_stock_after_each_movement_is_what_was_published(shop: Flow, product: str) -> None:
    movements = [m for m in answers(shop, product).of(product) if not m.refusal]
    assert [m.version for m in movements] == list(range(1, len(movements) + 1))
    published = levels(shop, product)
    assert published
    for movement in movements:
        level = published.get(movement.version)
        assert level is None or {name: level[name] for name in movement.after} == movement.after


def test_each_movement_has_its_cause_and_actor(shop: Flow) -> None:
    found = list(answers(shop, A).of(A))
    assert [(m.what, m.quantity) for m in found if m.what in ("RESTOCK", "COUNT") or m.refusal] == [("RESTOCK", 10), ("HOLD", 100), ("COUNT", 6)]
    assert [m.refusal for m in found if m.refusal] == ["INSUFFICIENT_STOCK"]
    first = found[0]
    assert (first.command_id, first.actor, first.topic) == ("r1", "goods-in", "stock.commands")
    hold = next(m for m in found if m.order_id == MANY and m.what == "HOLD")
    assert (hold.actor, hold.topic, hold.line) == ("ann", "orders", 1)
    record = next(r for r in shop.log.records["orders", hold.partition] if r.offset == hold.offset)
    assert codec.decode(record.value).value["order_id"] == MANY
    assert {"SHIP", "RETURN", "FREEZE"} <= {m.what for m in found}
    assert found[-1].after["frozen"]


def test_the_stock_at_a_time_is_that_of_the_last_movement_by_then(shop: Flow) -> None:
    every = list(answers(shop, A).of(A))
    for at in {m.at for m in every}:
        wanted = [m for m in every if m.at <= at and not m.refusal][-1]
        last = answers(shop, A, until=at).last(A)
        assert last is not None
        assert last.after == wanted.after
    assert answers(shop, A, until=every[0].at - 1).last(A) is None


@pytest.mark.parametrize("product", [A, B])
@pytest.mark.parametrize("gone", range(1, 12))
def test_where_the_logs_beginning_is_gone_the_stock_is_told_all_the_same(shop: Flow, product: str, gone: int) -> None:
    """Versions up to `gone` are deleted: what is shown is as it was published, and the last of it always is."""
    left, published = Answers(frozenset({product})), levels(shop, product)
    whole = [m for m in answers(shop, product).of(product) if m.version > gone]
    for partition in range(shop.partitions):
        for record in shop.log.records[topics.STOCK_DECISIONS.name, partition]:
            decoded = codec.decode(record.value)
            kept = [n for n, version in enumerate(decoded.value["version"]) if version > gone]
            left.add(decoded.name, {c: [x[n] for n in kept] if isinstance(x, list | bytes) else x for c, x in decoded.value.items()})
    for level in published.values():
        left.add_level(level)
    shown = list(left.of(product))
    assert [m._replace(after={}) for m in shown] == [m._replace(after={}) for m in whole[len(whole) - len(shown) :]]
    numbers = ("available", "reserved", "shipped", "received", "written_off", "returned")
    assert all({n: m.after[n] for n in numbers} == {n: published[m.version][n] for n in numbers} for m in shown if not m.refusal and m.version in published)
    last, final = left.last(product), published[max(published)]
    assert last is not None
    assert {n: last.after[n] for n in numbers} == {n: final[n] for n in numbers}


def test_all_products_are_those_with_movements(shop: Flow) -> None:
    assert answers(shop).products() == sorted((A, B))


def order_events(flow: Flow, order_id: int) -> list[Event]:
    found = []
    for topic in READ:
        for partition in range(flow.partitions):
            for record in flow.log.records[topic.name, partition]:
                said = list(events(order_id, Place(0, topic, partition, record.offset), codec.decode(record.value)))
                assert not said or any(mark in (record.value or b"") for mark in marks_of(order_id))
                found += said
    return found


def test_an_order_s_events_are_all_there(shop: Flow) -> None:
    said = [event.what for event in order_events(shop, MANY)]
    assert said.count("line placed") == 2
    assert said.count("line held") == 2
    assert {"command: SHIP", "command: CANCEL", "command: RETURN", "command refused: CANCEL: ALREADY_DECIDED"} <= set(said)
    assert {"CHARGE asked", "CHARGE: PAID", "REFUND asked", "REFUND: REFUNDED"} <= set(said)
    assert said.count("units: SHIP") == 2
    assert "units: RETURN" in said
    assert said.count("DECIDED: CONFIRMED") == 1


def test_another_order_s_are_not_among_them(shop: Flow) -> None:
    said = [event.what for event in order_events(shop, 2)]
    assert sorted(said) == ["DECIDED: REJECTED", "line placed", "line refused: INSUFFICIENT_STOCK"]
    assert order_events(shop, 3) == []


def test_an_imported_order_says_from_where_and_by_whom(shop: Flow) -> None:
    """And what `holdfast reconcile` had said again."""
    imported = {**example("ImportedOrder"), "order_id": 536365}
    home = order_partition(536365, shop.partitions)
    shop.log.append(topics.ORDER_COMMANDS, home, None, codec.encode("ImportedOrder", imported))
    again = Mend("reconcile:order:1:1", "RESTATE", order_id=MANY)
    shop.log.append(again.topic, again.partition(shop.partitions), None, again.record(shop.now))
    shop.run()
    first, second = order_events(shop, 536365)
    assert (first.what, first.actor, first.detail["source"], first.detail["external_id"]) == ("import: SHIPPED", "backfill", "old-shop", "536365")
    assert second.what == "IMPORTED: SHIPPED"
    assert ("command: RESTATE", "reconcile") in [(event.what, event.actor) for event in order_events(shop, MANY)]


@pytest.mark.parametrize("order_id", [1, 63, 64, 8191, 8192, 2**40 + 77, 2**63 - 1])
def test_marks_are_what_avro_writes(order_id: int) -> None:
    value = codec.encode("OrderCommand", {"command_id": "c", "kind": "SHIP", "order_id": order_id, "issued_at": 0})
    assert all(mark in value for mark in marks_of(order_id))


def test_a_movement_is_whole_for_programs(shop: Flow) -> None:
    movement: Movement = next(answers(shop, A).of(A))
    assert movement.document()["after"]["available"] == 10
    assert movement.document()["order_id"] == ""
