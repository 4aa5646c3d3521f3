"""Where faults strike: a stack that `holdfast up` runs and looks after."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.stack import lifecycle, pipeline
from holdfast.stack.addresses import Endpoints
from holdfast.stack.home import HOME_VARIABLE, Home
from holdfast.stack.processes import is_alive, myself
from holdfast.stack.state import ProcessState, running_state
from tests.faults.kinds.disk import small_disks

PARTITIONS = 4
FAILPOINTS = "failpoints"


@dataclass
class Site:
    """A running stack. `folder` is for what faults need to write; `environment` what the pipeline's processes were started with."""

    home: Home
    endpoints: Endpoints
    folder: Path
    partitions: int
    prefix: str = ""
    environment: dict[str, str] = field(default_factory=dict)
    gateway: str = ""
    """The base URL of the gateway, if one runs."""
    clients: list[subprocess.Popen[bytes]] = field(default_factory=list)
    """The load clients: one that dies is started again, with a journal of its own."""

    @property
    def payments(self) -> str:
        """The base URL of the payment provider that the workers ask (`holdfast provider`), a supervised process of its own."""
        return self.environment["HOLDFAST_PAYMENT_URL"]

    def processes(self, name: str) -> list[ProcessState]:
        """Return the live processes of a kind or a name: worker, worker-1, sink, sink-mysql, kafka, mariadb, redis, ..."""
        state = running_state(self.home)
        found = state.processes if state else []
        return [p for p in found if name in (p.kind, p.name) and p.process is not None and is_alive(p.process)]

    def signal(self, name: str, number: signal.Signals) -> list[int]:
        """Send a signal to every live process of a kind or a name; return who got it."""
        pids = [p.process.pid for p in self.processes(name) if p.process is not None]
        return [pid for pid in pids if send(pid, number)]

    def variables(self) -> dict[str, str]:
        """Return the environment for a process that is to be one more of the pipeline."""
        own = {"HOLDFAST_TOPIC_PREFIX": self.prefix, HOME_VARIABLE: str(self.home.root), "PYTHONUNBUFFERED": "1"}
        return {**os.environ, **self.environment, **own, **self.endpoints.variables()}

    def spawn(self, name: str, *command: str) -> subprocess.Popen[bytes]:
        """Start `python -m COMMAND` beside what the supervisor runs, its output in `<folder>/<name>.log`. Whoever starts it ends it."""
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen([sys.executable, "-m", *command], env=self.variables(), stdin=subprocess.DEVNULL, stdout=log, stderr=log)


def send(pid: int, number: signal.Signals) -> bool:
    """Signal a process of ours; False if it is not there any more."""
    with suppress(ProcessLookupError):
        os.kill(pid, number)
        return True
    return False


@contextmanager
def running_site(folder: Path, environment: dict[str, str], workers: int = 2) -> Iterator[Site]:
    """Bring a new stack up in a folder of its own, with a payment provider. It ends with this process at the latest; its logs stay."""
    home = Home(folder / "stack", Home.from_environment().cache)
    lifecycle.down(home)
    unmount_leftovers(home)
    home.wipe()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / FAILPOINTS).write_text("")
    settings = {
        "HOLDFAST_PARTITIONS": str(PARTITIONS),
        "HOLDFAST_TOPIC_PREFIX": "",
        "HOLDFAST_FAILPOINTS": f"@{folder / FAILPOINTS}",
        "HOLDFAST_PAYMENT_PROVIDER": "http",
        **environment,
    }
    wish = lifecycle.Wish(workers=workers, owner=myself(), environment=settings)
    with small_disks(home):
        try:
            plan = lifecycle.up(home, wish, lambda _step: None, environ={})
            settings |= {"HOLDFAST_PAYMENT_URL": pipeline.payment_url(plan.processes) or ""}
            yield Site(home, plan.endpoints, folder, PARTITIONS, environment=settings, gateway=pipeline.gateway_url(plan.processes) or "")
        finally:
            lifecycle.down(home)


def unmount_leftovers(home: Home) -> None:
    """Take away the small disks of a run that was killed."""
    for folder in (home.root / "data").glob("*"):
        while os.path.ismount(folder):
            subprocess.run(["umount", "-l", str(folder)], check=True)
