"""The command: what it refuses, and what it makes of rounds that are there already."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from bench import report
from bench.__main__ import Session, main
from bench.plan import chosen, parts

OPTIONS = {"seconds": 2.0, "partitions": 8, "quick": False, "path_partitions": 8, "data": "online-retail-sample.csv.xz", "rounds": 1}
ROUND = {
    **{"part": "bare_loop_1.uniform", "round": 1, "per_s": 5.0, "warm_per_s": 6.0, "cpu_s_per_100k": 1.0, "servers_cpu_s_per_100k": 1.0},
    **{"peak_mb": 9.0, "orders": 7_000, "right": True, "verdict": "right"},
}


def call(*arguments: str) -> tuple[int, str, str]:
    """Return exit code, output, errors."""
    done = CliRunner().invoke(main, arguments)
    return done.exit_code, done.stdout, done.stderr


def resumed(path: Path, *arguments: str) -> tuple[int, str, str]:
    return call("--resume", "--output", str(path), "--only", "bare_loop_1", "--rounds", "1", *arguments)


def test_the_list_names_every_part() -> None:
    code, said, _ = call("--list")
    assert code == 0
    assert said.split() == [part.name for part in parts()]


@pytest.mark.parametrize(
    "wrong", [("--only", "nothing"), ("--rounds", "0"), ("--seconds", "0"), ("--minutes", "0"), ("--partitions", "0"), ("--data", "nowhere.csv")]
)
def test_what_cannot_be_used_is_refused(wrong: tuple[str, str]) -> None:
    code, _, errors = call(*wrong)
    assert code == 2
    assert wrong[0].strip("-") in errors or wrong[1] in errors


def test_a_call_that_finds_everything_measured_starts_nothing(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    report.write(path, report.document({**report_machine(), "cpu": "then"}, OPTIONS, [ROUND]))
    code, said, _ = resumed(path, "--seconds", "2", "--json")
    assert code == 0
    assert json.loads(said)["rounds"] == [ROUND]
    code, said, _ = resumed(path, "--seconds", "2")
    assert "| bare confluent-kafka loop, exactly once, 1 process | 7,000 | 5 | 6 |" in said


def test_rounds_of_other_work_are_not_mixed_in(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    report.write(path, report.document(report_machine(), OPTIONS, [ROUND]))
    code, _, errors = resumed(path, "--seconds", "3")
    assert code == 2
    assert "other work" in errors


def test_what_failed_or_was_wrong_is_to_be_run_again(tmp_path: Path) -> None:
    (part,) = chosen(["bare_loop_1"])
    session = Session(OPTIONS, tmp_path / "results.json", None, Path("x.csv"))
    assert not session.has(1, part)
    session.note({**ROUND, "right": False, "verdict": "WRONG"})
    assert not session.has(1, part)
    session.note({"part": part.name, "round": 1, "error": "killed"})
    assert not session.has(1, part)
    session.note(ROUND)
    assert session.has(1, part)
    assert not session.has(2, part)
    assert session.rounds == [ROUND]
    assert report.read(session.output)["rounds"] == [ROUND]


def report_machine() -> dict[str, object]:
    return {"cpu": "a CPU", "cores": 2, "memory_gb": 1.0, "system": "Linux", "python": "3", "java": "17"}
