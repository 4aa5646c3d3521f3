"""The stack's own payment provider: there when payments go over HTTP and nobody says where, known to every process, started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable

import pytest

from holdfast.stack import lifecycle, pipeline, processes
from holdfast.stack.home import Home
from holdfast.stack.state import Task, running_state
from holdfast.stack.status import stack_status

HTTP = {"HOLDFAST_PAYMENT_PROVIDER": "http"}
WORKER = """
import json, os, pathlib, time
pathlib.Path(os.environ["HOLDFAST_RUN_DIR"], f"worker-{os.getpid()}.json").write_text(json.dumps({"kind": "worker", "pid": os.getpid()}))
print(os.environ["HOLDFAST_PAYMENT_URL"], flush=True)
time.sleep(600)
"""


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"HOLDFAST_PAYMENT_PROVIDER": "sandbox"}, False),
        (HTTP, True),
        ({**HTTP, "HOLDFAST_PAYMENT_URL": ""}, True),
        ({**HTTP, "HOLDFAST_PAYMENT_URL": "https://pay.example"}, False),
    ],
)
def test_when_the_stack_runs_one_of_its_own(environment: dict[str, str], wanted: bool) -> None:
    assert pipeline.wants_provider(environment) is wanted


def test_its_url_is_known_from_the_plan() -> None:
    assert pipeline.payment_url([pipeline.provider(1234), *pipeline.processes(1)]) == "http://127.0.0.1:1234"
    assert pipeline.payment_url(pipeline.processes(2)) is None


def up(home: Home, environment: dict[str, str], workers: int = 1) -> None:
    def workers_alone(number: int) -> tuple[Task, ...]:
        return tuple(Task("worker", f"worker-{n}", (sys.executable, "-c", WORKER)) for n in range(1, number + 1))

    wish = lifecycle.Wish(workers, gateways=0, setup=(), processes=workers_alone, owner=processes.myself(), environment=environment)
    lifecycle.up(home, wish, lambda _step: None)


def until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)


def names(home: Home) -> list[str]:
    state = running_state(home)
    assert state is not None
    return [each.name for each in state.processes]


def answers(url: str) -> bool:
    try:
        return bool(urllib.request.urlopen(f"{url}/health", timeout=5).status == 200)
    except OSError:
        return False


@pytest.mark.live
def test_it_runs_before_the_workers_tells_its_url_and_comes_back(home: Home) -> None:
    up(home, HTTP)
    assert names(home) == ["provider", "worker-1"]
    url = stack_status(home).payment
    assert url is not None
    assert answers(url)
    assert home.log("worker-1").read_text().strip() == url
    status = subprocess.run(
        [sys.executable, "-m", "holdfast", "status", "--json"], env={**os.environ, "HOLDFAST_HOME": str(home.root)}, capture_output=True, check=True
    )
    assert json.loads(status.stdout)["payment"] == url
    state = running_state(home)
    assert state is not None
    assert state.processes[0].process is not None
    os.kill(state.processes[0].process.pid, signal.SIGKILL)
    until(lambda: not answers(url))
    until(lambda: answers(url))
    up(home, {}, workers=2)
    assert names(home) == ["provider", "worker-1", "worker-2"]
    assert stack_status(home).payment == url
    lifecycle.down(home)
    assert stack_status(home).payment is None


@pytest.mark.live
def test_without_it_nothing_is_asked_over_http(home: Home) -> None:
    up(home, {"HOLDFAST_PAYMENT_URL": "none"})
    assert names(home) == ["worker-1"]
    assert stack_status(home).payment is None
