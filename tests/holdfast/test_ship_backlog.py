"""What the warehouse has read and not yet shipped."""

from hypothesis import given
from hypothesis import strategies as st

from holdfast.backlog import Backlog, Pace, Waiting

RECORDS = st.lists(st.tuples(st.integers(0, 3), st.booleans(), st.integers(0, 50)), max_size=60)
"""(partition, is it to ship, due)"""


def _fed(records: list[tuple[int, bool, int]]) -> tuple[Backlog, list[Waiting]]:
    backlog, ends, orders = Backlog(), dict[int, int](), list[Waiting]()
    for number, (partition, is_to_ship, due) in enumerate(records):
        offset = ends.get(partition, 0)
        # Transaction markers take offsets too: real offsets have holes.
        ends[partition] = offset + 1 + due % 2
        if is_to_ship:
            orders.append(Waiting(partition, offset, number, due))
            backlog.add(orders[-1])
        else:
            backlog.saw(partition, offset)
    return backlog, orders


@given(RECORDS, st.lists(st.tuples(st.integers(0, 60), st.integers(0, 5)), max_size=20))
def test_no_position_passes_an_order_not_taken(records: list[tuple[int, bool, int]], takes: list[tuple[int, int]]) -> None:
    backlog, orders = _fed(records)
    left = set(orders)
    for now, limit in takes:
        taken = backlog.take(now, limit)
        assert len(taken) <= limit
        assert all(order.due_ms <= now for order in taken)
        assert left.issuperset(taken)
        left.difference_update(taken)
        positions = backlog.positions()
        assert all(positions[order.partition] <= order.offset for order in left)
        assert len(backlog) == len(left)


@given(RECORDS)
def test_everything_due_is_taken_once_and_the_positions_end_behind_the_last_record(records: list[tuple[int, bool, int]]) -> None:
    backlog, orders = _fed(records)
    assert sorted(order.order_id for order in backlog.take(50, 1000)) == [order.order_id for order in orders]
    assert backlog.take(50, 1000) == []
    seen = {partition for partition, _, _ in records}
    assert set(backlog.positions()) == seen
    assert _fed([*records, *((partition, False, 0) for partition in seen)])[0].positions().keys() == seen


@given(RECORDS)
def test_a_partition_is_taken_in_the_order_of_its_log(records: list[tuple[int, bool, int]]) -> None:
    backlog, _ = _fed(records)
    taken = [order for now in range(60) for order in backlog.take(now, 2)]
    for partition in range(4):
        offsets = [order.offset for order in taken if order.partition == partition]
        assert offsets == sorted(offsets)


def test_the_longest_due_goes_first_across_partitions() -> None:
    backlog = Backlog()
    for order in (Waiting(0, 0, 1, 30), Waiting(1, 0, 2, 10), Waiting(2, 0, 3, 20)):
        backlog.add(order)
    assert [order.order_id for order in backlog.take(100, 2)] == [2, 3]


def test_a_forgotten_partition_is_neither_shipped_nor_committed() -> None:
    backlog = Backlog()
    backlog.add(Waiting(0, 5, 1, 0))
    backlog.add(Waiting(1, 7, 2, 0))
    backlog.forget([0])
    assert [order.order_id for order in backlog.take(10, 10)] == [2]
    assert backlog.positions() == {1: 8}


@given(st.floats(0.5, 1000), st.lists(st.floats(0.001, 3), min_size=1, max_size=50))
def test_no_more_go_than_the_rate_allows(rate: float, steps: list[float]) -> None:
    pace, now, gone = Pace(rate, 0.0), 0.0, 0
    for step in steps:
        now += step
        allowed = pace.allowance(now)
        assert allowed <= max(rate, 1.0)
        pace.spend(allowed)
        gone += allowed
    assert gone <= rate * now + 1e-6


def test_without_a_rate_there_is_no_limit() -> None:
    assert Pace(None, 0.0).allowance(0.0) >= 1_000_000
