"""What is to run (the plan, written by `up`) and what runs (the state, written by the supervisor alone)."""

from dataclasses import dataclass, field
from typing import Literal

from holdfast.stack.addresses import Endpoints
from holdfast.stack.files import read_json
from holdfast.stack.home import Home
from holdfast.stack.processes import ProcessId, is_alive

Phase = Literal["starting", "ready", "failed", "stopped"]
Status = Literal["starting", "running", "waiting", "stopped"]


@dataclass(frozen=True)
class Task:
    """A command of the pipeline: `kind` says what it is, `name` which one of its kind. `holdfast` as the first
    word stands for this program."""

    kind: str
    name: str
    argv: tuple[str, ...]


@dataclass(frozen=True)
class Plan:
    """What is to run. `generation` grows with every `up`; `owner`, if any, takes the stack with it when it ends."""

    generation: int
    endpoints: Endpoints
    servers: tuple[str, ...]
    ports: dict[str, int]
    setup: tuple[Task, ...] = ()
    processes: tuple[Task, ...] = ()
    owner: ProcessId | None = None


@dataclass
class ProcessState:
    """One process as the supervisor last saw it."""

    kind: str
    name: str
    process: ProcessId | None
    status: Status
    restarts: int
    log: str


@dataclass
class StackState:
    """What runs. `generation` is the plan's that `phase` speaks of; `doing` is the step under way."""

    supervisor: ProcessId
    generation: int
    phase: Phase
    doing: str = ""
    error: str = ""
    processes: list[ProcessState] = field(default_factory=list)


def read_plan(home: Home) -> Plan | None:
    """The last plan, or None in a home never started."""
    return read_json(home.plan_file, Plan)


def read_state(home: Home) -> StackState | None:
    """The last state, or None in a home never started. Its supervisor may be gone: see `running_state`."""
    return read_json(home.state_file, StackState)


def running_state(home: Home) -> StackState | None:
    """The state, if its supervisor is still running."""
    state = read_state(home)
    return state if state and is_alive(state.supervisor) else None


def running_plan(home: Home) -> Plan | None:
    """The plan, if its supervisor is still running."""
    return read_plan(home) if running_state(home) else None
