"""Watches a run: what the brokers have committed, or what a program with a store of its own says, and the CPU it takes."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

from bench import topics
from bench.processes import cpu_seconds
from bench.stats import Sample

POLL_S: Final = 0.05
QUIET_S: Final = 2.0
"""After so long without a commit the outcomes are counted."""
PATIENCE_S: Final = 90.0
"""A run without a commit for so long has failed."""


class StalledError(RuntimeError):
    """A run that ended, or that commits nothing any more, before every order had its outcome."""


class Seen(NamedTuple):
    """Offsets committed at a moment."""

    at: float
    offsets: list[int]
    cpu: float
    servers_cpu: float


class Running(NamedTuple):
    """The processes of a run; `ended` says why they are no longer running, or nothing."""

    pids: list[int]
    server_pids: list[int]
    ended: Callable[[], str]

    def cpu(self) -> tuple[float, float]:
        return cpu_seconds(self.pids), cpu_seconds(self.server_pids)


def watch_topic(kafka: str, topic: str, partitions: int, running: Running, is_complete: Callable[[], bool]) -> list[Seen]:
    """Note every advance of the committed offsets until `is_complete`, which is asked when nothing has moved for a while."""
    client, seen = topics.admin(kafka), [Seen(time.monotonic(), [0] * partitions, *running.cpu())]
    asked_at, moved_at = -1, time.monotonic()
    while True:
        offsets, now = topics.committed(client, topic, partitions), time.monotonic()
        if offsets != seen[-1].offsets:
            seen.append(Seen(now, offsets, *running.cpu()))
            moved_at = now
        elif len(seen) > 1 and now - moved_at > QUIET_S and asked_at != len(seen):
            asked_at = len(seen)
            if is_complete():
                return seen
        _check(running, now - moved_at)
        time.sleep(POLL_S)


def _check(running: Running, quiet: float) -> None:
    ended = running.ended()
    if ended:
        raise StalledError(ended)
    if quiet > PATIENCE_S:
        raise StalledError(f"nothing was committed for {quiet:.0f} s")


def watch_file(path: Path, running: Running, orders: int) -> list[Sample]:
    """Read what programs with a store of their own note after each commit: a line of JSON with `at` (monotonic s) and `orders`."""
    samples: list[Sample] = []
    moved_at, read, done = time.monotonic(), 0, 0
    while done < orders:
        time.sleep(POLL_S)
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        for line in lines[read:]:
            noted = json.loads(line)
            done, moved_at = done + noted["orders"], time.monotonic()
            samples.append(Sample(max(noted["at"], samples[-1].at if samples else 0.0), done, *running.cpu()))
        read = len(lines)
        _check(running, time.monotonic() - moved_at)
    return samples
