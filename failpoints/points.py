"""Reaching a failpoint: nothing at all, unless it is armed."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from failpoints.entry_file import EntryFile
from failpoints.names import NAMES
from failpoints.parsing import Entry, FailpointsError, entries

VARIABLE: Final = "HOLDFAST_FAILPOINTS"
Strike = Callable[[Entry], bool]
"""Asked when an entry is about to fire: whether it still may."""


class FailpointError(RuntimeError):
    """Raised at a failpoint that was armed with `raise`."""


class _Armed:
    """The entries of this process and how often each place was reached."""

    def __init__(self, armed: Sequence[Entry], strike: Strike) -> None:
        self._waiting = list(armed)
        self._strike = strike
        self._reached: Counter[str] = Counter()
        self._lock = threading.Lock()

    def reach(self, name: str) -> None:
        if name not in NAMES:
            raise FailpointsError(f"the code reaches a failpoint {name!r} that failpoints/names.py does not list")
        for entry in self._due(name):
            if self._strike(entry):
                _act(entry)

    def _due(self, name: str) -> list[Entry]:
        with self._lock:
            self._reached[name] += 1
            due = [entry for entry in self._waiting if entry.name == name and entry.nth == self._reached[name]]
            self._waiting = [entry for entry in self._waiting if entry not in due]
        return due


_armed: _Armed | None = None


def reach(name: str) -> None:
    """Say that the process is at this place."""
    if _armed is not None:
        _armed.reach(name)


@contextmanager
def meanwhile(name: str) -> Iterator[None]:
    """Reach a place from another thread while the block runs: what it does is under way then."""
    if _armed is not None:
        threading.Thread(target=_armed.reach, args=(name,), name=f"failpoint {name}", daemon=True).start()
    yield


def arm(text: str) -> None:
    """Arm what a list or `@FILE` says, in place of what was armed; raises FailpointsError."""
    global _armed
    if text.startswith("@"):
        file = EntryFile(Path(text[1:]))
        _armed = _Armed(entries(file.read()), lambda entry: file.strike_out(entry.text))
    else:
        _armed = _Armed(entries(text), lambda _entry: True)


def disarm() -> None:
    """Make every place free again."""
    global _armed
    _armed = None


def arm_from_environment() -> None:
    """Arm what HOLDFAST_FAILPOINTS says, if it is set: to be called once, when a process starts. Raises FailpointsError."""
    text = os.environ.get(VARIABLE, "").strip()
    if text:
        try:
            arm(text)
        except FailpointsError as error:
            raise FailpointsError(f"{VARIABLE}: {error}") from error


def _act(entry: Entry) -> None:
    print(f"failpoint {entry.name}: {entry.action}", file=sys.__stderr__, flush=True)
    time.sleep(entry.seconds)
    if entry.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(60)  # the signal ends this thread here, but may need a moment to
    if entry.action == "raise":
        raise FailpointError(f"failpoint {entry.name}")
