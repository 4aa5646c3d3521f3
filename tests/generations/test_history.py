"""Which generation is in use, from any run of records of the topic `generations`."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from generations import Change, History, Step, prefix_of

CHANGES = st.lists(st.builds(Change, st.integers(2, 6), st.integers(1, 64), st.sampled_from(Step)), max_size=12)


def of(*records: tuple[int, Step], root: str = "eu.") -> History:
    return History.of(root, [Change(generation, generation * 10, step) for generation, step in records])


@pytest.mark.parametrize(
    ("records", "number", "partitions", "moving", "prefixes"),
    [
        ((), 1, None, None, ("eu.",)),
        (((2, Step.BARRIER),), 1, None, 2, ("eu.",)),
        (((2, Step.BARRIER), (2, Step.CLOSED)), 1, None, 2, ("eu.",)),
        (((2, Step.BARRIER), (2, Step.CANCELLED)), 1, None, None, ("eu.",)),
        (((2, Step.CLOSED), (2, Step.CURRENT)), 2, 20, None, ("eu.", "eu.g2.")),
        (((2, Step.CURRENT), (3, Step.BARRIER)), 2, 20, 3, ("eu.", "eu.g2.")),
        (((2, Step.CLOSED), (3, Step.CLOSED)), 1, None, 3, ("eu.",)),
        (((2, Step.CLOSED), (3, Step.CLOSED), (2, Step.CANCELLED), (3, Step.CURRENT)), 3, 30, None, ("eu.", "eu.g3.")),
    ],
)
def test_what_records_add_up_to(
    records: tuple[tuple[int, Step], ...], number: int, partitions: int | None, moving: int | None, prefixes: tuple[str, ...]
) -> None:
    history = of(*records)
    assert (history.number, history.partitions, history.prefixes) == (number, partitions, prefixes)
    assert (history.moving.generation if history.moving else None) == moving
    assert history.prefix == prefixes[-1]


@pytest.mark.parametrize(
    ("records", "closed"),
    [
        ((), False),
        (((2, Step.BARRIER),), False),
        (((2, Step.CLOSED),), True),
        (((2, Step.CLOSED), (2, Step.BARRIER)), False),
        (((2, Step.CLOSED), (2, Step.CANCELLED)), False),
        (((2, Step.CLOSED), (3, Step.CLOSED), (2, Step.CANCELLED)), True),
        (((2, Step.CURRENT),), True),
    ],
)
def test_when_no_task_may_write_to_the_first_generation(records: tuple[tuple[int, Step], ...], closed: bool) -> None:
    assert of(*records).is_closed(1) is closed


def test_the_generation_in_use_is_never_closed_by_itself() -> None:
    assert not of((2, Step.CURRENT)).is_closed(2)


@given(CHANGES)
def test_the_last_record_of_a_generation_counts_and_numbers_are_never_given_again(records: list[Change]) -> None:
    history = History.of("", records)
    assert {change.generation for change in history.changes} == {record.generation for record in records}
    assert all(change == [record for record in records if record.generation == change.generation][-1] for change in history.changes)
    assert history.next not in {record.generation for record in records} | {1}
    assert history.prefix == prefix_of("", history.number) == history.prefixes[-1]
    assert not set(history.abandoned) & set(history.prefixes)
    assert history.moving is None or history.moving.generation > history.number
