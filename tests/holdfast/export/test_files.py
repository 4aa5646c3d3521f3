"""What analysts get: each order and line once, as it stands, typed; and no file that is not whole."""

from __future__ import annotations

import csv
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pyarrow import parquet

from holdfast.export.files import FORMATS, ExportError, written
from holdfast.export.table import TABLES, is_within, rows_of
from tests.support.outputs import outcome

ORDERS = [outcome(7, 1), outcome(8, 2, change="SHIPPED", lines=[])]


def _rows(table: str) -> list[tuple[Any, ...]]:
    return [row for order in ORDERS for row in rows_of(order, table)]


def _write(path: Path, kind: str, table: str) -> None:
    with written(path, kind, TABLES[table]) as out:
        out.write(_rows(table))
        out.write([])


@pytest.mark.parametrize("table", TABLES)
def test_both_formats_say_the_same(table: str, tmp_path: Path) -> None:
    for kind in FORMATS:
        _write(tmp_path / kind, kind, table)
    typed = parquet.read_table(tmp_path / "parquet").to_pylist()
    with (tmp_path / "csv").open(newline="") as text:
        plain = list(csv.DictReader(text))
    assert [list(row) for row in typed] == [list(row) for row in plain] == [list(TABLES[table])] * len(typed)
    assert len(typed) == len(plain) == (2 if table == "orders" else len(ORDERS[0]["lines"]) + 1)
    assert [int(row["order_id"]) for row in plain] == [row["order_id"] for row in typed]
    assert typed[0]["placed_at"] == datetime.fromtimestamp(ORDERS[0]["placed_at"] / 1000, UTC)
    assert datetime.fromisoformat(plain[0]["placed_at"]) == typed[0]["placed_at"]
    assert typed[0]["imported"] is False
    assert table == "orders" or (typed[-1]["product_id"] is None and plain[-1]["product_id"] == "")


def test_a_window_has_its_first_moment_and_not_its_last() -> None:
    at = ORDERS[0]["decided_at"]
    assert [is_within(ORDERS[0], *window) for window in ((at, at + 1), (at + 1, at + 2), (at - 1, at))] == [True, False, False]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_that_ends_on_the_way_leaves_what_was_there(kind: str, tmp_path: Path) -> None:
    _write(tmp_path / "out", kind, "orders")
    before = (tmp_path / "out").read_bytes()
    with pytest.raises(KeyboardInterrupt):
        _break_off(tmp_path / "out", kind)
    assert (tmp_path / "out").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def _break_off(path: Path, kind: str) -> None:
    with written(path, kind, TABLES["orders"]) as out:
        out.write(_rows("orders"))
        raise KeyboardInterrupt


KILLED = """
import os, signal, sys
from pathlib import Path
from holdfast.export.files import written
with written(Path(sys.argv[1]), sys.argv[2], ("a",)) as out:
    out.write([(1,)])
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.mark.parametrize("kind", FORMATS)
def test_a_run_that_is_killed_leaves_what_was_there_and_the_next_one_tidies_up(kind: str, tmp_path: Path) -> None:
    _write(tmp_path / "out", kind, "orders")
    before = (tmp_path / "out").read_bytes()
    killed = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path / "out"), kind], check=False)
    assert killed.returncode == -signal.SIGKILL
    assert (tmp_path / "out").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 2
    _write(tmp_path / "out", kind, "orders")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    assert (tmp_path / "out").read_bytes() == before


@pytest.mark.parametrize("kind", FORMATS)
def test_a_folder_that_is_not_there_is_told(kind: str, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="cannot be written"):
        _write(tmp_path / "nowhere" / "out", kind, "orders")
