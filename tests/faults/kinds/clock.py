"""Workers whose clock is wrong, and a worker of an earlier version among those of today."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from holdfast.stack.state import ProcessState
from holdfast.stack.supervisor import RUN_VARIABLE
from tests.faults.fault import Fault, Heal
from tests.faults.site import Site, send
from tests.support import versions

HOUR_S: Final = 3600
LASTS_S: Final = 15.0
WRONG_CLOCK: Final = Path(__file__).parents[1] / "wrong_clock"
ROOT: Final = Path(__file__).parents[3]
MARK: Final = "docs/decisions/0022-the-broker-compiles-later.md"
"""The earlier version is the one that brought this file: its workers leave their group also where their stop hangs. Those before it may keep their
partitions for their 10 s and a session on top, which nothing of today's can shorten."""
AT_WORK_S: Final = 20.0
LOOK_S: Final = 0.2


def clock_off(seconds: int) -> dict[str, str]:
    """Return the variables of a process whose clock is so many seconds ahead."""
    path = os.pathsep.join(filter(None, (str(WRONG_CLOCK), os.environ.get("PYTHONPATH"))))
    return {"PYTHONPATH": path, "HOLDFAST_TEST_CLOCK_OFF": str(seconds)}


def extra_worker(site: Site, name: str, environment: dict[str, str], folder: Path = ROOT) -> subprocess.Popen[bytes]:
    """Start one worker more; whoever starts it ends it."""
    with (site.folder / f"{name}.log").open("ab") as log:
        variables = {**site.variables(), "HOLDFAST_PROCESS": name, **environment}
        return subprocess.Popen([sys.executable, "-m", "holdfast", "worker"], env=variables, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def wrong_clock(off_s: int) -> Callable[[Site, Random], Heal]:
    """Let a worker with a wrong clock join, and kill the others, so that it has every partition for a while."""

    def strike(site: Site, _random: Random) -> Heal:
        worker = extra_worker(site, "worker-wrong-clock", clock_off(off_s))
        time.sleep(3.0)
        site.signal("worker", signal.SIGKILL)
        return lambda: _end(worker)

    return strike


def _end(worker: subprocess.Popen[bytes]) -> None:
    worker.kill()
    worker.wait()


# -- versions --------------------------------------------------------------------------------------------------------------


def earlier_tree(site: Site) -> Path:
    """Return the folder of an earlier version; of today's where the history does not reach back."""
    commit = versions.first_with(MARK)
    return versions.tree_of(commit, site.folder) if commit else ROOT


def upgrade(site: Site, _random: Random) -> Heal:
    """A worker of an earlier version among today's, which are told to end one after the other, the next when the one before is back at work; then it, too."""
    folder = earlier_tree(site)
    # Another hash seed: what must not depend on it is different at least in this, where the version is the same.
    own = {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "1", "HOLDFAST_FAILPOINTS": "", RUN_VARIABLE: str(site.home.run)}
    old = extra_worker(site, "worker-earlier-version", own, folder)
    try:
        _await(lambda: _is_at_work(site, old.pid))
        for worker in site.processes("worker"):
            _restart(site, worker)
        old.terminate()
        with suppress(subprocess.TimeoutExpired):
            old.wait(AT_WORK_S)
    finally:
        _end(old)
    return lambda: None


def _restart(site: Site, worker: ProcessState) -> None:
    """Tell a worker to end, and wait until the one that the supervisor starts in its place is at work."""
    assert worker.process is not None
    before = worker.process.pid
    send(before, signal.SIGTERM)
    _await(lambda: any(p.process and p.process.pid != before and _is_at_work(site, p.process.pid) for p in site.processes(worker.name)))


def _is_at_work(site: Site, pid: int) -> bool:
    """As the supervisor sees it: the group has told it which partitions are its own (of four, three workers may have two, two and none)."""
    return (site.home.run / f"worker-{pid}.json").exists()


def _await(there: Callable[[], bool]) -> None:
    """Wait until a worker is at work; among other faults it may never be, and whoever upgrades goes on then, too."""
    deadline = time.monotonic() + AT_WORK_S
    while not there() and time.monotonic() < deadline:
        time.sleep(LOOK_S)


FAULTS = (
    Fault("clock an hour ahead", "a worker whose clock is an hour ahead has every partition for a while", wrong_clock(HOUR_S), LASTS_S),
    Fault("clock an hour behind", "a worker whose clock is an hour behind has every partition for a while", wrong_clock(-HOUR_S), LASTS_S),
    Fault("rolling upgrade", "workers of an earlier version and of today's in one group, told to end in turn", upgrade),
)
