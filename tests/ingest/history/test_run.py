"""Where a run goes on, and that a source which changed before that place does not."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.errors import LoadError
from ingest.history.mapping import parse_map
from ingest.history.orders import Counts, Orders, Piece
from ingest.history.run import _unsent
from ingest.load_state import Progress
from tests.ingest.history.maps import MAP, history, row

ROWS = history(20)


def _pieces(rows: list[dict[str, Any]]) -> list[Piece]:
    return list(Orders(parse_map(MAP, decided=True), Counts(), decided=True).pieces(rows))


@pytest.mark.parametrize("at", range(-1, 20))
def test_a_run_goes_on_behind_what_was_sent(at: int) -> None:
    pieces = _pieces(ROWS)
    done = Progress("f", pieces[at].digest, 0, "decided", rows_done=pieces[at].last_row) if at >= 0 else Progress("f", "", 0, "decided")
    assert list(_unsent(iter(pieces), done, "s")) == pieces[at + 1 :]


@pytest.mark.parametrize(
    "rows",
    [[row("new"), *ROWS], ROWS[1:], [*ROWS[:3], {**ROWS[3], "units": "9"}, *ROWS[4:]], ROWS[:8], []],
    ids=["a row before", "a row less", "another number", "cut short", "empty"],
)
def test_a_source_that_changed_does_not_go_on(rows: list[dict[str, Any]]) -> None:
    before = _pieces(ROWS)[9]
    with pytest.raises(LoadError, match="not those that were sent"):
        list(_unsent(iter(_pieces(rows)), Progress("f", before.digest, 0, "decided", rows_done=before.last_row), "s"))
