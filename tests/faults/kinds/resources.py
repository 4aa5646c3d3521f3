"""What a worker's process runs short of: turns of its event loop, file descriptors, a folder to write to."""

from __future__ import annotations

import resource
import shutil
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Final

from tests.faults.fault import Fault, Heal
from tests.faults.kinds.processes import edit_failpoints, one_of
from tests.faults.site import Site, send

SHORT_S: Final = 3.0
LONG_S: Final = 40.0
FEW_FILES_S: Final = 10.0
NO_FOLDER_S: Final = 8.0
PLACES: Final = ("stock.taken", "orders.taken", "payments.taken", "stock.decided", "orders.decided")
"""On the event loop: whoever is held there turns no more."""


def stall(seconds: float) -> Callable[[Site, Random], Heal]:
    """Tell a worker to end; at one of the first batches its successor's event loop turns no more for so long."""

    def strike(site: Site, random: Random) -> Heal:
        pid = one_of(site, "worker", random)
        entry = f"{random.choice(PLACES)}=stop:{seconds:.0f}@{random.randint(1, 4)}"
        edit_failpoints(site, lambda entries: [*entries, entry])
        send(pid, signal.SIGTERM)  # it gives its partitions back: what is measured is the loop that stands still, not a kill before it
        return lambda: edit_failpoints(site, lambda entries: [each for each in entries if each != entry])

    return strike


def few_files(site: Site, random: Random) -> Heal:
    """Allow a running worker no more files than it has: whatever it wants to open, a connection above all, it cannot. And cut its connections."""
    pid = one_of(site, "worker", random)
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    open_now = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (max(16, open_now // 2), before[1]))
    site.signal("kafka", signal.SIGKILL)  # the connections it has do for ever: only now it needs new ones
    return lambda: _allow(pid, before)


def _allow(pid: int, limits: tuple[int, int]) -> None:
    with suppress(ProcessLookupError):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)


def no_run_folder(site: Site, random: Random) -> Heal:
    """Put a file where the run folder was, and kill a worker: its successor has nowhere to say what it holds."""
    pid = one_of(site, "worker", random)  # before anything is done that only a strike's heal undoes
    run, aside = site.home.run, site.home.root / "run-aside"
    run.rename(aside)
    run.write_text("no folder")
    send(pid, signal.SIGKILL)
    return lambda: _put_back(site)


def _put_back(site: Site) -> None:
    run, aside = site.home.run, site.home.root / "run-aside"
    if aside.exists():
        run.unlink(missing_ok=True) if run.is_file() else shutil.rmtree(run, ignore_errors=True)
        aside.rename(run)


FAULTS = (
    Fault("event loop held", f"a worker's event loop stands still for {SHORT_S:.0f} s in the middle of a batch", stall(SHORT_S), 10.0),
    Fault("event loop stuck", f"a worker's event loop stands still for {LONG_S:.0f} s: its watchdog ends it", stall(LONG_S), 20.0),
    Fault(
        "file descriptors short", "a worker may open no file and no connection, and Kafka is killed, so that it has to", few_files, FEW_FILES_S, withholds=True
    ),
    Fault("no run folder", "the folder for run files cannot be written, and a worker is killed", no_run_folder, NO_FOLDER_S),
)
