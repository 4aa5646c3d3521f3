"""Ends a worker that holds partitions but makes no progress while there is something to do.

A thread, not a timer on the event loop: a stalled loop is one of the things it looks for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from streams.config import StreamSettings
from streams.runtime.exits import STALLED, end_process
from streams.runtime.task import Task, TaskState

CHECK_SECONDS: Final = 1.0


class Sign(NamedTuple):
    """How a task looks: its name, whether it is opening, whether it has something to do, seconds since it got on."""

    task: str
    opening: bool
    has_lag: bool
    idle: float


def verdict(signs: Iterable[Sign], loop_idle: float, stall_seconds: float, open_seconds: float) -> str | None:
    """Return what is stuck, or None. Pure."""
    if loop_idle > stall_seconds:
        return f"the event loop has not turned for {loop_idle:.0f} s"
    for sign in signs:
        bound = open_seconds if sign.opening else stall_seconds
        if sign.has_lag and sign.idle > bound:
            return f"task {sign.task} has made no progress for {sign.idle:.0f} s while there is lag"
    return None


class Watchdog:
    """Watches the tasks of one worker; `beat` is called by the event loop as long as it turns."""

    def __init__(self, tasks: Callable[[], list[Task]], settings: StreamSettings) -> None:
        self._tasks = tasks
        self._settings = settings
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        self._beat_at = time.monotonic()

    def start(self) -> None:
        threading.Thread(target=self._watch, name="watchdog", daemon=True).start()

    def _watch(self) -> None:
        last = time.monotonic()
        while True:
            time.sleep(CHECK_SECONDS)
            now = time.monotonic()
            if now - last < 5 * CHECK_SECONDS:  # else the whole process was stopped: give it time to come to itself
                self._check(now)
            else:
                self._forgive(now)
            last = now

    def _check(self, now: float) -> None:
        signs = [Sign(t.name, t.state is TaskState.OPENING, t.has_lag(), now - t.progress_at) for t in self._tasks()]
        stuck = verdict(signs, now - self._beat_at, self._settings.stall_seconds, self._settings.open_seconds)
        if stuck is not None:
            end_process(STALLED, stuck)

    def _forgive(self, now: float) -> None:
        self._beat_at = now
        for task in self._tasks():
            task.progress_at = now
