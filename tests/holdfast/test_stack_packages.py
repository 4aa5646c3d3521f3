"""Programs: found, missing, installed."""

import os
from pathlib import Path

import pytest

from holdfast.stack import packages
from holdfast.stack.errors import MissingProgramError


def fake(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod(0o755)


def test_a_missing_program_is_named_with_the_command_that_installs_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(packages, "SYSTEM_FOLDERS", ())
    monkeypatch.setattr(packages, "DEBIAN", tmp_path)
    for program, package in [("mvn", "maven"), ("mariadbd", "mariadb-server"), ("redis-server", "redis-server")]:
        with pytest.raises(MissingProgramError, match=f"^{program} is not installed: run `sudo apt-get install {package}`"):
            packages.require(program)
    assert packages.missing(["mvn", "mariadbd", "mariadb-install-db"]) == ["mariadb-server", "maven"]


def test_a_java_that_is_too_old_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "old", "java", """echo 'openjdk version "1.8.0_392"' >&2""")
    fake(tmp_path / "new", "java", """echo 'openjdk version "21.0.4" 2024-07-16' >&2""")
    monkeypatch.setattr(packages, "SYSTEM_FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    with pytest.raises(MissingProgramError, match="java 17 or newer"):
        packages.require("java")
    monkeypatch.setenv("PATH", str(tmp_path / "new"))
    assert packages.require("java") == str(tmp_path / "new" / "java")


def test_installing_starts_no_service_and_leaves_no_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    policy = tmp_path / "policy-rc.d"
    fake(tmp_path / "bin", "apt-get", f'echo "$@ $DEBIAN_FRONTEND"; {policy} || echo "services: $?"')
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(packages, "SERVICE_POLICY", policy)
    packages.install(["maven", "redis-server"], tmp_path / "log")
    assert (tmp_path / "log").read_text().splitlines() == [
        "update noninteractive",
        "services: 101",
        "install --yes --no-install-recommends maven redis-server noninteractive",
        "services: 101",
    ]
    assert not policy.exists()


def test_a_failed_installation_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(tmp_path / "bin", "apt-get", "exit 100")
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    monkeypatch.setattr(packages, "SERVICE_POLICY", tmp_path / "policy-rc.d")
    with pytest.raises(MissingProgramError, match="could not install maven"):
        packages.install(["maven"], tmp_path / "log")
