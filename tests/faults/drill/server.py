"""The fork server: a process that has imported everything, and made no Kafka client, forks those that are to die.

`python -m tests.faults.drill.server KIND`, KIND one of HOSTS; orders on stdin, ends on stdout. Starting an interpreter
with everything imported takes longer than the whole life of most of the processes here.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable

import failpoints
from tests.faults.drill.order import End, Order

HOSTS = {
    "tasks": "tests.faults.drill.task_host",
    "worker": "tests.faults.drill.worker_host",
    "sink-mysql": "tests.faults.drill.sink_host",
    "sink-redis": "tests.faults.drill.sink_host",
    "load": "tests.faults.drill.load_host",
}
Host = Callable[[str, Order], None]


def main(kind: str) -> None:
    """Fork a process for every order; say how it ended."""
    host: Host = importlib.import_module(HOSTS[kind]).run
    gc.collect()
    gc.freeze()
    _say(b'"ready"\n')
    while line := _read_line():
        order = Order(**json.loads(line))
        pid = os.fork()
        if not pid:
            _live(host, kind, order)
        _say(_await(pid, order.seconds).line())


def _live(host: Host, kind: str, order: Order) -> None:
    """In the child: do what the host does, with the order's failpoints armed."""
    os.close(0)
    os.dup2(2, 1)
    code = 1
    try:
        if order.failpoints:
            failpoints.arm(order.failpoints)
        host(kind, order)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _await(pid: int, seconds: float | None) -> End:
    """Wait for the child; end it when its time is up, and when a line comes for a child without a time."""
    child, until = os.pidfd_open(pid), None if seconds is None else time.monotonic() + seconds
    try:
        ready, _, _ = select.select([child, 0] if until is None else [child], [], [], seconds)
    finally:
        os.close(child)
    if ended := pid_runs(pid):
        os.kill(pid, signal.SIGKILL)
        if 0 in ready:
            _read_line()
    _, status = os.waitpid(pid, 0)
    return End(os.waitstatus_to_exitcode(status), ended)


def pid_runs(pid: int) -> bool:
    """Whether our child still runs; it stays waitable."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None


def _read_line() -> bytes:
    """Return one line of stdin, read byte by byte: nothing may be kept where select does not see it."""
    line = b""
    while (byte := os.read(0, 1)) and byte != b"\n":
        line += byte
    return line


def _say(line: bytes) -> None:
    os.write(1, line)


if __name__ == "__main__":
    main(sys.argv[1])
