"""All tasks of one worker: opened and closed as Faust's group assigns partitions."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import structlog
from faust.types import TP

import failpoints
from streams.config import StreamSettings
from streams.runtime.batch import Batch
from streams.runtime.brokers import Brokers
from streams.runtime.clock import Clock
from streams.runtime.exits import BUG, MISCONFIGURED, end_process
from streams.runtime.records import Place, StageKind
from streams.runtime.shared import Room, Shared
from streams.runtime.task import Task
from telemetry.run_file import RunFile

log = structlog.get_logger("holdfast.runtime")
THREADS: Final = 256
"""At most: one blocked in a read per task, and commits beside them."""


class Tasks:
    """The tasks this worker owns, by (stage, partition), and the one inbox that leads from them to Faust."""

    def __init__(self, kinds: Sequence[StageKind], settings: StreamSettings) -> None:
        self.kinds = {kind.name: kind for kind in kinds}
        self.settings = settings
        self.inbox: asyncio.Queue[Batch] = asyncio.Queue()
        self._tasks: dict[tuple[str, int], Task] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._runs: dict[tuple[str, int], asyncio.Task[None]] = {}
        """The last run of a task of each partition that was ever here; it may outlive its task's place in `_tasks`."""
        self.brokers = Brokers(settings)
        threads, room = ThreadPoolExecutor(THREADS, thread_name_prefix="task"), Room(settings.batch_seconds, settings.max_batch_bytes)
        self._shared = Shared(settings, self.inbox, threads, self.brokers, Clock(), room, self._owns)
        self.metrics: str | None = None
        """URL of the process's figures, if it shows any."""
        self.ask_group: Callable[[TP, int], Awaitable[bool]] | None = None
        """Given by the consumer: whether the group takes a position of an input from this member."""
        self.leave_group: Callable[[], None] = lambda: None
        """Given by the consumer: give every partition back now, from any thread."""

    def all(self) -> list[Task]:
        """Return the tasks now owned."""
        return list(self._tasks.values())

    def topics(self) -> frozenset[str]:
        """Return the broker-side names of every input: Faust keeps their assignment and must not fetch them."""
        prefix = self.settings.topic_prefix
        return frozenset(t.named(prefix) for kind in self.kinds.values() for t in kind.inputs)

    def task_of(self, batch: Batch) -> Task | None:
        """Return the task a batch belongs to, if this worker still owns it."""
        return self._tasks.get((batch.stage, batch.partition))

    async def revoke(self) -> None:
        """A rebalance begins: let transactions under way end. Which tasks stay is known only at `assign`."""
        failpoints.reach("worker.revoked")
        await asyncio.gather(*(task.settle() for task in self.all()))
        failpoints.reach("worker.settled")

    async def assign(self, assigned: Iterable[TP]) -> None:
        """Close the tasks of partitions that went away, open those that came; the others go on as they are."""
        wanted = self._wanted(set(assigned))
        failpoints.reach("worker.assigned")
        gone = [self._tasks.pop(key) for key in set(self._tasks) - wanted]
        await asyncio.gather(*(task.close() for task in gone))
        for key in sorted(wanted - set(self._tasks)):
            self._start(*key)
        self._publish()

    def _wanted(self, assigned: set[TP]) -> set[tuple[str, int]]:
        """Return (stage, partition) of every stage whose inputs are all here; a partial assignment cannot work."""
        prefix, wanted = self.settings.topic_prefix, set()
        for kind in self.kinds.values():
            per_input = [{tp.partition for tp in assigned if tp.topic == t.named(prefix)} for t in kind.inputs]
            if any(p != per_input[0] for p in per_input):
                end_process(MISCONFIGURED, f"the inputs of stage {kind.name} were assigned apart: {per_input}; every input needs the same partition count")
            wanted |= {(kind.name, p) for p in per_input[0]}
        return wanted

    def _start(self, stage: str, partition: int) -> None:
        task = Task(self.kinds[stage], Place(partition, self.settings.partitions), self._shared)
        self._tasks[stage, partition] = task
        self._runs[stage, partition] = self._keep(_run_after(self._runs.get((stage, partition)), task))

    def drop_waiting(self) -> None:
        """A rebalance ends: what Faust had in flight is lost, so give it up; the tasks read it again."""
        failpoints.reach("worker.flow-resumes")
        for task in self.all():
            task.drop_waiting()

    async def close(self) -> None:
        """The worker stops: close every task."""
        failpoints.reach("worker.stopping")
        tasks, self._tasks = self.all(), {}
        await asyncio.gather(*(task.close() for task in tasks))
        await asyncio.gather(*self._running)

    def carry_out(self, batch: Batch) -> None:
        """Decide a batch and commit it in the background; refused if stale. An unexpected error ends the process."""
        task = self.task_of(batch)
        if task is None or not task.take(batch):
            log.info("stale batch refused", stage=batch.stage, partition=batch.partition, start=batch.start)
            batch.drop()
            return
        try:
            task.begin(batch)
        except BaseException as error:
            end_process(BUG, f"batch of {task.name} after {batch.start} could not be decided", error)
        self._keep(self._commit(task, batch))

    def _keep(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Run it beside everything else; a task nobody holds may be collected."""
        running = asyncio.get_running_loop().create_task(work)
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return running

    async def _commit(self, task: Task, batch: Batch) -> None:
        try:
            await task.commit(batch)
        except BaseException as error:
            end_process(BUG, f"commit of {task.name} failed", error)

    async def _owns(self, topic: str, partition: int, position: int) -> bool:
        return self.ask_group is not None and await self.ask_group(TP(self.settings.topic_prefix + topic, partition), position)

    def positions(self) -> dict[TP, int]:
        """Return where every input partition is decided up to, for the group's offsets (a hint and a lag metric)."""
        prefix = self.settings.topic_prefix
        return {TP(prefix + topic, task.place.partition): offset for task in self.all() for topic, offset in task.reached().items()}

    def held(self) -> Mapping[str, list[int]]:
        """Return stage -> partitions held here."""
        return {name: sorted(p for stage, p in self._tasks if stage == name) for name in self.kinds}

    def _publish(self) -> None:
        """Say in the run folder which partitions this process holds."""
        RunFile("worker", self.settings.run_dir).write(self.held(), metrics=self.metrics)


async def _run_after(before: asyncio.Task[None] | None, task: Task) -> None:
    """Run a task once the one before it on its partition is through: that may be opening still, and its fence would hit this one."""
    if before is not None:
        await asyncio.wait({before})
    await task.run()
