"""Bring the stack up, take it down."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field, replace

from holdfast.stack import packages, pipeline
from holdfast.stack.addresses import Endpoints, given
from holdfast.stack.child import MARK
from holdfast.stack.errors import ProcessFailedError, StackError
from holdfast.stack.files import last_lines, locked, read_json, write_json
from holdfast.stack.health import CHECKS
from holdfast.stack.home import CACHE_VARIABLE, HOME_VARIABLE, Home, project_root
from holdfast.stack.kafka import brokers_in
from holdfast.stack.ports import assign_ports
from holdfast.stack.processes import ProcessId, is_alive, stop, with_variable
from holdfast.stack.servers import PROGRAMS, SERVES, Server, endpoints_of, kind_of, make, names, ports_of
from holdfast.stack.state import Plan, StackState, Task, read_plan, read_state, running_state
from holdfast.stack.supervisor import SUPERVISOR_MARK

Report = Callable[[str], None]
READY_S = 600.0
STOP_S = 150.0
TICK_S = 0.1
GONE_S = 3.0
"""Unseen for so long, a supervisor has ended: one that is just becoming a process of its own is missed now and then."""


@dataclass(frozen=True)
class Wish:
    """What the caller of `up` wants. `workers` and `gateways` None: as many as run now, or one; `brokers` None: as many as the home
    has, or one. `environment` is added to that of all that is started."""

    workers: int | None = None
    gateways: int | None = None
    brokers: int | None = None
    servers_only: bool = False
    setup: tuple[Task, ...] = pipeline.SETUP
    processes: Callable[[int], tuple[Task, ...]] = pipeline.processes
    owner: ProcessId | None = None
    environment: Mapping[str, str] = field(default_factory=dict)


def up(home: Home, wish: Wish, report: Report, environ: Mapping[str, str] = os.environ) -> Plan:
    """Bring the stack up, or a running one to what is wished; returns when all of it is healthy.

    Raises StackError saying what failed, with the end of the log that tells why.
    """
    home.create()
    with locked(home.lock_file):
        running = running_state(home)
        plan = _change(home, wish, running, given(environ)) if running else _start(home, wish, report, given(environ))
        _wait_ready(home, plan, report)
        return plan


def down(home: Home, wipe: bool = False) -> list[ProcessId]:
    """Stop the stack, also what a supervisor that died left behind; returns what was stopped. `wipe` removes the data."""
    # Processes may outlive a home that somebody removed: they are looked for all the same.
    with locked(home.lock_file) if home.root.exists() else nullcontext():
        stopped = _stop_all(set(with_variable(SUPERVISOR_MARK, str(home.root))), STOP_S) + stop_orphans(home)
        if wipe:
            home.wipe()
    return stopped


def stop_orphans(home: Home) -> list[ProcessId]:
    """Stop the processes of this home that no supervisor looks after any more, the youngest first."""
    state = read_state(home)
    known = {each.process for each in state.processes if each.process and is_alive(each.process)} if state else set()
    return _stop_all(known | set(with_variable(MARK, str(home.root))), 30.0)


def _stop_all(found: set[ProcessId], grace_s: float) -> list[ProcessId]:
    others = [process for process in found if process.pid != os.getpid()]
    for process in sorted(others, key=lambda process: process.ticks, reverse=True):
        stop(process, grace_s)
    return others


# ---------------------------------------------------------------------- a new stack


def _start(home: Home, wish: Wish, report: Report, external: dict[str, str]) -> Plan:
    for process in stop_orphans(home):
        report(f"stopped process {process.pid}, left behind by an earlier supervisor")
    for name, address in external.items():
        CHECKS[name](address)
    wanted = tuple(name for name in names(_brokers(home, wish)) if SERVES[kind_of(name)] not in external)
    _ensure_programs(home, wanted, report)
    servers = _prepare(home, wanted, report)
    processes = _processes(home, wish)
    previous = read_plan(home)
    plan = Plan(
        generation=previous.generation + 1 if previous else 1,
        endpoints=Endpoints(**(endpoints_of(servers) | external)),
        servers=wanted,
        ports=read_json(home.ports_file, dict[str, int]) or {},
        setup=() if wish.servers_only else wish.setup,
        processes=processes,
        owner=wish.owner,
    )
    write_json(home.plan_file, plan)
    home.forget_processes()
    url = pipeline.payment_url(processes)
    _launch(home, {**wish.environment, **({"HOLDFAST_PAYMENT_URL": url} if url else {})})
    return plan


def _processes(home: Home, wish: Wish) -> tuple[Task, ...]:
    """What a new stack runs on its servers. A payment provider of its own keeps its port, as the servers do."""
    if wish.servers_only:
        return ()
    tasks = (*wish.processes(1 if wish.workers is None else wish.workers), *_gateways(home, wish, ()))
    if not pipeline.wants_provider({**os.environ, **wish.environment}):
        return tasks
    return (pipeline.provider(_kept_port(home, pipeline.PROVIDER)), *tasks)


def _gateways(home: Home, wish: Wish, planned: tuple[Task, ...]) -> tuple[Task, ...]:
    """The gateways wished beside what is planned; more of them listen where the first one does."""
    running = sum(task.kind == pipeline.GATEWAY for task in planned)
    count = (running if planned else 1) if wish.gateways is None else wish.gateways
    if not count:
        return ()
    environ = {**os.environ, **wish.environment}
    address = pipeline.gateway_address(planned)
    host, port = address or (pipeline.wished_host(environ), pipeline.wished_port(environ) or _kept_port(home, pipeline.GATEWAY))
    return pipeline.gateways(count, host, port)


def _kept_port(home: Home, name: str) -> int:
    ports = assign_ports([name], read_json(home.ports_file, dict[str, int]) or {})
    write_json(home.ports_file, ports)
    return ports[name]


def _brokers(home: Home, wish: Wish) -> int:
    """How many brokers the home's cluster has. Raises StackError when another number is wished than it began with."""
    has = len(brokers_in(read_json(home.ports_file, dict[str, int]) or {}))
    wished = wish.brokers or has or 1
    if has not in (0, wished):
        raise StackError(
            f"{home.root} began with {has} broker{'s' * (has > 1)} and keeps them: run `holdfast down --wipe` first, or set HOLDFAST_HOME to another folder"
        )
    return wished


