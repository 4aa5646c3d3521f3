"""Drift sown into a shop in memory is named, mended through the log, and found no more; the same mend twice changes nothing."""

from __future__ import annotations

import pytest

from holdfast.reconcile.drift import AHEAD, BY_HAND, Drift, drifts
from holdfast.reconcile.mends import Mend
from schemas import codec, topics
from schemas.outcomes import StockCommandKind
from schemas.partitions import order_partition, product_partition
from tests.holdfast.audit.corruptions import CORRUPTIONS, Corruption
from tests.support.correct_history import correct_shop
from tests.support.flow import Flow
from tests.support.history_stores import StoreContents


@pytest.fixture
def flow() -> Flow:
    flow = Flow(seed=3)
    flow.stock("RESTOCK", "A", 10)
    flow.stock("UNTRACK", "POST")
    flow.run()
    flow.order(1, ("A", 3), ("POST", 1))
    flow.order(2, ("A", 99), ("POST", 2))
    flow.settle()
    return flow


def _found(flow: Flow) -> list[Drift]:
    return drifts(flow.log.for_audit(), None, flow.now)


def _apply(flow: Flow, mends: list[Mend]) -> None:
    for mend in mends:
        flow.log.append(mend.topic, mend.partition(flow.partitions), None, mend.record(flow.now))
    flow.settle()


def _mended(flow: Flow) -> list[Mend]:
    """Mend what is found, twice; return how."""
    mends = [mend for drift in _found(flow) for mend in drift.mends]
    _apply(flow, mends)
    levels = len(flow.said(topics.STOCK_LEVELS, "StockLevel"))
    _apply(flow, mends)
    assert len(flow.said(topics.STOCK_LEVELS, "StockLevel")) == levels, "the second time it did something"
    assert _found(flow) == []
    flow.assert_clean()
    return mends


def _stray(flow: Flow, kind: StockCommandKind, product: str, units: int, order_id: int, line: int) -> None:
    """A command that only the orders agent may give."""
    columns = {"kind": bytes((kind,)), "command_id": [""], "order_id": [order_id], "line": [line], "product_id": [product], "quantity": [units], "as_of": [0]}
    value = codec.encode("StockCommands", {**columns, "issued_at": flow.now, "actor": "stranger"})
    flow.log.append(topics.STOCK_COMMANDS, product_partition(product, flow.partitions), None, value)
    flow.settle()


def test_a_shop_that_agrees_has_no_drift(flow: Flow) -> None:
    assert _found(flow) == []


@pytest.mark.parametrize(("product", "line", "units"), [("A", 1, 3), ("POST", 2, 1)])
def test_a_held_line_that_its_product_does_not_count_is_held_again(flow: Flow, product: str, line: int, units: int) -> None:
    before = flow.level(product)
    _stray(flow, StockCommandKind.RELEASE, product, units, 1, line)
    assert flow.level(product)[1] == before[1] - units
    (drift,) = _found(flow)
    assert (drift.kind, drift.ids["order_id"], drift.ids["line"]) == ("line_not_held", 1, line)
    assert [(mend.kind, mend.product_id, mend.quantity) for mend in _mended(flow)] == [("REHOLD", product, units)]
    assert flow.level(product) == before
    flow.command("SHIP", 1)
    flow.settle()
    flow.assert_clean()


def test_units_that_no_order_holds_are_released() -> None:
    """The release of a rejected order was lost on its way."""
    flow = Flow(seed=3)
    flow.stock("RESTOCK", "A", 10)
    flow.run()
    flow.order(1, ("A", 3), ("B", 1))
    flow.run("stock")
    flow.run("orders")
    for partition in range(flow.partitions):
        at = (topics.STOCK_COMMANDS.name, partition)
        flow.log.records[at] = [r for r in flow.log.records[at] if codec.decode(r.value).name != "StockCommands"]
    flow.settle()
    assert flow.level("A") == (7, 3, 0)
    assert [(mend.kind, mend.order_id, mend.quantity) for mend in _mended(flow)] == [("RELEASE", 1, 3)]
    assert flow.level("A") == (10, 0, 0)


def test_units_that_are_gone_cannot_be_held_again(flow: Flow) -> None:
    """Somebody else has bought them: the drift stays, and says so each time."""
    _stray(flow, StockCommandKind.RELEASE, "A", 3, 1, 1)
    flow.order(3, ("A", 10))
    flow.settle()
    (drift,) = _found(flow)
    _apply(flow, list(drift.mends))
    assert [d.kind for d in _found(flow)] == ["line_not_held"]
    flow.stock("RESTOCK", "A", 3)
    flow.settle()
    _mended(flow)


def test_an_order_that_is_said_again_is_a_version_of_its_own(flow: Flow) -> None:
    mend = Mend("reconcile:order:1:1", "RESTATE", order_id=1)
    _apply(flow, [mend, mend, Mend("x", "RESTATE", order_id=404)])
    assert flow.history(1) == ["DECIDED CONFIRMED", "AMENDED CONFIRMED"]
    first, second = flow.outcomes(1)
    same = {name for name in first if first[name] == second[name]}
    assert same == set(first) - {"version", "change", "changed_at"}
    flow.assert_clean()


def test_one_that_strayed_to_another_partition_comes_home(flow: Flow) -> None:
    mend = Mend("reconcile:order:1:1", "RESTATE", order_id=1)
    away = (order_partition(1, flow.partitions) + 1) % flow.partitions
    flow.log.append(topics.ORDER_COMMANDS, away, None, mend.record(flow.now))
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED", "AMENDED CONFIRMED"]
    flow.assert_clean()


def test_an_order_that_may_still_be_answered_is_no_drift(flow: Flow) -> None:
    """It waits for its second line until its deadline, another for its payment; behind the deadline it is one."""
    line = flow.order(5, ("A", 1))[0]
    flow.send_line({**line, "order_id": 6, "line_count": 2})
    flow.command("CANCEL", 7)
    flow.run()
    assert _found(flow) == []
    flow.wait()
    assert {(drift.kind, drift.ids["order_id"]) for drift in _found(flow)} == {("undecided", 6), ("order_command_unanswered", 7)}
    flow.settle()
    assert _found(flow) == []


STORES = [corruption for corruption in CORRUPTIONS if corruption.kind.startswith(("store_row", "cache"))]


@pytest.mark.parametrize("corruption", STORES, ids=lambda c: c.name.replace(" ", "-"))
def test_every_fault_of_a_store_is_named_with_what_to_do(corruption: Corruption) -> None:
    shop = correct_shop()
    contents = StoreContents(shop)
    corruption.sow(shop, contents)
    found = drifts(shop.log(), contents.stores(), 0)
    assert corruption.kind in {drift.kind for drift in found}
    for drift in found:
        assert drift.mends or drift.advice.startswith(f"{AHEAD} holdfast replay stores")
        assert drift.mends or "product_id" not in drift.ids or f"--product {drift.ids['product_id']} --swap" in drift.advice
        assert all(mend.kind in {"RESTATE", "FREEZE", "UNFREEZE"} for mend in drift.mends)


@pytest.mark.parametrize("corruption", [c for c in CORRUPTIONS if c not in STORES], ids=lambda c: c.name.replace(" ", "-"))
def test_what_no_command_mends_says_so(corruption: Corruption) -> None:
    """Every other violation is listed: with a mend, or for people."""
    shop = correct_shop()
    contents = StoreContents(shop)
    corruption.sow(shop, contents)
    for drift in drifts(shop.log(), contents.stores(), 0):
        assert drift.mends or drift.advice
        assert drift.document()["commands"] or drift.advice
    assert BY_HAND
