"""Coalescing: any mixture of records, cut and repeated in any way, adds up to the fold of the log."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sinks import batch
from sinks.batch import Batch, Move
from sinks.rows import Record
from tests.support.memory_store import MemoryStore
from tests.support.outputs import VALUES, Content, expected, level, outcome, records, refused_command

A, B = ("order.outcomes", 0), ("stock.levels", 3)


def content_of(folded: Batch) -> Content:
    """What an empty store holds after the batch."""
    store = MemoryStore()
    store.write(folded, {})
    return store.content


@given(VALUES)
def test_a_batch_is_the_fold_of_its_records(values):
    assert content_of(batch.fold(records(values))) == expected(values)


@given(VALUES, st.lists(st.integers(0, 24), max_size=5))
def test_any_cut_into_batches_gives_the_same_content(values, cuts):
    log, store = records(values), MemoryStore()
    bounds = [0, *sorted(min(cut, len(log)) for cut in cuts), len(log)]
    for start, end in itertools.pairwise(bounds):
        store.write(batch.fold(log[start:end]), {})
    assert store.content == expected(values)


@given(VALUES, st.randoms())
def test_batches_in_any_order_and_repeated_converge(values, random):
    batches = [batch.fold(some) for some in batch.chunks(records(values), 60)] * 2
    random.shuffle(batches)
    store = MemoryStore()
    for folded in batches:
        store.write(folded, {})
    assert store.content == expected(values)


@given(VALUES)
def test_every_record_moves_its_position_and_only_undecodable_ones_are_given_up(values):
    log = records(values)
    folded = batch.fold(log)
    assert folded.ends == {(r.topic, r.partition): r.offset + 1 for r in log}
    assert [r.value for r, _ in folded.unstorable] == [v for v in values if isinstance(v, bytes)]


@given(VALUES, st.integers(1, 2_000))
def test_chunks_keep_every_record_in_order_within_the_limit(values, limit):
    log = records(values)
    cut = [list(some) for some in batch.chunks(log, limit)]
    assert [r for some in cut for r in some] == log
    for some, following in zip(cut, [*cut[1:], []], strict=False):
        size = sum(len(r.value) for r in some)
        assert some
        assert len(some) == 1 or size <= limit
        assert not following or size + len(following[0].value) > limit


def test_chunks_count_a_record_without_a_value():
    tombstones = [Record("stock.levels", "stock.levels", 0, i, b"A", None) for i in range(3)]
    assert [len(some) for some in batch.chunks(tombstones, 1)] == [3]
    assert list(batch.chunks([], 1)) == []


def test_a_batch_holds_one_row_per_thing():
    folded = batch.fold(records([level("A", v) for v in (1, 3, 2)] + [outcome(7, 1), outcome(7, 2, ["A", "B"]), refused_command(7)]))
    assert {k: v["version"] for k, v in folded.products.items()} == {"A": 3}
    assert {k: v["version"] for k, v in folded.orders.items()} == {7: 2}
    assert folded.lines == 2


def test_first_and_last_order_time_come_from_every_outcome():
    folded = batch.fold(records([outcome(i, user_id="u", placed_at=at) for i, at in enumerate([50, 10, 90], 1)]))
    assert folded.users == {"u": (10, 90)}


@pytest.mark.parametrize(
    ("ends", "moves"),
    [
        ({}, {}),
        ({A: 7}, {A: Move(5, 7)}),
        ({A: 5}, {}),
        ({B: 2, A: 6}, {A: Move(5, 6), B: Move(0, 2)}),
    ],
)
def test_moves_go_from_the_position_to_the_end(ends, moves):
    found = batch.moves({A: 5, B: 0}, ends)
    assert found == moves
    assert list(found) == sorted(moves)


def test_a_batch_from_before_the_position_is_a_bug():
    with pytest.raises(AssertionError, match="backwards"):
        batch.moves({A: 5}, {A: 4})
