"""A fork server of our own, and the processes it forks for us."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.faults.drill.order import End, Order


class ForkServer:
    """One fork server. Everything that it and its children say goes to `log`."""

    def __init__(self, kind: str, environment: Mapping[str, str], log: Path) -> None:
        self.kind = kind
        self.log = log
        self._lives = False
        with log.open("ab") as out:
            command = [sys.executable, "-m", "tests.faults.drill.server", kind]
            root = Path(__file__).parents[3]
            self._popen = subprocess.Popen(command, env={**environment}, cwd=root, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=out)
        self._answer()

    def run(self, order: Order) -> End:
        """Fork a process and wait for its end."""
        self.start(order)
        return self.end()

    def start(self, order: Order) -> None:
        """Fork a process; `end` waits for it."""
        self._send(order.line())
        self._lives = True

    def end(self) -> End:
        """Return how the process ended."""
        self._lives = False
        return End(**json.loads(self._answer()))

    def stop(self) -> End:
        """End a process that was started to live until now."""
        self._send(b"\n")
        return self.end()

    def said(self, since: int = 0) -> str:
        """Return what was written to the log from a byte on."""
        return self.log.read_bytes()[since:].decode(errors="replace")

    def _send(self, line: bytes) -> None:
        assert self._popen.stdin is not None
        self._popen.stdin.write(line)
        self._popen.stdin.flush()

    def _answer(self) -> bytes:
        assert self._popen.stdout is not None
        line = self._popen.stdout.readline()
        assert line, f"the fork server of {self.kind} ended:\n{self.said()[-4000:]}"
        return line

    def __enter__(self) -> ForkServer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the child, if one lives, and the server: it ends when nobody can give it orders any more."""
        assert self._popen.stdin is not None
        if self._lives:
            self._popen.stdin.write(b"\n")
        self._popen.stdin.close()
        self._popen.wait(60)