def _ensure_programs(home: Home, servers: tuple[str, ...], report: Report) -> None:
    programs = list(dict.fromkeys(program for name in servers for program in PROGRAMS[kind_of(name)]))
    wanted = packages.missing(programs)
    if wanted and packages.can_install():
        report(f"installing {' '.join(wanted)}")
        packages.install(wanted, home.log("packages"))
    for program in programs:
        packages.require(program)


def _prepare(home: Home, wanted: tuple[str, ...], report: Report) -> dict[str, Server]:
    ports = assign_ports([port for name in wanted for port in ports_of(name)], read_json(home.ports_file, dict[str, int]) or {})
    write_json(home.ports_file, ports)
    servers = {name: make(name, home, ports) for name in wanted}
    report(f"preparing {', '.join(wanted)}" if wanted else "nothing to start: all endpoints are given")
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(server.prepare) for server in servers.values()]:
            done.result()
    return servers


def _launch(home: Home, environment: Mapping[str, str]) -> None:
    own = {HOME_VARIABLE: str(home.root), CACHE_VARIABLE: str(home.cache), SUPERVISOR_MARK: str(home.root)}
    with home.log("supervisor").open("ab") as output:
        subprocess.Popen(
            [sys.executable, "-m", "holdfast.stack.supervisor"],
            cwd=project_root(),
            env={**os.environ, **environment, **own},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


# ---------------------------------------------------------------------- a running stack


def _change(home: Home, wish: Wish, running: StackState, external: dict[str, str]) -> Plan:
    _brokers(home, wish)
    plan = read_plan(home)
    if plan is None:
        raise StackError(f"{home.plan_file} is gone while its stack runs: run `holdfast down`, then `holdfast up`")
    for name, address in external.items():
        if getattr(plan.endpoints, name) != address:
            raise StackError(f"the running stack uses another {name} than the environment names: run `holdfast down` first")
    processes = _wanted(home, plan, wish, running)
    if processes == plan.processes and running.phase != "failed":
        return plan
    changed = replace(plan, generation=plan.generation + 1, processes=processes, setup=wish.setup if processes else ())
    write_json(home.plan_file, changed)
    return changed


def _wanted(home: Home, plan: Plan, wish: Wish, running: StackState) -> tuple[Task, ...]:
    """`up` adds to what runs; it takes away only workers and gateways, and only when told a smaller number.

    What was planned but does not run (the pipeline failed) is not kept: the fault may be in it.
    """
    names = {process.name for process in running.processes}
    kept = tuple(task for task in plan.processes if task.name in names or task.kind == pipeline.PROVIDER)
    if wish.servers_only:
        return kept
    workers = sum(task.kind == "worker" for task in plan.processes)
    wanted = (*wish.processes((workers or 1) if wish.workers is None else wish.workers), *_gateways(home, wish, plan.processes))
    own = {task.name for task in wanted}
    others = [task for task in kept if task.kind not in ("worker", pipeline.GATEWAY) and task.name not in own]
    return (*(task for task in others if task.kind == pipeline.PROVIDER), *wanted, *(task for task in others if task.kind != pipeline.PROVIDER))


# ---------------------------------------------------------------------- waiting


def _wait_ready(home: Home, plan: Plan, report: Report) -> None:
    deadline = time.monotonic() + READY_S
    said, alive_at = "", time.monotonic()
    while time.monotonic() < deadline:
        state = _state_of(home, plan)
        if state or _has_supervisor(home):
            alive_at = time.monotonic()
        elif time.monotonic() - alive_at > GONE_S:
            log = home.log("supervisor")
            raise ProcessFailedError(f"the supervisor ended; its log {log} ends with:\n{last_lines(log)}")
        if state and state.doing not in ("", said):
            said = state.doing
            report(said)
        if state and _is_ready(state):
            return
        time.sleep(TICK_S)
    raise ProcessFailedError(f"the stack was not healthy after {READY_S:.0f} s: look at `holdfast status` and {home.logs}")


def _is_ready(state: StackState) -> bool:
    if state.phase == "failed":
        raise ProcessFailedError(state.error)
    return state.phase == "ready" and all(process.status == "running" for process in state.processes)


def _state_of(home: Home, plan: Plan) -> StackState | None:
    """The state that speaks of this plan, None before there is one or when nobody is left to write it."""
    state = read_state(home)
    mine = state and state.generation == plan.generation and (state.phase == "failed" or is_alive(state.supervisor))
    return state if mine else None


def _has_supervisor(home: Home) -> bool:
    return next(with_variable(SUPERVISOR_MARK, str(home.root)), None) is not None
