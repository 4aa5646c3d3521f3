"""Processes of the pipeline killed, told to end, stopped and woken, and too many of them."""

from __future__ import annotations

import fcntl
import lzma
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Final

from failpoints import NAMES
from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.site import FAILPOINTS, Site, send

STOPPED_S: Final = 9.0
"""Past the session timeout of workers and sinks (6 s), so that the group gives their partitions away."""
STORM_S: Final = 16.0
LOAD_ROWS: Final = 1_200
LOAD_S: Final = 120.0
LOADER_ENDS_S: Final = 30.0
SAMPLE: Final = Path(__file__).parents[3] / "data" / "online-retail-sample.csv.xz"
STEPS: Final = tuple(name for name in NAMES if not name.startswith(("load.", "gateway.", "webhooks.")))


def one_of(site: Site, name: str, random: Random) -> int:
    """Return the PID of one live process of a kind; raises CannotStrikeError where there is none just now."""
    found = sorted(site.processes(name), key=lambda process: process.name)
    pids = [each.process.pid for each in found if each.process is not None]
    if not pids:
        raise CannotStrikeError(f"no {name} is running just now")
    return random.choice(pids)


def signal_one(name: str, number: signal.Signals) -> Callable[[Site, Random], None]:
    def strike(site: Site, random: Random) -> None:
        send(one_of(site, name, random), number)

    return strike


def signal_all(name: str, number: signal.Signals) -> Callable[[Site, Random], None]:
    def strike(site: Site, _random: Random) -> None:
        if not site.signal(name, number):
            raise CannotStrikeError(f"no {name} is running just now")

    return strike


def stop_one(name: str) -> Callable[[Site, Random], Heal]:
    """Stop a process and wake it when others hold what was its own."""

    def strike(site: Site, random: Random) -> Heal:
        pid = one_of(site, name, random)
        send(pid, signal.SIGSTOP)
        return lambda: wake(pid)

    return strike


def wake(pid: int) -> None:
    send(pid, signal.SIGCONT)


def kill_client(site: Site, random: Random) -> None:
    """Kill a client in the middle of what it sends; a new one begins with other orders."""
    random.choice(site.clients).kill()


# -- rebalance storms ------------------------------------------------------------------------------------------------


class Storm:
    """Extra workers that join and leave, by themselves or killed, until it is over."""

    def __init__(self, site: Site, random: Random) -> None:
        self._site, self._random = site, random
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._blow, daemon=True)
        self._thread.start()

    def _blow(self) -> None:
        while not self._over.is_set():
            worker = self._site.spawn("extra-worker", "holdfast", "worker")
            # A worker needs some seconds until it joins: some leave before, some in the middle, some after.
            self._over.wait(self._random.uniform(2.0, 6.0))
            self._leave(worker)

    def _leave(self, worker: subprocess.Popen[bytes]) -> None:
        if self._random.random() < 0.5:
            worker.terminate()
            try:
                worker.wait(8)
            except subprocess.TimeoutExpired:
                worker.kill()
        else:
            worker.kill()
        worker.wait()

    def end(self) -> None:
        self._over.set()
        self._thread.join(30)


def storm(site: Site, random: Random) -> Heal:
    return Storm(site, random).end


# -- the loader ------------------------------------------------------------------------------------------------------


def end_loader(number: signal.Signals) -> Callable[[Site, Random], Heal]:
    """End `holdfast load` somewhere on its way; the healing is what its user does: run it again, to its end."""

    def strike(site: Site, random: Random) -> Heal:
        command = ("holdfast", "load", str(_file_of_orders(site)), "--json", "--resend", "--source", number.name)
        loader = site.spawn("loader", *command)
        time.sleep(random.uniform(1.0, 6.0))
        loader.send_signal(number)
        try:
            loader.wait(LOADER_ENDS_S)
        finally:
            loader.kill()
            loader.wait()
        return lambda: load_again(site, command)

    return strike


def _file_of_orders(site: Site) -> Path:
    file = site.folder / "orders.csv"
    if not file.exists():
        with lzma.open(SAMPLE, "rt", newline="") as rows:
            file.write_text("".join(line for line, _ in zip(rows, range(LOAD_ROWS + 1), strict=False)))
    return file


def load_again(site: Site, command: tuple[str, ...]) -> None:
    """Run a load to its end; raises RuntimeError if it does not get there."""
    loader = site.spawn("loader", *command)
    try:
        if loader.wait(LOAD_S):
            raise RuntimeError(f"`holdfast load` ended with exit code {loader.returncode}")
    finally:
        loader.kill()
        loader.wait()


# -- failpoints ------------------------------------------------------------------------------------------------------


def kill_at_a_step(site: Site, random: Random) -> Heal:
    """Kill a process, and its successor at one step of its work: on the first to the sixth time that it gets there."""
    name = random.choice(STEPS)
    stage = name.partition(".")[0]
    victim = one_of(site, stage if stage.startswith("sink-") else "worker", random)
    entry = f"{name}=kill@{random.randint(1, 6)}"
    edit_failpoints(site, lambda entries: [*entries, entry])
    send(victim, signal.SIGKILL)
    return lambda: edit_failpoints(site, lambda entries: [each for each in entries if each != entry])


def edit_failpoints(site: Site, change: Callable[[list[str]], list[str]]) -> None:
    """Change the list of failpoints that the pipeline's processes read when they start."""
    file = site.folder / FAILPOINTS
    with file.with_name(f"{FAILPOINTS}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        partial = file.with_suffix(".partial")
        partial.write_text("\n".join(change(file.read_text().split())))
        partial.replace(file)


KILL, TERM = signal.SIGKILL, signal.SIGTERM
FAULTS = (
    Fault("worker killed", "kill -9 of one worker", signal_one("worker", KILL)),
    Fault("all workers killed", "kill -9 of every worker at once", signal_all("worker", KILL)),
    Fault("worker told to end", "SIGTERM to one worker", signal_one("worker", TERM)),
    Fault("worker stopped", "SIGSTOP of a worker past its session timeout, then SIGCONT: a zombie", stop_one("worker"), STOPPED_S),
    Fault("rebalance storm", "one worker more joins and leaves every few seconds, half of the times by kill -9", storm, STORM_S, withholds=True),
    Fault("killed at a step", "kill -9 of a worker or sink, and of its successor at one of the failpoints", kill_at_a_step, 6.0),
    Fault("sink killed", "kill -9 of one sink", signal_one("sink", KILL)),
    Fault("sink told to end", "SIGTERM to one sink", signal_one("sink", TERM)),
    Fault("sink stopped", "SIGSTOP of a sink past its session timeout, then SIGCONT", stop_one("sink"), STOPPED_S),
    Fault("provider killed", "kill -9 of the payment provider; the supervisor starts it again", signal_all("provider", KILL)),
    Fault("loader killed", "kill -9 of `holdfast load` on its way; it is run again to its end", end_loader(KILL), 1.0),
    Fault("loader told to end", "SIGTERM to `holdfast load` on its way; it is run again to its end", end_loader(TERM), 1.0),
    Fault("client killed", "kill -9 of a client that sends orders, in the middle of them", kill_client),
)
