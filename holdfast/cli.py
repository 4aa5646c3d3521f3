"""The `holdfast` command: its subcommands by the module that holds each, loaded when one is asked for."""

import gc
import importlib
import sys

import click
import structlog

from holdfast.stack.errors import StackError
from schemas import compiled
from schemas.secure import SecurityError

# Command name -> module under holdfast/commands; the module has the click command under the same name,
# with `_` for `-` (or with `_command` behind it where that would hide a name it needs).
COMMANDS = {
    "up": "stack",
    "down": "stack",
    "status": "stack",
    "topics": "topics",
    "schemas": "schemas",
    "load": "load",
    "backfill": "backfill",
    "ids": "ids",
    "worker": "worker",
    "gateway": "gateway",
    "keys": "keys",
    "webhooks": "webhooks",
    "provider": "provider",
    "migrate": "sinks",
    "sink": "sinks",
    "order": "lookups",
    "stock": "lookups",
    "ship": "ship",
    "dead-letters": "dead_letters",
    "history": "history",
    "replay": "replay",
    "repartition": "repartition",
    "audit": "audit",
    "reconcile": "reconcile",
    "watch": "watch",
    "demo": "demo",
}


class Commands(click.Group):
    """Loads a command's module when the command is asked for: `holdfast status` need not import the agents."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 (click calls it so)
        """The commands in the order of the table above."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """The command of that name, or None."""
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"holdfast.commands.{COMMANDS[cmd_name]}")
        name = cmd_name.replace("-", "_")
        command = getattr(module, f"{name}_command", None) or getattr(module, name)
        assert isinstance(command, click.Command), f"{module.__name__}.{name} is no click command"
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the command; what a person has to be told about the stack is an error message, not a traceback."""
        try:
            return super().invoke(ctx)
        except (StackError, SecurityError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="holdfast", message=f"%(prog)s %(version)s, {compiled.describe()}")
def main() -> None:
    """Holdfast: stock and orders decided in the stream, once each."""
    # Rows are many and short-lived, and make no cycles: Python's default of a collection every 700 was a third of a load's CPU.
    gc.set_threshold(100_000, 50, 100)
    # Standard output is for what a command answers; another program may read it.
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
