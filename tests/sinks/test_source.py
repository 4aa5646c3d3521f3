"""How long a sink gathers: not at all while little comes, and with much to do it writes less often."""

import pytest

from sinks.source import BUSY, GATHER_S, STILL_BUSY, gather_s


@pytest.mark.parametrize(
    ("read", "gathered", "expected"),
    [
        (0, 0.0, 0.0),
        (BUSY - 1, 0.0, 0.0),
        (BUSY, 0.0, GATHER_S),
        (BUSY, GATHER_S, 0.0),
        (STILL_BUSY - 1, GATHER_S, 0.0),
        (STILL_BUSY, GATHER_S, GATHER_S),
        (0, GATHER_S, 0.0),
    ],
)
def test_only_much_is_gathered(read: int, gathered: float, expected: float) -> None:
    assert gather_s(read, gathered) == expected
