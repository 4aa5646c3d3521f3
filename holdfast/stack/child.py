"""One process under the supervisor."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from holdfast.stack.errors import ProcessFailedError
from holdfast.stack.processes import identify
from holdfast.stack.state import ProcessState, Status

# Every process of a stack carries this variable with its home as the value: so `down` finds those that a dead
# supervisor left behind, also the ones it had no time to write down.
MARK = "HOLDFAST_SUPERVISED_IN"
# Short, for an order waits as long: whoever dies of what is down comes back soon after it does.
LONGEST_PAUSE_S = 4.0
STEADY_S = 10.0
LARGEST_LOG = 16 * 1024 * 1024
GRACE_S = 30.0


def pause_s(failures: int) -> float:
    """How long to wait before the next start after so many quick deaths in a row: not at all, then 0.5 s, doubling up to 4 s."""
    return float(min(LONGEST_PAUSE_S, 0.5 * 2 ** (min(failures, 10) - 1))) if failures else 0.0


class Child:
    """A process that is to run until it is stopped, and is started again whenever it dies."""

    def __init__(self, kind: str, name: str, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        self.kind, self.name, self.command, self.environment, self.log = kind, name, command, environment, log
        self.status: Status = "stopped"
        self.restarts = 0
        self._failures = 0
        self._started_at = 0.0
        self._start_again_at = 0.0
        self._running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process's number; 0 while there is none."""
        return self._running.pid if self._running else 0

    @property
    def age_s(self) -> float:
        """Seconds since the last start."""
        return time.monotonic() - self._started_at

    def start(self) -> None:
        """Start the process, its output going to its log. Raises ProcessFailedError if there is no such program."""
        keep_small(self.log)
        try:
            self._running = self._spawn()
        except OSError as error:
            raise ProcessFailedError(f"{self.name} cannot be started: {error}") from error
        self._started_at = time.monotonic()
        self.status = "starting"

    def _spawn(self) -> "subprocess.Popen[bytes]":
        with self.log.open("ab") as output:
            return subprocess.Popen(
                self.command,
                env={**self.environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def exit_code(self) -> int | None:
        """The code the process ended with, None while it runs; a signal's number is negative."""
        return self._running.poll() if self._running else None

    def keep_running(self) -> None:
        """Look after the process: notice its death, start it again when its pause is over."""
        if self.status == "waiting":
            if time.monotonic() >= self._start_again_at:
                self._start_again()
        elif self.status in ("running", "starting") and self.exit_code() is not None:
            self._failures = 0 if self.age_s > STEADY_S else self._failures
            self._pause()
            self.keep_running()

    def _start_again(self) -> None:
        self.restarts += 1
        try:
            self.start()
        except ProcessFailedError:
            # Its program may be in the middle of an upgrade.
            self._pause()

    def _pause(self) -> None:
        self._start_again_at = time.monotonic() + pause_s(self._failures)
        self._failures += 1
        self.status = "waiting"

    def ask_to_stop(self) -> None:
        """Send SIGTERM, if the process runs."""
        self.status = "stopped"
        if self._running and self._running.poll() is None:
            self._running.send_signal(signal.SIGTERM)
            self._running.send_signal(signal.SIGCONT)

    def wait_stopped(self, seconds: float = GRACE_S) -> None:
        """Wait for the process to end; kill it, and whatever it started, if it has not after `seconds`."""
        if self._running is None:
            return
        try:
            self._running.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(self._running.pid, signal.SIGKILL)
            self._running.wait()
        self._running = None

    def state(self) -> ProcessState:
        """What the state file says of this process."""
        process = identify(self.pid) if self.pid else None
        return ProcessState(self.kind, self.name, process, self.status, self.restarts, str(self.log))


def keep_small(log: Path) -> None:
    """Put a large log aside (one older log is kept)."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_suffix(".log.1"))
