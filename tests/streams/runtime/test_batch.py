"""A batch is taken once, where the task stands, or not at all; whatever happens to it, the task hears of it."""

import asyncio
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streams.runtime.batch import BUSY_BYTES_S, LEAST_BYTES, Batch, BatchState, end_of, gather_seconds, next_limit, share_of
from streams.runtime.records import Record
from streams.runtime.shared import LOOK_SECONDS, Room

START = {"orders": 10, "stock.commands": 4}


def _record(topic: str, offset: int) -> Record:
    return Record(topic, 0, offset, None, b"")


RECORDS = [_record("orders", 10), _record("stock.commands", 4), _record("orders", 12)]


def _with_batch(check: Callable[[Batch], None], start: Mapping[str, int] = START) -> None:
    async def run() -> None:
        check(Batch("stock", 0, start, RECORDS))

    asyncio.run(run())


def test_it_names_the_positions_before_and_after_it() -> None:
    def check(batch: Batch) -> None:
        assert batch.start == START
        assert batch.end == {"orders": 13, "stock.commands": 5}
        assert batch.state is BatchState.WAITING
        assert not batch.is_timer
        assert not batch.done.done()

    _with_batch(check)


def test_a_batch_without_records_is_a_timer_s_and_moves_nothing() -> None:
    async def run() -> None:
        batch = Batch("orders", 0, START, [])
        assert batch.is_timer
        assert batch.end == START
        assert batch.take(START)

    asyncio.run(run())


def test_it_is_taken_once_where_the_task_stands() -> None:
    def check(batch: Batch) -> None:
        assert batch.take(dict(START))
        assert batch.state is BatchState.TAKEN
        assert not batch.take(dict(START))
        assert batch.state is BatchState.TAKEN
        assert not batch.done.done()

    _with_batch(check)


@pytest.mark.parametrize(
    "position",
    [
        {"orders": 11, "stock.commands": 4},
        {"orders": 9, "stock.commands": 4},
        {"orders": 10, "stock.commands": 5},
        {"orders": 10},
        {},
        {"orders": 13, "stock.commands": 5},
    ],
    ids=["further", "back", "other input", "input missing", "nothing", "after it"],
)
def test_it_is_ended_untouched_where_the_task_stands_elsewhere(position: dict[str, int]) -> None:
    def check(batch: Batch) -> None:
        assert not batch.take(position)
        assert batch.state is BatchState.ENDED
        assert batch.done.result() is False
        assert not batch.take(START)

    _with_batch(check)


def test_a_task_that_moves_on_does_not_move_its_batch() -> None:
    position = dict(START)

    def check(batch: Batch) -> None:
        position["orders"] = 99
        assert batch.start == START

    _with_batch(check, position)


def test_a_dropped_batch_can_no_longer_be_taken() -> None:
    def check(batch: Batch) -> None:
        batch.drop()
        assert batch.done.result() is False
        assert not batch.take(START)

    _with_batch(check)


def test_a_taken_batch_is_not_dropped() -> None:
    def check(batch: Batch) -> None:
        assert batch.take(START)
        batch.drop()
        assert batch.state is BatchState.TAKEN
        assert not batch.done.done()
        batch.finish(committed=True)
        assert batch.done.result() is True
        batch.drop()
        assert batch.done.result() is True

    _with_batch(check)


def test_finishing_twice_keeps_the_first_answer() -> None:
    def check(batch: Batch) -> None:
        batch.take(START)
        batch.finish(committed=True)
        batch.finish(committed=False)
        assert batch.done.result() is True

    _with_batch(check)


inputs = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.integers(0, 50), min_size=1)


@given(inputs, st.data())
def test_the_end_is_behind_the_last_record_of_each_input(start: dict[str, int], data: st.DataObject) -> None:
    offsets = {topic: sorted(data.draw(st.sets(st.integers(first, first + 20), max_size=5))) for topic, first in start.items()}
    records = data.draw(st.permutations([_record(topic, offset) for topic, found in offsets.items() for offset in found]))
    assert end_of(start, records) == {topic: found[-1] + 1 if found else start[topic] for topic, found in offsets.items()}


