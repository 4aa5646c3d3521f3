"""The promises over random traffic, interleavings, crashes, aborts and losses; and that each broken runtime breaks one."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from schemas import topics
from schemas.outcomes import OrderStatus
from streams.domain.order import TABLE, EventKind
from streams.stages import plain_way
from tests.flow.traffic import Fickle, Traffic
from tests.support.flow import SOUND, Fate, Flow

SEEDS_PER_TEST = 20
Cell = tuple[OrderStatus, EventKind]


def _flow(seed: int) -> Flow:
    flow = Flow(seed, partitions=1 + seed % 4, provider=Fickle((0.0, 0.1, 0.5)[seed % 3]))
    flow.fates, flow.weights = SOUND, (10, 1, 1, 1)
    return flow


def _traffic(flow: Flow, seed: int, acts: int = 60) -> Traffic:
    """Open a shop and let traffic and tasks take turns in a random measure."""
    traffic = Traffic(flow, seed)
    traffic.open_shop()
    flow.run("stock")
    for _ in range(acts):
        traffic.act()
        _work(flow)
    traffic.finish()
    return traffic


def _work(flow: Flow) -> None:
    """Take a few batches; now and then of some stages only, so that the others fall behind."""
    slow = flow.rng.random() < 0.3
    for _ in range(flow.rng.randrange(5)):
        flow.step(*(("stock", "orders") if slow else ()))


def _decisions(flow: Flow) -> Counter[int]:
    return Counter(outcome["order_id"] for outcome in flow.said(topics.ORDER_OUTCOMES, "OrderOutcome") if outcome["change"] in {"DECIDED", "IMPORTED"})


@pytest.mark.parametrize("first", range(0, 240, SEEDS_PER_TEST))
def test_every_promise_holds(first: int) -> None:
    for seed in range(first, first + SEEDS_PER_TEST):
        flow = _flow(seed)
        _traffic(flow, seed)
        flow.settle()
        flow.assert_clean()
        assert set(_decisions(flow).values()) <= {1}


def test_the_traffic_meets_orders_in_every_state(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else the test above would promise more than it looks at."""
    monkeypatch.setattr(plain_way, "for_orders", plain_way.PlainPathAlone)  # what is compiled looks into no table
    visited: Counter[Cell] = Counter()
    for cell, handler in list(TABLE.items()):
        monkeypatch.setitem(TABLE, cell, _noting(visited, cell, handler))
    for seed in range(100):
        flow = _flow(seed)
        _traffic(flow, seed)
        flow.settle()
    columns = (EventKind.HELD, EventKind.CANCEL, EventKind.SHIP, EventKind.RETURN)
    assert [(status.name, kind.name) for status in OrderStatus for kind in columns if not visited[status, kind]] == []
    late = [(status, EventKind.PAID) for status in (OrderStatus.CANCELLED, OrderStatus.EXPIRED)]
    assert all(visited[cell] for cell in late)


def _noting(visited: Counter[Cell], cell: Cell, handler: Callable[..., Any]) -> Callable[..., Any]:
    def note(order: Any, event: Any) -> Any:
        visited[cell] += 1
        return handler(order, event)

    return note


def test_every_order_that_entered_is_decided_once() -> None:
    for seed in range(300, 310):
        flow = _flow(seed)
        _traffic(flow, seed)
        flow.settle()
        lines = flow.said(topics.ORDERS, "OrderLine")
        columnar = [order_id for whole in flow.said(topics.ORDERS, "OrderLines") for order_id in whole["order_id"]]
        entered = {order_id for order_id in (*columnar, *(line["order_id"] for line in lines)) if order_id > 0}
        imported = {order["order_id"] for order in flow.said(topics.ORDER_COMMANDS, "ImportedOrder") if order["lines"]}
        decisions = _decisions(flow)
        assert set(decisions) - imported <= entered <= set(decisions)
        assert set(decisions.values()) == {1}


@pytest.mark.parametrize("seed", range(400, 410))
def test_every_promise_holds_at_every_moment(seed: int) -> None:
    """The log is looked at while the tasks work on it."""
    flow = _flow(seed)
    traffic = Traffic(flow, seed)
    traffic.open_shop()
    flow.run("stock")
    for _ in range(12):
        for _ in range(5):
            traffic.act()
            flow.step()
        flow.assert_promises(live=True)


@pytest.mark.parametrize("seed", range(500, 510))
def test_compacted_topics_leave_the_promises_checkable_and_the_tasks_restorable(seed: int) -> None:
    flow = _flow(seed)
    _traffic(flow, seed)
    flow.run()
    for topic in topics.ALL:
        if topic.compacted:
            flow.log.compact(topic)
    for task in flow.tasks:
        task.open()
    Traffic(flow, seed + 1).operate()
    flow.settle()
    flow.assert_clean()


@pytest.mark.parametrize("seed", range(600, 604))
def test_the_same_seed_gives_the_same_log(seed: int) -> None:
    logs = []
    for _ in range(2):
        flow = _flow(seed)
        _traffic(flow, seed)
        flow.settle()
        logs.append((flow.log.records, flow.log.ends))
    assert logs[0] == logs[1]


def test_the_runtime_s_troubles_really_happened() -> None:
    flow = _flow(7)
    _traffic(flow, 7)
    flow.settle()
    assert all(flow.happened[fate] > 3 for fate in SOUND)


# -- a broken runtime does not get away with it ---------------------------------------------------------------------------------


@pytest.mark.parametrize("fate", [Fate.SKIPPED, Fate.REPEATED, Fate.STALE])
def test_a_broken_runtime_breaks_a_promise(fate: Fate) -> None:
    """One batch in ten: skipped (no check of the position), decided twice (no position in the transaction), by a zombie (no fencing)."""
    broken = 0
    for seed in range(700, 710):
        flow = _flow(seed)
        flow.fates, flow.weights = (Fate.COMMITTED, fate), (9, 1)
        broken += not _keeps_promises(flow, seed)
    assert broken == 10


def _keeps_promises(flow: Flow, seed: int) -> bool:
    try:
        _traffic(flow, seed)
        flow.settle()
    except AssertionError:
        return False  # a decision noticed it first: the worker would stop before its batch commits
    return flow.audit().ok


def run_seed(seed: int) -> bool:
    """Return whether a run on a sound runtime keeps every promise."""
    return _keeps_promises(_flow(seed), seed)
