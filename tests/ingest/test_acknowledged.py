"""Progress says only what is whole."""

from hypothesis import given
from hypothesis import strategies as st

from ingest.acknowledged import Acknowledged


def test_rows_wait_for_every_record_of_their_chunk_and_of_those_before() -> None:
    acknowledged = Acknowledged(10)
    first, second = acknowledged.open(20), acknowledged.open(30)
    for pending in (first, first, second):
        acknowledged.sent(pending)
    acknowledged.close(second)
    acknowledged.acked(second)
    acknowledged.acked(first)
    assert acknowledged.rows == 10
    acknowledged.close(first)
    assert acknowledged.rows == 10
    acknowledged.acked(first)
    assert acknowledged.rows == 30


def test_a_chunk_is_not_whole_before_its_last_record_is_sent() -> None:
    acknowledged = Acknowledged(0)
    chunk = acknowledged.open(5)
    acknowledged.sent(chunk)
    acknowledged.acked(chunk)
    assert acknowledged.rows == 0
    acknowledged.close(chunk)
    assert acknowledged.rows == 5


@given(st.lists(st.integers(0, 4), max_size=8), st.randoms(use_true_random=False))
def test_acks_in_any_order_end_at_the_last_row_and_never_pass_one_that_is_missing(sizes: list[int], random: "object") -> None:
    acknowledged, outstanding = Acknowledged(0), []
    for row, size in enumerate(sizes, 1):
        pending = acknowledged.open(row)
        for _ in range(size):
            acknowledged.sent(pending)
            outstanding.append(pending)
        acknowledged.close(pending)
    random.shuffle(outstanding)  # type: ignore[attr-defined]
    while outstanding:
        assert acknowledged.rows == min(p.last_row for p in outstanding) - 1
        acknowledged.acked(outstanding.pop())
    assert acknowledged.rows == len(sizes)
