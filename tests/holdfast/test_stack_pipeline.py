"""The pipeline's processes under the supervisor, with stand-ins for them, on servers that are given."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest

from holdfast.stack import lifecycle, processes
from holdfast.stack.addresses import Endpoints
from holdfast.stack.errors import NotHealthyError, ProcessFailedError, StackError
from holdfast.stack.home import Home
from holdfast.stack.state import StackState, Task, running_state
from holdfast.stack.status import stack_status

STAND_IN = """
import json, os, pathlib, sys, time
kind, pid = sys.argv[1], os.getpid()
document = {"kind": kind, "pid": pid, "partitions": {"stock": [1, 0], "orders": [3]} if kind == "worker" else {}}
print(kind, os.environ["HOLDFAST_PROCESS"], flush=True)
pathlib.Path(os.environ["HOLDFAST_RUN_DIR"], f"{kind}-{pid}.json").write_text(json.dumps(document))
time.sleep(600)
"""


def stand_in(kind: str, name: str) -> Task:
    return Task(kind, name, (sys.executable, "-c", STAND_IN, kind))


def stand_ins(workers: int) -> tuple[Task, ...]:
    return (*(stand_in("worker", f"worker-{n}") for n in range(1, workers + 1)), stand_in("sink", "sink-mysql"))


def wish(workers: int | None = None, setup: tuple[Task, ...] = ()) -> lifecycle.Wish:
    return lifecycle.Wish(workers, gateways=0, setup=setup, processes=stand_ins, owner=processes.myself())


def quiet(_step: str) -> None:
    pass


def state_of(home: Home) -> StackState:
    state = running_state(home)
    assert state is not None
    return state


def pids(home: Home) -> dict[str, int]:
    return {each.name: each.process.pid for each in state_of(home).processes if each.process}


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def test_given_endpoints_are_used_and_nothing_is_started(home: Home, endpoints: Endpoints) -> None:
    plan = lifecycle.up(home, lifecycle.Wish(servers_only=True, owner=processes.myself()), quiet)
    assert plan.endpoints == endpoints
    assert plan.servers == ()
    assert list(processes.with_variable("HOLDFAST_SUPERVISED_IN", str(home.root))) == []
    assert not list((home.root / "data").iterdir())


def test_a_given_endpoint_that_does_not_answer_is_told_at_once(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_KAFKA", "127.0.0.1:1")
    with pytest.raises(NotHealthyError, match=r"nothing listens at 127\.0\.0\.1:1"):
        lifecycle.up(home, wish(), quiet)
    assert running_state(home) is None


def test_a_wrong_password_is_told_without_saying_it(home: Home, endpoints: Endpoints, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOLDFAST_MYSQL", endpoints.mysql.replace("://holdfast:", "://holdfast:wrong"))
    with pytest.raises(NotHealthyError, match="Access denied") as caught:
        lifecycle.up(home, wish(), quiet)
    assert "wrong" not in str(caught.value)


def test_set_up_steps_run_once_before_the_pipeline_and_children_know_the_endpoints(home: Home, endpoints: Endpoints) -> None:
    script = "import os, json; print(json.dumps({k: v for k, v in os.environ.items() if k.startswith('HOLDFAST')}))"
    steps = (Task("setup", "first", (sys.executable, "-c", script)), Task("setup", "second", (sys.executable, "-c", "")))
    lifecycle.up(home, wish(2, steps), quiet)
    lifecycle.up(home, wish(2, steps), quiet)
    lines = home.log("first").read_text().splitlines()
    assert len(lines) == 1
    said = json.loads(lines[0])
    assert endpoints.variables().items() <= said.items()
    assert said["HOLDFAST_HOME"] == str(home.root)
    assert home.log("first").stat().st_mtime_ns < home.log("worker-1").stat().st_mtime_ns
    assert home.log("worker-2").read_text() == "worker worker-2\n"


def test_status_shows_the_partitions_that_workers_write_down(home: Home) -> None:
    lifecycle.up(home, wish(1), quiet)
    shown = {each.name: each for each in stack_status(home).processes}
    assert shown["worker-1"].partitions == ["orders-3", "stock-0", "stock-1"]
    assert (shown["worker-1"].kind, shown["sink-mysql"].kind) == ("worker", "sink")
    (home.run / f"worker-{shown['worker-1'].pid}.json").write_text("{half")
    assert stack_status(home).processes[0].partitions == []


def test_workers_come_and_go_by_number_and_the_others_stay(home: Home) -> None:
    lifecycle.up(home, wish(), quiet)
    one = pids(home)
    assert set(one) == {"worker-1", "sink-mysql"}
    lifecycle.up(home, wish(3), quiet)
    three = pids(home)
    assert set(three) == {"worker-1", "worker-2", "worker-3", "sink-mysql"}
    assert one.items() <= three.items()
    lifecycle.up(home, wish(), quiet)
    assert pids(home) == three, "without a number, as many as run"
    lifecycle.up(home, lifecycle.Wish(servers_only=True), quiet)
    assert pids(home) == three, "servers only takes nothing away"
    lifecycle.up(home, wish(1), quiet)
    assert pids(home) == one


def test_up_keeps_the_other_processes_that_somebody_added(home: Home) -> None:
    lifecycle.up(home, replace(wish(1), processes=lambda n: (*stand_ins(n), stand_in("ship", "ship"))), quiet)
    before = pids(home)
    lifecycle.up(home, wish(2), quiet)
    assert before.items() <= pids(home).items()
    assert "ship" in before


def test_a_killed_worker_is_started_again(home: Home) -> None:
    lifecycle.up(home, wish(2), quiet)
    before = pids(home)
    os.kill(before["worker-2"], signal.SIGKILL)
    until(lambda: (now := pids(home).get("worker-2")) is not None and now != before["worker-2"])
    lifecycle.up(home, wish(2), quiet)
    assert {each.name: each.restarts for each in state_of(home).processes} == {"worker-1": 0, "worker-2": 1, "sink-mysql": 0}
    assert pids(home).items() >= {name: pid for name, pid in before.items() if name != "worker-2"}.items()


def test_down_stops_the_youngest_first_and_waits(home: Home) -> None:
    lifecycle.up(home, wish(1), quiet)
    running = [process for pid in pids(home).values() if (process := processes.identify(pid))]
    assert len(lifecycle.down(home)) == 1, "the supervisor stopped the others itself"
    assert not any(processes.is_alive(process) for process in running)
    assert lifecycle.down(home) == []


@pytest.mark.parametrize("place", ["setup", "process"])
def test_a_failing_command_is_named_with_the_end_of_its_log(home: Home, place: str) -> None:
    bad = Task("setup", "bad", (sys.executable, "-c", "print('no such table'); raise SystemExit(4)"))
    plan = wish(1, (bad,)) if place == "setup" else replace(wish(1), processes=lambda n: (*stand_ins(n), bad))
    with pytest.raises(ProcessFailedError, match=r"(?s)bad ended with exit code 4; its log .*no such table"):
        lifecycle.up(home, plan, quiet)
    assert pids(home) == {}, "a pipeline is up as a whole or not at all"
    assert "no such table" in stack_status(home).problem
    lifecycle.up(home, wish(1), quiet)
    assert set(pids(home)) == {"worker-1", "sink-mysql"}


def test_a_command_that_does_not_exist_is_named(home: Home) -> None:
    missing = Task("sink", "missing", ("no-such-program",))
    with pytest.raises(ProcessFailedError, match=r"missing cannot be started: .*no-such-program"):
        lifecycle.up(home, replace(wish(1), processes=lambda n: (*stand_ins(n), missing)), quiet)
    assert pids(home) == {}


def test_other_endpoints_than_the_running_stack_has_are_refused(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    lifecycle.up(home, wish(1), quiet)
    monkeypatch.setenv("HOLDFAST_KAFKA", "127.0.0.1:2")
    with pytest.raises(StackError, match=r"another kafka .* run `holdfast down` first"):
        lifecycle.up(home, wish(1), quiet)


def test_a_stack_ends_with_its_owner(home: Home) -> None:
    owner = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    lifecycle.up(home, replace(wish(1), owner=processes.identify(owner.pid)), quiet)
    supervisor = state_of(home).supervisor
    owner.kill()
    owner.wait()
    assert processes.wait_gone(supervisor, 30)
    assert list(processes.with_variable("HOLDFAST_SUPERVISED_IN", str(home.root))) == []
