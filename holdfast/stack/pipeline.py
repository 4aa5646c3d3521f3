"""The one list of what runs on top of the servers: the set-up steps, then the processes, in the order they start."""

import sys

from holdfast.stack.state import Task

SETUP = (
    Task("setup", "topics", ("holdfast", "topics", "create")),
    Task("setup", "migrate", ("holdfast", "migrate")),
)
WORKER = ("holdfast", "worker")
SINKS = {
    "sink-mysql": ("holdfast", "sink", "mysql"),
    "sink-redis": ("holdfast", "sink", "redis"),
}


def processes(workers: int) -> tuple[Task, ...]:
    """The pipeline's processes with `workers` workers."""
    numbered = [Task("worker", f"worker-{number}", WORKER) for number in range(1, workers + 1)]
    return (*numbered, *(Task("sink", name, argv) for name, argv in SINKS.items()))


def command_line(argv: tuple[str, ...]) -> list[str]:
    """The words to execute: `holdfast` is run by this very interpreter, whatever PATH says."""
    program = [sys.executable, "-m", "holdfast"] if argv[0] == "holdfast" else [argv[0]]
    return [*program, *argv[1:]]
