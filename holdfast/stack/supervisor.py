"""The process that runs the stack: starts what the plan names, keeps it running, stops it in reverse order.

It is started by `holdfast up`, detached, and talks to the other commands by files alone: it reads the plan, it
writes the state.
"""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import FrameType
from typing import NoReturn

from holdfast.stack.child import MARK, Child
from holdfast.stack.errors import NotHealthyError, ProcessFailedError, StackError
from holdfast.stack.files import last_lines, write_json
from holdfast.stack.health import CHECKS, check_gateway
from holdfast.stack.home import CACHE_VARIABLE, HOME_VARIABLE, Home
from holdfast.stack.pipeline import GATEWAY, command_line, gateway_url
from holdfast.stack.processes import is_alive, myself
from holdfast.stack.servers import SERVES, kind_of, make
from holdfast.stack.state import Phase, Plan, StackState, Task, read_plan

# Carried by the supervisor alone, as MARK is by what it starts.
SUPERVISOR_MARK = "HOLDFAST_SUPERVISOR_OF"
RUN_VARIABLE = "HOLDFAST_RUN_DIR"
METRICS_VARIABLE = "HOLDFAST_METRICS_PORT"
TICK_S = 0.2
SERVER_READY_S = 240.0
SETUP_S = 300.0
# A process of the pipeline is up when it has written its run file; one that has nothing to say (a worker beyond the
# number of partitions) when it has lived this long.
SETTLED_S = 20.0


class StopRequested(Exception):  # noqa: N818 (an order, no error)
    """Somebody asked the supervisor to stop."""


