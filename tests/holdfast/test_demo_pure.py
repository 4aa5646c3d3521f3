"""What the demo counts and when it takes the last row for written."""

from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.demo.background import Background
from holdfast.demo.file_orders import FileOrders
from holdfast.demo.following import Timing, behind
from holdfast.demo.show import Shown
from holdfast.demo.store_positions import History, StorePlace, in_every_store
from holdfast.lag import End, Lag, Look, Place
from schemas.codec import Decoded


def outcome(order_id: int, version: int, change: str, status: str, returned: tuple[int, ...] = (0,), decided_at: int = 1_000) -> Decoded:
    lines = [{"line": number, "returned": units} for number, units in enumerate(returned, 1)]
    return Decoded("OrderOutcome", {"order_id": order_id, "version": version, "change": change, "status": status, "lines": lines, "decided_at": decided_at}, 1)


def dead(topic: str, offset: int = 1, order_id: int | None = None) -> Decoded:
    return Decoded("DeadLetter", {"stage": "load", "topic": topic, "partition": -1, "offset": offset, "index": -1, "order_id": order_id}, 1)


HISTORY = [
    outcome(1, 1, "DECIDED", "CONFIRMED", (0, 0)),
    outcome(1, 2, "SHIPPED", "SHIPPED", (0, 0)),
    outcome(1, 3, "RETURNED", "SHIPPED", (2, 0)),
    outcome(2, 1, "DECIDED", "REJECTED", (0,)),
    outcome(2, 2, "AMENDED", "REJECTED", (0, 0, 0)),
    outcome(3, 1, "DECIDED", "EXPIRED"),
    outcome(99, 1, "DECIDED", "CONFIRMED"),
    dead("file:a.csv", 7),
    dead("file:a.csv", 7),
    dead("file:b.csv", 7),
    dead("orders", 3, 2),
    dead("orders", 4, 99),
    dead("order.commands", 5),
    Decoded("OrderCommandRefused", {"order_id": 1}, 1),
]


@given(st.permutations(HISTORY))
def test_counts_are_of_the_files_orders_as_they_stand_last_in_whatever_order_they_are_read(history: list[Decoded]) -> None:
    orders = FileOrders([1, 2, 3, 4], "a.csv")
    for record in history:
        orders.add(record)
    counts = orders.counts()
    assert (orders.decided, counts.orders, counts.lines, counts.returned_lines, counts.dead_letters) == (3, 3, 6, 1, 3)
    assert counts.decisions == {"confirmed": 1, "rejected": 1, "payment_failed": 0, "expired": 1, "cancelled": 0}


def test_lines_of_this_run_are_those_decided_in_it() -> None:
    orders = FileOrders([1, 2], "a.csv")
    orders.add(outcome(1, 1, "DECIDED", "CONFIRMED", (0, 0), decided_at=999))
    orders.add(outcome(2, 1, "DECIDED", "CONFIRMED", (0, 0, 0), decided_at=1_000))
    assert (orders.lines_decided_since(1_000), orders.lines_decided_since(0)) == (3, 5)


def test_the_last_row_is_written_when_both_stores_were_first_seen_behind_it() -> None:
    times = iter((10.0, 20.0, 30.0, 40.0))
    history = History(lambda: next(times))
    mysql, redis = StorePlace("mysql", "order.outcomes", 0), StorePlace("redis", "order.outcomes", 0)
    assert history.note({mysql: 0, redis: 0})
    assert history.note({mysql: 5, redis: 3})
    assert not history.note({mysql: 5, redis: 3})
    ends = in_every_store([("order.outcomes", 0, 5)])
    assert history.reached(ends) is None
    assert history.note({mysql: 5, redis: 5})
    assert history.note({mysql: 6, redis: 6})
    assert history.reached(ends) == 30.0
    assert history.reached({}) == 10.0


def test_nothing_sent_takes_no_time() -> None:
    assert (Timing(None, 50.0).seconds, Timing(40.0, 50.0).seconds, Timing(60.0, 50.0).seconds) == (0.0, 10.0, 0.0)


@pytest.mark.parametrize(
    ("lags", "end", "words"),
    [
        ([("stock", 1200), ("stock", 34), ("mysql sink", 0)], End(5, 5), "records to read: stock 1,234"),
        ([("stock", 0)], End(4, 5), "a transaction is open"),
        ([("stock", 0)], End(5, 5), "everybody has read everything"),
    ],
)
def test_what_is_under_way_is_said_in_a_few_words(lags: list[tuple[str, int]], end: End, words: str) -> None:
    assert behind(Look(tuple(Lag(stage, "t", records, ()) for stage, records in lags), {Place("t", 0): end}, {})) == words


def test_a_background_call_gives_its_result_or_its_error() -> None:
    assert Background(lambda: Decimal(1)).result() == 1

    def fail() -> None:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        Background(fail).result()


def test_the_result_has_exactly_the_promised_fields() -> None:
    orders = FileOrders([1], "a.csv")
    orders.add(outcome(1, 1, "DECIDED", "CONFIRMED", (0, 0), decided_at=20_000))
    parts: Any = {"load": SimpleNamespace(counts=SimpleNamespace(rows=9)), "folded": SimpleNamespace(orders=orders)}
    shown = Shown(**parts, timing=Timing(10.0, 14.0), audit=SimpleNamespace(violations=[1, 2]))  # type: ignore[arg-type]
    assert shown.document() == {
        "rows": 9,
        "orders": 1,
        "lines": 2,
        "confirmed": 1,
        "rejected": 0,
        "payment_failed": 0,
        "expired": 0,
        "cancelled": 0,
        "returned_lines": 0,
        "dead_letters": 0,
        "violations": 2,
        "seconds": 4.0,
        "lines_per_s": 0.5,
    }
