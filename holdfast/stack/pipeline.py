"""The one list of what runs on top of the servers: the set-up steps, then the processes, in the order they start."""

import sys
from collections.abc import Iterable, Mapping

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


PROVIDER = "provider"


def wants_provider(environ: Mapping[str, str]) -> bool:
    """Whether payments are asked over HTTP and nobody says where: then the stack runs a sandbox provider of its own."""
    return environ.get("HOLDFAST_PAYMENT_PROVIDER") == "http" and not environ.get("HOLDFAST_PAYMENT_URL")


def provider(port: int) -> Task:
    """The stack's own payment provider; it starts before the workers, which ask it."""
    return Task(PROVIDER, PROVIDER, ("holdfast", "provider", "--port", str(port)))


def payment_url(tasks: Iterable[Task]) -> str | None:
    """Where the stack's own payment provider listens, if there is one among these."""
    ports = (task.argv[-1] for task in tasks if task.kind == PROVIDER)
    return next((f"http://127.0.0.1:{port}" for port in ports), None)


def command_line(argv: tuple[str, ...]) -> list[str]:
    """The words to execute: `holdfast` is run by this very interpreter, whatever PATH says."""
    program = [sys.executable, "-m", "holdfast"] if argv[0] == "holdfast" else [argv[0]]
    return [*program, *argv[1:]]
