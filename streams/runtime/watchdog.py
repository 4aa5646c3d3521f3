"""Ends a worker that holds partitions but makes no progress while there is something to do.

A thread, not a timer on the event loop: a stalled loop is one of the things it looks for.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from typing import Final, NamedTuple

from streams.config import StreamSettings
from streams.runtime.exits import STALLED, end_process
from streams.runtime.inspector import Inspector
from streams.runtime.shared import TaskState
from streams.runtime.tasks import Tasks

CHECK_SECONDS: Final = 1.0


class Sign(NamedTuple):
    """How a task looks: its name, whether it is opening, whether it has something to do, seconds since it got on, and since
    when its reader has been handed nothing of what the brokers have."""

    task: str
    opening: bool
    has_lag: bool
    idle: float
    silent: float = 0.0


class Bounds(NamedTuple):
    """How long nothing may happen, in seconds: to the event loop, to a batch or reader, to an opening."""

    loop: float
    stall: float
    open: float


def verdict(signs: Iterable[Sign], loop_idle: float, bounds: Bounds, answered: float = float("inf")) -> str | None:
    """Return what is stuck, or None. `answered`: for how many seconds the brokers have been answering; before that nobody gets on. Pure."""
    if loop_idle > bounds.loop:
        return f"the event loop has not turned for {loop_idle:.0f} s"
    for sign in signs:
        bound = bounds.open if sign.opening else bounds.stall
        if sign.has_lag and min(sign.idle, answered) > bound:
            return f"task {sign.task} has made no progress for {sign.idle:.0f} s while there is lag"
        if not sign.has_lag and sign.silent > bounds.stall:
            return f"the reader of task {sign.task} has been silent for {sign.silent:.0f} s while there is lag"
    return None


class Watchdog:
    """Watches the tasks of one worker; who is stuck leaves the group and ends. `beat` is called by the event loop as long as it turns."""

    def __init__(self, tasks: Tasks, inspector: Inspector, settings: StreamSettings) -> None:
        self._tasks = tasks.all
        self._group = tasks
        self._inspector = inspector
        self._bounds = Bounds(settings.loop_seconds, settings.stall_seconds, settings.open_seconds)
        self._beat_at = time.monotonic()

    def beat(self) -> None:
        self._beat_at = time.monotonic()

    def start(self) -> None:
        """Begin to watch; how long the process needed until here does not count."""
        self.beat()
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
        signs = [Sign(t.name, t.state is TaskState.OPENING, t.has_lag(), now - t.progress_at, t.silent) for t in self._tasks()]
        stuck = verdict(signs, now - self._beat_at, self._bounds, self._inspector.answered_for(now))
        if stuck is not None:
            self._group.leave_group()  # else its partitions wait for its session, on top of all that it has stood still
            end_process(STALLED, stuck)

    def _forgive(self, now: float) -> None:
        self._beat_at = now
        for task in self._tasks():
            task.progress_at = now
            task.silent = 0.0
