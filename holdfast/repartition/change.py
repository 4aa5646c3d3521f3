"""The way from one number of partitions to another, step by step. Each step may be the last before a kill -9: run again, it goes on.

BARRIER   gateways and producers wait; what is under way is read to its end; then orders and commands are closed at the brokers
CLOSED    no task may write any more: they are fenced, and end. Something left unread after all: back to BARRIER
          the new topics are made, filled with the rows and read back
CURRENT   everybody goes on in the new topics
"""

from __future__ import annotations

import time
from contextlib import closing
from dataclasses import asdict, dataclass
from typing import Any, Final

import failpoints
from generations import History, Step, prefix_of
from holdfast.lag import READERS, LagError, LagMeter, Look
from holdfast.log_whole import partitions_of
from holdfast.repartition.doors import Doors
from holdfast.repartition.errors import RepartitionError, TakenOverError
from holdfast.repartition.register import Register
from holdfast.repartition.seeding import Left, Progress, check, left_by, present, remove, seed
from schemas.topics import ORDER_COMMANDS, ORDERS, PAYMENT_REQUESTS, STOCK_COMMANDS
from streams.config import StreamSettings

FROM_OUTSIDE: Final = (ORDERS, ORDER_COMMANDS)
"""What only programs outside the stages write to, but for lines on a wrong partition."""
ALL_INPUTS: Final = (*FROM_OUTSIDE, STOCK_COMMANDS)
ROUNDS: Final = 5
"""So often the tasks are let in again because something came in at the last moment."""
PAUSE_S: Final = 0.2


@dataclass(frozen=True)
class Done:
    """What was changed. `rows`: of all stages; `paused_s`: from the barrier (or the beginning of this run) to the switch."""

    generation: int
    partitions_before: int
    partitions: int
    rows: int
    paused_s: float

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return asdict(self)


