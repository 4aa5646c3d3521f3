"""The home of a stack and its files."""

import os
import stat
import threading
from pathlib import Path

import pytest

from holdfast.stack import processes
from holdfast.stack.errors import StackError
from holdfast.stack.files import last_lines, locked, read_json, write_atomically, write_json
from holdfast.stack.home import Home
from holdfast.stack.state import ProcessState, StackState


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home", tmp_path / "cache")
    home.create()
    return home


def test_the_home_comes_from_the_environment(tmp_path: Path) -> None:
    home = Home.from_environment({"HOLDFAST_HOME": str(tmp_path / "a"), "HOLDFAST_CACHE": str(tmp_path / "b")})
    assert (home.root, home.cache) == (tmp_path / "a", tmp_path / "b")


def test_a_home_of_its_own_shares_the_projects_cache(tmp_path: Path) -> None:
    here, elsewhere = Home.from_environment({}), Home.from_environment({"HOLDFAST_HOME": str(tmp_path)})
    assert elsewhere.cache == here.cache == here.root / "cache"


def test_wipe_removes_only_what_the_stack_made(home: Home) -> None:
    (home.root / "mine.txt").write_text("keep")
    (home.data("kafka")).mkdir()
    home.password_file.write_text("x")
    home.wipe()
    assert [path.name for path in home.root.iterdir()] == ["mine.txt"]


def test_a_reader_sees_the_old_file_or_the_new_one(tmp_path: Path) -> None:
    path, stop = tmp_path / "file", threading.Event()
    contents = [b"a" * 300_000, b"b" * 500_000]
    write_atomically(path, contents[0])

    def write() -> None:
        while not stop.is_set():
            for content in contents:
                write_atomically(path, content)

    writer = threading.Thread(target=write)
    writer.start()
    seen = {path.read_bytes() for _ in range(300)}
    stop.set()
    writer.join()
    assert seen <= set(contents), f"half a file: {[len(each) for each in seen]}"


def test_a_failed_write_leaves_the_old_file_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")

    def full(_handle: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_files_are_for_their_owner_only(tmp_path: Path) -> None:
    write_atomically(tmp_path / "secret", b"x")
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600


def test_the_state_survives_its_file(home: Home) -> None:
    me = processes.myself()
    state = StackState(me, 3, "ready", processes=[ProcessState("worker", "worker-1", me, "running", 2, "x.log")])
    write_json(home.state_file, state)
    assert read_json(home.state_file, StackState) == state


@pytest.mark.parametrize("content", ["", "{", "[]", '{"supervisor": 1}', "\x00\xff"])
def test_a_spoilt_state_file_is_named(home: Home, content: str) -> None:
    home.state_file.write_text(content)
    with pytest.raises(StackError, match=r"state\.json cannot be read .* remove it"):
        read_json(home.state_file, StackState)


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    held: list[str] = []

    def second() -> None:
        with locked(tmp_path / "lock"):
            held.append("second")

    with locked(tmp_path / "lock"):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.3)
        held.append("first")
    other.join()
    assert held == ["first", "second"]


def test_last_lines_of_a_log(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert last_lines(log) == "(the log is empty)"
    log.write_text("".join(f"line {n}\n" for n in range(50_000)))
    assert last_lines(log, 2) == "line 49998\nline 49999"
