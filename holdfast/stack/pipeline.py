"""The one list of what runs on top of the servers: the set-up steps, then the processes, in the order they start."""

import sys
from collections.abc import Iterable, Mapping

from holdfast.stack.errors import StackError
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
WEBHOOKS = Task("webhooks", "webhooks", ("holdfast", "webhooks", "run"))


def processes(workers: int) -> tuple[Task, ...]:
    """The pipeline's processes with `workers` workers."""
    numbered = [Task("worker", f"worker-{number}", WORKER) for number in range(1, workers + 1)]
    return (*numbered, *(Task("sink", name, argv) for name, argv in SINKS.items()), WEBHOOKS)


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


GATEWAY = "gateway"
HOST_VARIABLE, PORT_VARIABLE = "HOLDFAST_GATEWAY_HOST", "HOLDFAST_GATEWAY_PORT"


def gateways(count: int, host: str, port: int) -> tuple[Task, ...]:
    """So many gateways; they share one address, and the kernel shares out who connects."""
    argv = ("holdfast", "gateway", "--host", host, "--port", str(port))
    return tuple(Task(GATEWAY, f"{GATEWAY}-{number}", argv) for number in range(1, count + 1))


def gateway_url(tasks: Iterable[Task]) -> str | None:
    """Where the stack's gateways listen, if there are any among these."""
    address = gateway_address(tasks)
    return f"http://{f'[{address[0]}]' if ':' in address[0] else address[0]}:{address[1]}" if address else None


def gateway_address(tasks: Iterable[Task]) -> tuple[str, int] | None:
    """Host and port of the gateways among these, if there are any."""
    found = next((task.argv for task in tasks if task.kind == GATEWAY), None)
    return (found[found.index("--host") + 1], int(found[found.index("--port") + 1])) if found else None


def wished_host(environ: Mapping[str, str]) -> str:
    """The address on which new gateways listen: the environment's, else loopback."""
    return environ.get(HOST_VARIABLE) or "127.0.0.1"


def wished_port(environ: Mapping[str, str]) -> int | None:
    """The port that the environment names for gateways; raises StackError for one that is no port."""
    named = environ.get(PORT_VARIABLE, "")
    if not named:
        return None
    if not named.isascii() or not named.isdigit() or not 1 <= int(named) <= 65_535:
        raise StackError(f"{PORT_VARIABLE} is {named!r}: use a port, 1 to 65535")
    return int(named)


def command_line(argv: tuple[str, ...]) -> list[str]:
    """The words to execute: `holdfast` is run by this very interpreter, whatever PATH says."""
    program = [sys.executable, "-m", "holdfast"] if argv[0] == "holdfast" else [argv[0]]
    return [*program, *argv[1:]]
