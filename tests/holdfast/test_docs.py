"""What the documents name is there: files, commands, settings; what they show in Python is Python."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import click
import pytest

from holdfast.cli import COMMANDS, main

ROOT = Path(__file__).parents[2]
DOCUMENTS = sorted(
    path
    for path in (*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("*/**/README.md"))
    if not set(path.parts) & {".venv", ".holdfast", "node_modules"}
)
FOLDERS = ("schemas", "ingest", "streams", "sinks", "holdfast", "bench", "tests", "docs", "failpoints", "data", "deploy")
_PATH = re.compile(rf"`((?:{'|'.join(FOLDERS)})/[\w./-]*)(?:::\w+)?`")
_COMMAND = re.compile(r"`holdfast ([a-z][a-z-]*)(?: ([a-z][a-z-]*))?")
_SETTING = re.compile(r"HOLDFAST_[A-Z0-9_]+[A-Z0-9]")
PACKAGES = ("schemas", "telemetry", "generations", "failpoints", "ingest", "streams", "sinks", "holdfast", "bench", "tests")
SOURCES = (
    *(path for folder in PACKAGES for path in ROOT.glob(f"{folder}/**/*.py")),
    *ROOT.glob("docker-compose.yml"),
    *ROOT.glob("docker/**/*.sh"),
    *ROOT.glob("deploy/**/*.y*ml"),
)
CODE = "\n".join(path.read_text(errors="replace") for path in SOURCES)
_IDS = [str(path.relative_to(ROOT)) for path in DOCUMENTS]


@pytest.mark.parametrize("document", DOCUMENTS, ids=_IDS)
def test_every_file_it_names_is_there(document: Path) -> None:
    named = set(_PATH.findall(document.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not _is_there(name)) == []


def _is_there(name: str) -> bool:
    """Whether a path exists, its ending left out or not; a name in capitals stands for any, and a bench writes its own."""
    if (re.search(r"\b[A-Z]{2,}\b", name.rpartition("/")[2].partition(".")[0]) and "README" not in name) or re.fullmatch(r"bench/\w+\.json", name):
        return True
    return (ROOT / name).exists() or any(ROOT.glob(f"{name.rstrip('/')}.*"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=_IDS)
def test_every_command_it_names_is_there(document: Path) -> None:
    context = click.Context(main)
    for name, inner in _COMMAND.findall(document.read_text(encoding="utf-8")):
        assert name in COMMANDS, f"holdfast {name}"
        command = main.get_command(context, name)
        if isinstance(command, click.Group) and inner:
            assert inner in command.commands, f"holdfast {name} {inner}"


@pytest.mark.parametrize("document", DOCUMENTS, ids=_IDS)
def test_every_setting_it_names_is_read_somewhere(document: Path) -> None:
    known = set(_SETTING.findall(CODE))
    named = set(_SETTING.findall(document.read_text(encoding="utf-8")))
    assert sorted(name for name in named if not _is_read(name, known)) == []


def _is_read(name: str, known: set[str]) -> bool:
    """Whether the code names it, or what begins with it; settings classes name their fields in lower case, without the prefix."""
    if name in known or any(each.startswith(f"{name}_") for each in known):
        return True
    field = name.removeprefix("HOLDFAST_").lower()
    return re.search(rf"\b{field}: ", CODE) is not None


@pytest.mark.parametrize("document", DOCUMENTS, ids=_IDS)
def test_its_python_is_python(document: Path) -> None:
    for program in re.findall(r"```python\n(.*?)```", document.read_text(encoding="utf-8"), re.DOTALL):
        ast.parse(program)
