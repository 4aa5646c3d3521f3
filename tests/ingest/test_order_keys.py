"""What an Idempotency-Key is to whoever asks for it."""

from __future__ import annotations

import pytest

from ingest.order_keys import Answered, KeyAsked, KeyRow, Standing, judged

OTHER, OURS = 7, 9
HASH, ANOTHER = b"h" * 16, b"a" * 16
ASKED = KeyAsked("u1", "k1", HASH, OURS)


@pytest.mark.parametrize(
    ("row", "answered"),
    [
        (KeyRow(OURS, HASH, False, 5_000), Answered(Standing.OURS, OURS)),
        (KeyRow(OTHER, HASH, True, -1), Answered(Standing.DONE, OTHER)),
        (KeyRow(OTHER, HASH, True, 900), Answered(Standing.DONE, OTHER)),
        (KeyRow(OTHER, HASH, False, 900), Answered(Standing.IN_FLIGHT, OTHER, 900)),
        (KeyRow(OTHER, HASH, False, 0), Answered(Standing.OURS, OTHER)),
        (KeyRow(OTHER, HASH, False, -90_000), Answered(Standing.OURS, OTHER)),
        (KeyRow(OTHER, ANOTHER, True, -1), Answered(Standing.REUSED, OTHER)),
        (KeyRow(OTHER, ANOTHER, False, 900), Answered(Standing.REUSED, OTHER)),
        (KeyRow(OTHER, ANOTHER, False, -1), Answered(Standing.REUSED, OTHER)),
    ],
)
def test_a_key_stands_for_one_order_and_one_body(row: KeyRow, answered: Answered) -> None:
    assert judged(ASKED, row) == answered
