"""The archive of Kafka's classes: made once, by a server that answered and was told to end; where it cannot be made nothing breaks."""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from holdfast.stack import class_archive
from holdfast.stack.errors import NotHealthyError

# A server that writes what its option says when it is told to end, as the JVM does.
SERVER = """
import pathlib, signal, sys, time
def end(*_): pathlib.Path(sys.argv[1].partition("=")[2]).write_text("classes"); sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path(sys.argv[2]).touch()
time.sleep(60)
"""


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "classes.jsa"


def check_of(answers: Path) -> Callable[[], None]:
    def check() -> None:
        if not answers.exists():
            raise NotHealthyError("not yet")

    return check


def ensure(archive: Path, program: str, runs: list[str] | None = None) -> bool:
    answers = archive.with_name("answers")

    def trial(option: str) -> Sequence[str]:
        if runs is not None:
            runs.append(option)
        return [sys.executable, "-c", program, option, str(answers)]

    return class_archive.ensure(archive, trial, check_of(answers), archive.with_name("log"))


def test_it_is_made_once(archive: Path) -> None:
    runs: list[str] = []
    assert ensure(archive, SERVER, runs)
    assert ensure(archive, SERVER, runs)
    assert archive.read_text() == "classes"
    assert len(runs) == 1
    assert class_archive.options(archive) == [f"-XX:SharedArchiveFile={archive}"]


@pytest.mark.parametrize("program", ["raise SystemExit(1)", SERVER.replace('write_text("classes")', "exists()")], ids=["never answers", "writes nothing"])
def test_without_it_the_server_starts_as_ever(program: str, archive: Path) -> None:
    assert not ensure(archive, program)
    assert class_archive.options(archive) == [], "the JVM takes a missing archive for a reason to do without its own"


def test_another_java_or_other_jars_have_another(tmp_path: Path) -> None:
    java, other = tmp_path / "java", tmp_path / "other"
    java.touch()
    other.touch()
    places = {class_archive.place(tmp_path, str(program), tmp_path / jars) for program in (java, other) for jars in ("kafka-1", "kafka-2")}
    assert len(places) == 4
