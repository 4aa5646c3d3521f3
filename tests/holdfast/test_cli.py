"""Every command of the table is there and says what it does."""

from pathlib import Path

import pytest
from click.testing import CliRunner

import holdfast.commands
from holdfast.cli import COMMANDS, main


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help(name: str) -> None:
    said = CliRunner().invoke(main, [name, "--help"])
    assert said.exit_code == 0, said.output
    assert f"Usage: main {name}" in said.output


def test_no_module_of_commands_is_forgotten() -> None:
    folder = Path(str(holdfast.commands.__file__)).parent
    modules = {file.stem for file in folder.glob("[!_]*.py")}
    assert modules == set(COMMANDS.values())


def test_an_unknown_command_is_refused() -> None:
    said = CliRunner().invoke(main, ["no-such-command"])
    assert said.exit_code == 2
    assert "No such command" in said.output
