"""A lane kills one kind of process again and again, each time at a failpoint, and notes where it really died."""

from __future__ import annotations

import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from failpoints.names import FAUST, LOAD, NAMES, STAGES, TASK
from tests.faults.drill.client import ForkServer
from tests.faults.drill.order import Order

OPENING: Final = ("opening", "fenced", "changelog-reading", "changelog-read", "positions-checked")
TROUBLE: Final = {
    **{"rewinding": "lose", "aborting": "abort", "aborted": "abort", "reopening": "abort"},
    **dict.fromkeys(("closing", "closed", "revoked", "settled", "flow-resumes"), "rebalance"),
    "stopping": "stop",
}
"""What has to happen to a process besides, so that it comes to these places."""
SECONDS: Final = 30.0
"""A process that has not come to its failpoint by then does not count."""
TRIES: Final = 3


class DrillError(AssertionError):
    """A process ended in another way than it was made to; the text says how, and what it said last."""


@dataclass
class Tally:
    """Kills by failpoint, shared by the lanes. `hear` is told of each kill."""

    kills: Counter[str]
    hear: Callable[[str], None] = lambda _name: None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, name: str) -> None:
        with self.lock:
            self.kills[name] += 1
            self.hear(name)


@dataclass
class Lane:
    """One fork server, the failpoints its processes die at, and chance."""

    server: ForkServer
    names: Sequence[str]
    tally: Tally
    chance: random.Random
    broken: threading.Event
    """Set when any lane has failed: the others need not go on."""

    def run(self, times: int) -> None:
        """Kill at every failpoint so many times, in any order."""
        try:
            self._run(times)
        except BaseException:
            self.broken.set()
            raise

    def _run(self, times: int) -> None:
        rounds = [name for name in self.names for _ in range(times)]
        self.chance.shuffle(rounds)
        for name in rounds:
            for attempt in range(TRIES):
                if self.broken.is_set() or self.kill(name, Order(trouble=self._trouble(name), stage=_stage(name)), hasty=attempt > 0):
                    break

    def kill(self, name: str, order: Order, *, hasty: bool = False) -> bool:
        """Let one process die at a failpoint; False if it never came there. `hasty`: at the first opportunity."""
        nth = 1 if hasty else self._nth(name)
        armed = f"{name}=kill:{self._delay()}@{nth}"
        since = self.server.log.stat().st_size
        end = self.server.run(Order(armed, order.trouble, order.stage, order.source, self.chance.randrange(2**31), SECONDS))
        said = self.server.said(since)
        if end.code == -signal.SIGKILL and not end.ended and f"failpoint {name}: kill" in said:
            self.tally.add(name)
            return True
        if end.code != 0 and not end.ended:
            raise DrillError(f"armed with {armed}, a {self.server.kind} process ended with {end.code}:\n{said[-4000:]}")
        return False

    def _nth(self, name: str) -> int:
        step = name.partition(".")[2]
        if step in TROUBLE or name.startswith(("load.", "worker.")) or step in ("timer-decided", "joined", "dead-letters-sent"):
            return 1
        return self.chance.randint(1, 4 if step in OPENING else 3)

    def _delay(self) -> float:
        """Seconds for which the process still holds everything: nothing, or long enough for what is with the client to go out."""
        return self.chance.choice((0.0, round(self.chance.uniform(0.0, 0.006), 4), round(self.chance.uniform(0.0, 0.04), 3)))

    def _trouble(self, name: str) -> str:
        return TROUBLE.get(name.partition(".")[2], "")


@dataclass
class LoadLane(Lane):
    """Loads, each killed at every failpoint on its way, in the order of the way; then let through."""

    sources: list[str] = field(default_factory=list)

    def _run(self, times: int) -> None:
        left = Counter(dict.fromkeys(self.names, times))
        for number in range(times + TRIES):
            if left:
                self.sources.append(f"drill{number}")
                left -= Counter(name for name in self.names if left[name] and not self.broken.is_set() and self.kill(name, Order(source=self.sources[-1])))


def task_names() -> Iterator[str]:
    """Yield the failpoints of the tasks, and those of a worker that its tasks come to without Faust."""
    yield from (f"{stage}.{step}" for stage in STAGES for step in TASK)
    yield from (name for name in NAMES if name.endswith(".timer-decided"))
    yield from (f"worker.{step}" for step in ("revoked", "settled", "assigned", "flow-resumes", "stopping"))


def faust_names() -> Iterator[str]:
    """Yield the failpoints that only a worker with Faust comes to."""
    yield from (f"{stage}.{step}" for stage in STAGES for step in FAUST)
    yield from ("worker.group-committing", "worker.group-committed")


def drilled_names() -> list[str]:
    """Return the failpoints that the drill comes to: tests/live has those of the gateway, the webhooks and the change of the partition count."""
    return [name for name in NAMES if not name.startswith(("gateway.", "webhooks.", "repartition."))]


def names_of(place: str) -> list[str]:
    """Return the failpoints of one place."""
    return [name for name in NAMES if name.startswith(f"{place}.")]


def load_names() -> Iterable[str]:
    """Return the loader's failpoints in the order in which a load comes to them."""
    return [f"load.{step}" for step in LOAD]


def _stage(name: str) -> str:
    place = name.partition(".")[0]
    return place if place in STAGES else ""
