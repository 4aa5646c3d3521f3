"""Where a load begins, given where an earlier one came to."""

from dataclasses import replace

import pytest

from ingest.errors import LoadError
from ingest.load_state import Progress, resume

NOW = Progress("new.csv", "d" * 64, 100, "0.9")
HALF = replace(NOW, opened=True, rows_done=50)
DONE = replace(NOW, opened=True, rows_done=100, finished=True)


@pytest.mark.parametrize(
    ("before", "resend", "start"),
    [
        (None, False, NOW),
        (HALF, False, HALF),
        (DONE, False, DONE),
        (HALF, True, NOW),
        (DONE, True, NOW),
        (replace(HALF, share="0.5"), False, replace(HALF, share="0.5")),
    ],
)
def test_a_load_goes_on_where_it_was(before: Progress | None, resend: bool, start: Progress) -> None:
    assert resume(before, NOW, False, resend, "s") == start


def test_another_file_under_the_same_source_is_an_error_that_says_so() -> None:
    with pytest.raises(LoadError, match=r"source 's' was loaded from another file, old.csv with 100 rows .*--source"):
        resume(replace(HALF, file="old.csv", digest="e" * 64), NOW, False, False, "s")


def test_opening_stock_cannot_change_once_begun() -> None:
    with pytest.raises(LoadError, match=r"began with --opening-stock 0.5, not 0.9"):
        resume(replace(HALF, share="0.5"), NOW, True, False, "s")
    assert resume(replace(HALF, share="0.90"), NOW, True, False, "s").share == "0.90"