@given(inputs, st.integers(0, 49))
def test_the_end_never_goes_back(start: dict[str, int], offset: int) -> None:
    topic = next(iter(start))
    assert end_of(start, [_record(topic, min(offset, start[topic] - 1))] if start[topic] else []) == start


def test_a_record_of_no_input_is_a_bug() -> None:
    with pytest.raises(KeyError):
        end_of(START, [_record("payment.results", 1)])


@given(st.integers(LEAST_BYTES, 2**22), st.floats(0.0001, 100))
def test_the_limit_follows_the_time_a_batch_took(limit: int, took: float) -> None:
    found = next_limit(limit, took, 0.2, 2**22)
    assert LEAST_BYTES <= found <= 2**22
    assert found >= limit if took <= 0.2 else found <= limit


def test_a_slow_batch_shrinks_the_next_one_in_proportion() -> None:
    assert next_limit(400_000, 0.8, 0.2, 4_000_000) == 100_000
    assert next_limit(400_000, 0.1, 0.2, 4_000_000) == 800_000
    assert next_limit(400_000, 0.16, 0.2, 4_000_000) == 500_000
    assert next_limit(3_000_000, 0.1, 0.2, 4_000_000) == 4_000_000
    assert next_limit(LEAST_BYTES, 50.0, 0.2, 4_000_000) == LEAST_BYTES


@pytest.mark.parametrize(("rate", "gathers"), [(0, False), (BUSY_BYTES_S - 1, False), (BUSY_BYTES_S, True), (100 * BUSY_BYTES_S, True)])
def test_the_batches_of_a_busy_worker_gather(rate: float, gathers: bool) -> None:
    assert (gather_seconds(rate) > 0) is gathers


@pytest.mark.parametrize(("busy", "share"), [(0, 4_000), (1, 4_000), (2, 2_000), (3, 1_333), (4, 1_000), (5, 1_000), (64, 1_000)])
def test_a_task_that_is_busy_alone_may_take_more_at_once(busy: int, share: int) -> None:
    assert share_of(1_000, busy) == share


def test_the_tasks_of_a_worker_share_what_they_take_at_once() -> None:
    room = Room(0.15, 100_000)

    def highest(task: str, taken: int) -> int:
        return room.next_limit(task, 10**9, 0.15, taken)

    assert highest("stock.0", 100_000) == 400_000
    assert highest("stock.1", 90_000) == 200_000
    assert highest("stock.0", 200_000) == 200_000, "a task counts once"
    assert highest("stock.2", 10_000) == 200_000, "who has little to do takes nothing from the others"
    assert highest("stock.1", 10_000) == 400_000, "nor who has no more to do"
    highest("stock.1", 90_000)
    room.leave("stock.0")
    room.leave("stock.0")
    assert highest("stock.1", 90_000) == 400_000, "nor who is gone"
    assert room.next_limit("stock.1", 100_000, 0.3, 90_000) == 50_000, "and it must not take long"


def test_how_busy_a_worker_is_goes_by_what_all_of_its_tasks_take_whatever_the_size_of_a_batch() -> None:
    now = [100.0]
    room = Room(0.15, 100_000, lambda: now[0])

    def gathers(seconds: float, *taken: int) -> bool:
        now[0] += seconds
        for task, some in enumerate(taken):
            room.next_limit(f"stock.{task}", 1_000, 0.1, some)
        return room.gather > 0

    assert not gathers(0.0, int(BUSY_BYTES_S * LOOK_SECONDS)), "it is not known yet in what time"
    assert gathers(LOOK_SECONDS, 0, 0)
    assert gathers(LOOK_SECONDS / 2, 0), "nor that it takes less"
    assert not gathers(LOOK_SECONDS / 2, 0)
    gathers(LOOK_SECONDS / 2, *[int(BUSY_BYTES_S * LOOK_SECONDS / 8)] * 4)
    assert not gathers(LOOK_SECONDS / 2, 0), "half of it"
    gathers(LOOK_SECONDS / 2, *[int(BUSY_BYTES_S * LOOK_SECONDS / 4)] * 4)
    assert gathers(LOOK_SECONDS / 2, 0)