class Repartition:
    """One change, from wherever it stands. Opening it ends another program that is at work on the same."""

    def __init__(self, kafka: str, root: str, progress: Progress, drain_s: float = 120.0) -> None:
        self._kafka = kafka
        self._root = root
        self._progress = progress
        self._drain_s = drain_s
        self._register = Register(kafka, root)
        self._history = self._register.read()
        before = partitions_of(kafka, [ORDERS.named(self._history.prefix)])
        self._before = StreamSettings(kafka=kafka, topic_prefix=root, partitions=next(iter(before.values()))).at(self._history)
        self._doors = Doors(kafka, root, self._before.topic_prefix, self._before.partitions)

    @property
    def history(self) -> History:
        """How things stood at the beginning."""
        return self._history

    def cancel(self) -> bool:
        """Go back to the generation in use, if a change was under way; returns whether one was. Its topics are open again in any case."""
        self._doors.open(ALL_INPUTS)
        moving = self._history.moving
        if moving is not None:
            self._cancel(moving.partitions)
        return moving is not None

    def _cancel(self, partitions: int) -> None:
        for change in self._register.read().changes:
            if change.generation > self._history.number and change.step is not Step.CANCELLED:
                self._register.say(change.generation, partitions, Step.CANCELLED)

    def run(self, partitions: int) -> Done:
        """Change the count, or go on with a change to it; raises RepartitionError."""
        self._check(partitions)
        try:
            return self._run(partitions)
        except TakenOverError:
            # Who took over may have cancelled, and we have closed the doors once more since.
            now = self._register.read()
            if now.moving is None and now.number == self._history.number:
                self._doors.open(ALL_INPUTS)
            raise

    def _run(self, partitions: int) -> Done:
        began, moving = time.monotonic(), self._history.moving
        left = self._closed(self._history.next if moving is None else moving.generation, partitions)
        target = self._fresh(partitions)
        after = StreamSettings(kafka=self._kafka, topic_prefix=prefix_of(self._root, target), partitions=partitions)
        seed(after, left, self._register, self._progress)
        failpoints.reach("repartition.seeded")
        rows = check(after, left, self._progress)
        failpoints.reach("repartition.checked")
        self._register.say(target, partitions, Step.CURRENT)
        failpoints.reach("repartition.switched")
        remove(self._kafka, self._register.read().abandoned)
        return Done(target, self._before.partitions, partitions, rows, round(time.monotonic() - began, 3))

    def _check(self, partitions: int) -> None:
        moving = self._history.moving
        if moving is not None and moving.partitions != partitions:
            raise RepartitionError(f"a change to {moving.partitions} partitions is under way: run with --to {moving.partitions} to go on, or --cancel")
        if moving is None and partitions == self._before.partitions:
            raise RepartitionError(f"there are {partitions} partitions already")

    def _fresh(self, partitions: int) -> int:
        """Return a generation of which there is no topic yet. One that was begun is never gone on with nor deleted: whoever began it may wake up."""
        moving = self._register.read().moving
        assert moving is not None, "nobody else may end this change"
        target = moving.generation
        if present(self._kafka, [prefix_of(self._root, target)]):
            self._register.say(target + 1, partitions, Step.CLOSED)
            self._register.say(target, partitions, Step.CANCELLED)
            return target + 1
        return target

    def _closed(self, target: int, partitions: int) -> Left:
        """Bring the generation in use to a rest in which every stage has read everything, and nobody can write any more."""
        for _ in range(ROUNDS):
            moving = self._history.moving
            if moving is None or moving.step is Step.BARRIER:
                self._register.say(target, partitions, Step.BARRIER)
                failpoints.reach("repartition.barrier")
                self._drain(partitions)
            left = self._close(target, partitions)
            if not left.unread:
                return left
            self._doors.open(ALL_INPUTS)
            self._register.say(target, partitions, Step.BARRIER)
            failpoints.reach("repartition.reopened")
            self._history = self._register.read()
        self._give_up(partitions, f"something was written again and again at the last moment: {', '.join(left.unread)}")
        raise AssertionError

    def _close(self, target: int, partitions: int) -> Left:
        # Said first, fenced second: a task that opens after its fence was broken sees what was said, and ends.
        self._register.say(target, partitions, Step.CLOSED)
        failpoints.reach("repartition.closed")
        self._progress("fencing the tasks", 0)
        self._doors.fence_tasks()
        failpoints.reach("repartition.fenced")
        self._doors.close(ALL_INPUTS)
        failpoints.reach("repartition.shut")
        return left_by(self._before, self._progress)

    def _drain(self, partitions: int) -> None:
        """Wait until everything is read, close what comes from outside, and wait for what had slipped in."""
        self._wait_read(partitions)
        failpoints.reach("repartition.drained")
        self._doors.close(FROM_OUTSIDE)
        failpoints.reach("repartition.outside-shut")
        self._wait_read(partitions)

    def _wait_read(self, partitions: int) -> None:
        deadline = time.monotonic() + self._drain_s
        with closing(LagMeter(self._kafka, self._before.topic_prefix, READERS[:3])) as meter:
            while True:
                try:
                    look = meter.look()
                except LagError as error:
                    raise RepartitionError(f"{error}. Run again to go on") from error
                behind = _behind(look)
                if not behind:
                    return
                self._progress("waiting until everything is read: records left", sum(behind.values()))
                if time.monotonic() > deadline:
                    self._give_up(partitions, f"not everything was read within {self._drain_s:.0f} s: {behind} records are left")
                time.sleep(PAUSE_S)

    def _give_up(self, partitions: int, why: str) -> None:
        self._doors.open(ALL_INPUTS)
        self._cancel(partitions)
        raise RepartitionError(f"{why}. The change is cancelled, the shop goes on as before. Do workers run (`holdfast status`, `holdfast watch`)?")


def _behind(look: Look) -> dict[str, int]:
    """Return stage -> records it has to read. A payment that is being asked holds its position back, so requests say nothing; rows do, later."""
    found: dict[str, int] = {}
    for lag in look.lags:
        if lag.records and lag.topic != PAYMENT_REQUESTS.name:
            found[lag.stage] = found.get(lag.stage, 0) + lag.records
    return found
