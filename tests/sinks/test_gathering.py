"""How long a sink gathers: not at all while little comes, and with much to do it writes less often."""

import pytest

from sinks.gathering import BUSY, FULL_SLICE, SLICE_S, SLICES, STILL_BUSY, gather, slices


@pytest.mark.parametrize(
    ("read", "gathered", "expected"),
    [
        (0, False, 0),
        (BUSY - 1, False, 0),
        (BUSY, False, SLICES),
        (BUSY, True, 0),
        (STILL_BUSY - 1, True, 0),
        (STILL_BUSY, True, SLICES),
        (0, True, 0),
    ],
)
def test_only_much_is_gathered(read: int, gathered: bool, expected: int) -> None:
    assert slices(read, gathered) == expected


@pytest.mark.parametrize(
    ("most", "brings", "gathered", "left"),
    [
        (0, [7, 9], 7, [9]),
        (SLICES, [FULL_SLICE - 1, 9], FULL_SLICE - 1, [9]),
        (SLICES, [FULL_SLICE, 9, 9], FULL_SLICE + 9, [9]),
        (SLICES, [FULL_SLICE] * (SLICES + 1), FULL_SLICE * SLICES, [FULL_SLICE]),
        (SLICES, [9_000, 9_000, 9_000], 10_000, [9_000]),
    ],
    ids=["at once", "little", "little then", "much", "full"],
)
def test_a_slice_that_brings_little_and_a_full_batch_end_it(most: int, brings: list[int], gathered: int, left: list[int]) -> None:
    waited = []

    def consume(room: int, timeout_s: float) -> list[int]:
        waited.append(timeout_s)
        return [0] * min(room, brings.pop(0))

    assert (len(gather(consume, 10_000, most)), brings) == (gathered, left)
    assert set(waited) == {SLICE_S if most else 0}
