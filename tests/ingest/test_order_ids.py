"""The pure part of the order-ID generator: any clock, any number of requests."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ClockError, LeaseError
from ingest.id_leases import Lease
from ingest.order_ids import EPOCH_MS, MAX_SEQUENCE, MAX_STEP_BACK_MS, IdState, compose, matched, next_ids, parts_of, start_of
from schemas.partitions import partition_of

NOW = EPOCH_MS + 1_000_000
FOR_EVER = EPOCH_MS + (1 << 41)


def state(last_ms: int = NOW, sequence: int = MAX_SEQUENCE, until_ms: int = FOR_EVER, worker: int = 5) -> IdState:
    return IdState(worker, last_ms, sequence, until_ms)


@pytest.mark.parametrize(
    ("before", "now", "n", "first", "count", "wait"),
    [
        (state(), NOW + 1, 1, 0, 1, 0),
        (state(), NOW + 1, 10, 0, 10, 0),
        (state(sequence=7), NOW, 3, 8, 3, 0),
        (state(sequence=MAX_SEQUENCE - 2), NOW, 10, MAX_SEQUENCE - 1, 2, 1),
        (state(), NOW, 1, 0, 0, 1),
        (state(), NOW - 5, 1, 0, 0, 5),
        (state(), NOW - MAX_STEP_BACK_MS, 1, 0, 0, MAX_STEP_BACK_MS),
        (state(), NOW + 1, 10_000, 0, MAX_SEQUENCE + 1, 1),
        (state(), NOW + 1, 0, 0, 0, 0),
    ],
)
def test_what_is_given_at_a_moment(before: IdState, now: int, n: int, first: int, count: int, wait: int) -> None:
    taken = next_ids(before, now, n)
    assert [parts_of(i) for i in taken.ids] == [(now, 5, first + k) for k in range(count)]
    assert taken.wait_ms == wait


@pytest.mark.parametrize(
    ("before", "now", "error", "text"),
    [
        (state(), NOW - MAX_STEP_BACK_MS - 1, ClockError, "2001 ms behind"),
        (state(last_ms=0), EPOCH_MS, ClockError, "set the clock"),
        (state(last_ms=0), EPOCH_MS - 1, ClockError, "set the clock"),
        (state(last_ms=0), EPOCH_MS + (1 << 41), ClockError, "2095"),
        (state(until_ms=NOW + 10), NOW + 11, LeaseError, "could not be renewed"),
    ],
)
def test_refusals_say_what_to_do(before: IdState, now: int, error: type[Exception], text: str) -> None:
    with pytest.raises(error, match=text):
        next_ids(before, now, 1)


def test_ids_are_63_bits_and_over_zero() -> None:
    assert compose(EPOCH_MS + (1 << 41) - 1, 1023, MAX_SEQUENCE) == 2**63 - 1
    assert compose(EPOCH_MS + 1, 0, 0) > 0


requests = st.lists(st.tuples(st.integers(-MAX_STEP_BACK_MS, 500), st.integers(0, 6_000)), max_size=60)


@given(requests)
def test_one_workers_ids_are_unique_and_increase_whatever_its_clock_does(requests: list[tuple[int, int]]) -> None:
    current, now, given_out = state(until_ms=NOW + 5_000), NOW, [0]
    for step, n in requests:
        now = max(now + step, current.last_ms - MAX_STEP_BACK_MS)
        try:
            taken = next_ids(current, now, n)
        except LeaseError:
            assert now > current.until_ms
            continue
        current = taken.state
        assert len(taken.ids) == n or taken.wait_ms > 0
        given_out += taken.ids
    assert given_out == sorted(set(given_out))
    assert all(parts_of(i)[0] <= NOW + 5_000 for i in given_out[1:])


close_together = st.lists(st.tuples(st.integers(-2, 4), st.integers(0, 3)), max_size=40)


@given(close_together, st.integers(0, 30), close_together)
def test_the_next_holder_repeats_nothing_even_if_the_former_one_goes_on(first: list[tuple[int, int]], apart: int, second: list[tuple[int, int]]) -> None:
    """The former holder's promise was `until`; the next one starts behind it, by a clock of its own that is behind."""
    until = NOW + 30
    former, heir = state(until_ms=until), start_of(Lease(5, "heir", until, until + 5_000))
    before, after = drawn(former, NOW, first), drawn(heir, until - apart, second)
    assert before.isdisjoint(after)
    assert all(parts_of(i)[0] > until for i in after)


def drawn(current: IdState, now: int, requests: list[tuple[int, int]]) -> set[int]:
    ids: set[int] = set()
    for step, n in requests:
        now += step
        try:
            taken = next_ids(current, now, n)
        except (LeaseError, ClockError):
            continue
        current = taken.state
        ids.update(taken.ids)
    return ids


@given(st.lists(st.integers(0, 7), max_size=200), st.integers(1, 2**60))
def test_orders_lie_where_they_are_wanted(wanted: list[int], first: int) -> None:
    new = itertools.count(first)
    ids = matched(wanted, 8, lambda n: list(itertools.islice(new, n)))
    assert [partition_of(b"%d" % order_id, 8) for order_id in ids] == wanted
    assert len(set(ids)) == len(ids)


def test_one_partition_alone_draws_no_more_than_it_must() -> None:
    new = itertools.count(123_456_789_012_345_678)
    matched([3] * 1_000, 8, lambda n: list(itertools.islice(new, n)))
    assert next(new) - 123_456_789_012_345_678 < 1_000 * 8 * 1.5
