"""Workers whose clock is wrong, and a worker of an earlier version among those of today."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.fault import Fault, Heal
from tests.faults.site import Site
from tests.support import versions

HOUR_S: Final = 3600
LASTS_S: Final = 15.0
WRONG_CLOCK: Final = Path(__file__).parents[1] / "wrong_clock"
ROOT: Final = Path(__file__).parents[3]
MARK: Final = "streams/payments/http.py"
"""The oldest version that is to share a group with today's is the one that brought this file: before it, workers paid otherwise."""
RESTARTS: Final = 4
RESTART_S: Final = 4.0


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


def roll(site: Site, random: Random) -> Heal:
    """Workers of an earlier version come and go among today's, which are killed one after the other."""
    folder = earlier_tree(site)
    for _ in range(RESTARTS):
        # Another hash seed: what must not depend on it is different at least in this, where the version is the same.
        old = extra_worker(site, "worker-earlier-version", {"PYTHONPATH": str(folder), "PYTHONHASHSEED": "1", "HOLDFAST_FAILPOINTS": ""}, folder)
        time.sleep(RESTART_S)
        workers = site.processes("worker")
        if workers:
            process = random.choice(workers).process
            assert process is not None
            os.kill(process.pid, signal.SIGKILL)
        time.sleep(RESTART_S)
        _end(old)
    return lambda: None


FAULTS = (
    Fault("clock an hour ahead", "a worker whose clock is an hour ahead has every partition for a while", wrong_clock(HOUR_S), LASTS_S),
    Fault("clock an hour behind", "a worker whose clock is an hour behind has every partition for a while", wrong_clock(-HOUR_S), LASTS_S),
    Fault("rolling upgrade", "workers of an earlier version and of today's in one group, killed in turn", roll),
)
