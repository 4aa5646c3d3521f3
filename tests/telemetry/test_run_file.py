"""What a process says of itself in the run folder, and that it goes on where there is none."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from telemetry.run_file import RunFile


def _absent(folder: Path) -> None:
    """Nothing is there."""


def _a_file(folder: Path) -> None:
    folder.write_text("no folder")


def test_it_says_what_the_process_works_on_until_it_is_taken_away(tmp_path: Path) -> None:
    file = RunFile("sink", tmp_path)
    file.write({"orders": {2, 0}}, metrics="http://127.0.0.1:1/metrics")
    (path,) = tmp_path.iterdir()
    assert path.name == f"sink-{os.getpid()}.json"
    assert json.loads(path.read_text()) == {"kind": "sink", "pid": os.getpid(), "partitions": {"orders": [0, 2]}, "metrics": "http://127.0.0.1:1/metrics"}
    file.remove()
    assert not list(tmp_path.iterdir())


def test_a_folder_that_is_not_there_is_made(tmp_path: Path) -> None:
    RunFile("sink", tmp_path / "home" / "run").write({})
    assert len(list((tmp_path / "home" / "run").iterdir())) == 1


@pytest.mark.parametrize("harm", [_absent, _a_file])
def test_a_folder_that_was_taken_away_ends_nobody(tmp_path: Path, harm: Callable[[Path], None], caplog: pytest.LogCaptureFixture) -> None:
    """A sink died of it at its next rebalance, and again at each start, until the folder was back."""
    folder = tmp_path / "run"
    file = RunFile("sink", folder)
    file.write({})
    folder.rename(tmp_path / "aside")
    harm(folder)
    file.write({"orders": [1]})
    file.remove()
    assert (harm is _a_file) == ("cannot be written" in caplog.text)


def test_without_a_folder_nothing_is_written() -> None:
    file = RunFile("sink", None)
    file.write({})
    file.remove()
