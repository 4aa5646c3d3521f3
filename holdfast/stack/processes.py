"""Processes named so that a number used again is not mistaken for the process it once was."""

import os
import signal
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

PROC = Path("/proc")
POLL_S = 0.05


@dataclass(frozen=True)
class ProcessId:
    """A process: its number and when it began (boot ID and clock ticks since that boot)."""

    pid: int
    started: str

    @property
    def ticks(self) -> int:
        """When it began, in clock ticks since the boot."""
        return int(self.started.rpartition("/")[2])


@cache
def boot_id() -> str:
    """The running kernel's boot: ticks from before a reboot mean nothing after it."""
    return (PROC / "sys/kernel/random/boot_id").read_text().strip()


def identify(pid: int) -> ProcessId | None:
    """The live process `pid`, or None without one. A zombie is dead: it only waits to be reaped."""
    try:
        stat = (PROC / str(pid) / "stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    # The second field is the program's name in brackets and may itself hold spaces and brackets: proc(5).
    fields = stat.rpartition(")")[2].split()
    return None if fields[0] in "ZX" else ProcessId(pid, f"{boot_id()}/{fields[19]}")


def is_alive(process: ProcessId) -> bool:
    """Whether exactly this process still runs."""
    return identify(process.pid) == process


def myself() -> ProcessId:
    """The calling process."""
    me = identify(os.getpid())
    assert me is not None
    return me


def send(process: ProcessId, number: signal.Signals) -> None:
    """Signal the process if it is still there."""
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)


def wait_gone(process: ProcessId, seconds: float) -> bool:
    """Whether the process ended within `seconds`."""
    deadline = time.monotonic() + seconds
    while is_alive(process):
        if time.monotonic() > deadline:
            return False
        time.sleep(POLL_S)
    return True


def stop(process: ProcessId, grace_s: float) -> None:
    """End the process: ask, wait `grace_s`, then kill. SIGCONT first, or a stopped process would not hear."""
    send(process, signal.SIGTERM)
    send(process, signal.SIGCONT)
    if not wait_gone(process, grace_s):
        send(process, signal.SIGKILL)
        wait_gone(process, 10)


def with_variable(name: str, value: str) -> Iterator[ProcessId]:
    """The live processes that were started with `name=value` in their environment, as far as we may look."""
    wanted = f"{name}={value}".encode()
    for folder in PROC.iterdir():
        if not folder.name.isdigit():
            continue
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes().split(b"\0"):
                process = identify(int(folder.name))
                if process is not None:
                    yield process