class Supervisor:
    """Runs one home's stack until it is told to stop."""

    def __init__(self, home: Home, plan: Plan) -> None:
        self._home = home
        self._plan = plan
        self._servers: dict[str, Child] = {}
        self._addresses: dict[str, str] = {}
        self._pipeline: dict[str, Child] = {}
        self._stopping = False
        self._state = StackState(myself(), plan.generation, "starting")
        self._written: StackState | None = None

    def run(self) -> int:
        """Start everything, look after it, stop everything. The exit code is 0 if the servers came up."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_to_stop)
        problem = ""
        try:
            self._start_servers()
            self._apply(self._plan)
            self._look_after()
        except StopRequested:
            pass
        except StackError as error:
            problem = str(error)
        finally:
            self._stop_everything()
        # Only now: whoever reads that the stack failed or stopped may start it again at once.
        self._note("failed" if problem else "stopped", error=problem)
        return 1 if problem else 0

    def _ask_to_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stopping = True

    # ------------------------------------------------------------------ starting

    def _start_servers(self) -> None:
        environment = os.environ | {MARK: str(self._home.root)}
        for name in self._plan.servers:
            server = make(name, self._home, self._plan.ports)
            child = Child(kind_of(name), name, server.command(), environment, self._home.log(name))
            self._servers[name], self._addresses[name] = child, server.endpoint()
            child.start()
        served = {SERVES[child.kind] for child in self._servers.values()}
        for name in CHECKS.keys() - served:
            # A server that we did not start is up or it is not: there is nothing to wait for.
            CHECKS[name](getattr(self._plan.endpoints, name))
        for child in self._servers.values():
            self._wait_healthy(child)

    def _wait_healthy(self, child: Child) -> None:
        self._note("starting", doing=f"waiting for {child.name}")
        self._wait(lambda: self._answers(child), SERVER_READY_S, child.name, child)
        child.status = "running"

    def _answers(self, child: Child) -> bool:
        try:
            CHECKS[SERVES[child.kind]](self._addresses[child.name])
        except NotHealthyError:
            return False
        return True

    def _wait(self, done: Callable[[], bool], seconds: float, name: str, child: Child | None) -> None:
        deadline = time.monotonic() + seconds
        while True:
            self._heed_orders()
            # Before `done`, not after: a step that ends well between the two has not failed.
            code = child.exit_code() if child else None
            if done():
                return
            if child and code is not None:
                raise self._failed(child.name, f"ended with exit code {code}", child.log)
            if time.monotonic() > deadline:
                raise self._failed(name, f"was not healthy after {seconds:.0f} s", self._home.log(name))
            time.sleep(TICK_S)

    def _failed(self, name: str, what: str, log: Path) -> ProcessFailedError:
        return ProcessFailedError(f"{name} {what}; its log {log} ends with:\n{last_lines(log)}")

    # ------------------------------------------------------------------ the pipeline

    def _apply(self, plan: Plan) -> None:
        """Make the pipeline what the plan says. A failure there leaves the servers running: they are not at fault."""
        self._plan = plan
        self._note("starting", doing="starting the pipeline" if plan.processes else "")
        try:
            self._stop_pipeline({task.name for task in plan.processes})
            for task in plan.setup:
                self._set_up(task)
            self._start_pipeline(plan.processes)
            self._note("ready")
        except ProcessFailedError as error:
            self._stop_pipeline(set())
            self._note("failed", error=str(error))

    def _set_up(self, task: Task) -> None:
        log = self._home.log(task.name)
        self._note("starting", doing=f"running `{' '.join(task.argv)}`")
        step = Child(task.kind, task.name, command_line(task.argv), self._environment(task), log)
        step.start()
        try:
            self._wait(lambda: step.exit_code() == 0, SETUP_S, task.name, step)
        finally:
            step.ask_to_stop()
            step.wait_stopped()

    def _start_pipeline(self, tasks: tuple[Task, ...]) -> None:
        new = [task for task in tasks if task.name not in self._pipeline]
        for task in new:
            log = self._home.log(task.name)
            child = Child(task.kind, task.name, command_line(task.argv), self._environment(task), log)
            self._pipeline[task.name] = child
            child.start()
        for task in new:
            self._note("starting", doing=f"waiting for {task.name}")
            child = self._pipeline[task.name]
            self._wait(lambda child=child: self._is_up(child), SERVER_READY_S, task.name, child)  # type: ignore[misc]
            child.status = "running"

    def _is_up(self, child: Child) -> bool:
        if child.exit_code() is not None:
            return False
        if child.name in self._servers:
            return self._answers(child)
        written = (self._home.run / f"{child.kind}-{child.pid}.json").exists()
        return written and self._takes_orders() if child.kind == GATEWAY else written or child.age_s > SETTLED_S

    def _takes_orders(self) -> bool:
        try:
            check_gateway(gateway_url(self._plan.processes) or "")
        except NotHealthyError:
            return False
        return True

    def _environment(self, task: Task) -> dict[str, str]:
        own = {
            MARK: str(self._home.root),
            HOME_VARIABLE: str(self._home.root),
            CACHE_VARIABLE: str(self._home.cache),
            RUN_VARIABLE: str(self._home.run),
            "HOLDFAST_PROCESS": task.name,
            "PYTHONUNBUFFERED": "1",
            METRICS_VARIABLE: "0",  # several processes: each takes a port that is free, and says which
        }
        return os.environ | own | self._plan.endpoints.variables()

    def _stop_pipeline(self, keep: set[str]) -> None:
        gone = [name for name in self._pipeline if name not in keep]
        stop_all([self._pipeline.pop(name) for name in gone])

    # ------------------------------------------------------------------ the long run

    def _look_after(self) -> NoReturn:
        while True:
            self._heed_orders()
            for child in self._children():
                child.keep_running()
                if child.status == "starting" and self._is_up(child):
                    child.status = "running"
            plan = read_plan(self._home)
            if plan and plan.generation > self._plan.generation:
                self._apply(plan)
            self._note(self._state.phase, error=self._state.error)
            time.sleep(TICK_S)

    def _heed_orders(self) -> None:
        owner = self._plan.owner
        if self._stopping or (owner and not is_alive(owner)):
            raise StopRequested

    def _children(self) -> list[Child]:
        return [*self._servers.values(), *self._pipeline.values()]

    def _note(self, phase: Phase, doing: str = "", error: str = "") -> None:
        processes = [child.state() for child in self._children()]
        state = StackState(self._state.supervisor, self._plan.generation, phase, doing, error, processes)
        if state != self._written:
            write_json(self._home.state_file, state)
        self._state = self._written = state

    def _stop_everything(self) -> None:
        stop_all(self._pipeline.values())
        for child in reversed(self._servers.values()):
            stop_all([child])
        self._servers, self._pipeline = {}, {}


def stop_all(children: Iterable[Child]) -> None:
    """Stop these together: ask all of them first, then wait for each."""
    stopped = list(children)
    for child in stopped:
        child.ask_to_stop()
    for child in stopped:
        child.wait_stopped()


def main() -> None:
    """`python -m holdfast.stack.supervisor`: run the stack of HOLDFAST_HOME by the plan it holds."""
    os.environ.pop(SUPERVISOR_MARK, None)
    home = Home.from_environment()
    plan = read_plan(home)
    if plan is None:
        sys.exit(f"{home.plan_file} is not there: this program is started by `holdfast up`")
    sys.exit(Supervisor(home, plan).run())


if __name__ == "__main__":
    main()
