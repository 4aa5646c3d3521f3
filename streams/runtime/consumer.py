"""Faust's consumer, with the pipeline's topics taken off its own data path.

Faust keeps the group, the assignment and the delivery to agents. The records come from the tasks: each batch is one
Faust message. Of what this leans on in faust-streaming 0.15.3, runtime/README.md keeps a list.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from typing import Any, Final

import structlog
from aiokafka.structs import TopicPartition as KafkaTP
from faust.transport.drivers import aiokafka as driver
from faust.types import TP, Message

import failpoints
from streams.runtime.batch import Batch
from streams.runtime.membership import commit_as, leave, membership_of
from streams.runtime.tasks import Tasks

log = structlog.get_logger("holdfast.runtime")
COMMIT_SECONDS: Final = 10.0
LEAVE_SECONDS: Final = 2.0


class BatchConsumer(driver.Consumer):  # type: ignore[misc]
    """Delivers the tasks' batches; fetches nothing of the pipeline's topics itself."""

    tasks: Tasks

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._sequence: Counter[TP] = Counter()
        self._committed_positions: dict[TP, int] = {}
        self.tasks.ask_group, self.tasks.leave_group = self._is_mine, self._leave_from_outside

    def _is_pipeline(self, tp: TP) -> bool:
        return tp.topic in self.tasks.topics()

    def _get_active_partitions(self) -> set[TP]:
        return {tp for tp in super()._get_active_partitions() if not self._is_pipeline(tp)}

    async def _pause(self, tps: set[TP]) -> None:
        if tps:
            self._thread._consumer.pause(*[KafkaTP(*tp) for tp in tps])

    async def getmany(self, timeout: float) -> AsyncIterator[tuple[TP, Message]]:
        """Deliver the batches that get ready within `timeout` s; yield Faust's own records, if it has any.

        What is yielded costs Faust about ten turns of its event loop, one record after the other. So a batch goes to its agent from here.
        """
        if not self.flow_active:
            await self.wait(self.can_resume_flow)
            return
        if self._get_active_partitions():
            async for tp, message in super().getmany(0.0):
                yield tp, message
        until = time.monotonic() + timeout
        while self.flow_active and (left := until - time.monotonic()) > 0:
            for batch in await self._ready(left):
                await self._deliver(batch)

    async def _ready(self, timeout: float) -> list[Batch]:
        inbox = self.tasks.inbox
        try:
            async with asyncio.timeout(timeout):
                batches = [await inbox.get()]
        except TimeoutError:
            return []
        while not inbox.empty():
            batches.append(inbox.get_nowait())
        return batches

    async def _deliver(self, batch: Batch) -> None:
        """Hand a batch to its agent, as Faust does with a record; give it up where the flow has stopped, for then Faust would lose it."""
        if not (self.flow_active and self.app.flow_control.is_active()):
            batch.drop()
            return
        failpoints.reach(f"{batch.stage}.delivered")
        tp, message = self._message(batch)
        await self.callback(message)
        self._read_offset[tp] = message.offset

    def _message(self, batch: Batch) -> tuple[TP, Message]:
        """Wrap a batch. The generation must be the current one, or the stream drops it; offsets merely have to grow by one."""
        kind = self.tasks.kinds[batch.stage]
        tp = TP(kind.inputs[0].named(self.tasks.settings.topic_prefix), batch.partition)
        self._sequence[tp] += 1
        generation = self.app.consumer_generation_id
        return tp, Message(*tp, self._sequence[tp], 0, 0, (), None, batch, None, tp=tp, generation_id=generation)

    def ack(self, message: Message) -> bool:
        """A batch's fate is its transaction's; Faust's acks of it mean nothing and are not kept."""
        if not self._is_pipeline(message.tp):
            return bool(super().ack(message))
        message.acked = True
        self._unacked_messages.discard(message)
        return True

    def _filter_tps_with_pending_acks(self, topics: Any = None) -> Iterator[TP]:
        """Leave the batches' acks out: their offsets are counters. (Faust's compiled streams note acks past `ack`.)"""
        for tp in [tp for tp in self._acked if self._is_pipeline(tp)]:
            del self._acked[tp]
            self._acked_index.pop(tp, None)
        return iter(list(super()._filter_tps_with_pending_acks(topics)))

    async def seek_to_committed(self) -> Mapping[TP, int]:
        """Where Faust's own topics go on. The pipeline's are paused in the client underneath: the tasks read them."""
        await self._thread.call_thread(self._pause, {tp for tp in self.assignment() if self._is_pipeline(tp)})
        self._committed_positions.clear()
        offsets = await super().seek_to_committed()
        return {tp: offset for tp, offset in offsets.items() if not self._is_pipeline(tp)}

    async def force_commit(self, topics: Any = None, start_new_transaction: bool = True) -> bool:
        """Commit Faust's own offsets, then the tasks' positions: a hint and a lag metric, so a failure is no matter."""
        did_commit = bool(await super().force_commit(topics, start_new_transaction))
        moved = {tp: offset for tp, offset in self.tasks.positions().items() if self._committed_positions.get(tp) != offset}
        if moved:
            await self._commit_positions(moved)
        return did_commit

    async def _commit_positions(self, moved: dict[TP, int]) -> None:
        try:
            failpoints.reach("worker.group-committing")
            await asyncio.wait_for(self._thread.call_thread(self._commit_in_thread, moved), COMMIT_SECONDS)
            failpoints.reach("worker.group-committed")
            self._committed_positions.update(moved)
        except Exception as error:
            log.info("group offsets not committed", error=repr(error))

    async def _is_mine(self, tp: TP, position: int) -> bool:
        """Whether the group takes a position of this input from us: it does from a member of its current generation."""
        if KafkaTP(*tp) not in self._thread._consumer.assignment():
            return False
        try:
            await asyncio.wait_for(self._thread.call_thread(self._commit_in_thread, {tp: position}), COMMIT_SECONDS)
        except Exception as error:
            log.info("the group does not confirm an assignment", topic=tp.topic, partition=tp.partition, error=repr(error))
            return False
        return True

    async def _commit_in_thread(self, moved: dict[TP, int]) -> None:
        consumer = self._thread._consumer
        member = membership_of(consumer._coordinator)
        mine = consumer.assignment()
        offsets = {KafkaTP(*tp): offset for tp, offset in moved.items() if KafkaTP(*tp) in mine}
        if offsets:
            await commit_as(member, consumer._coordinator, offsets)

    async def leave_group(self) -> None:
        """Give the partitions back now: without this the group waits out the session of a worker whose stop hangs."""
        try:
            await asyncio.wait_for(self._thread.call_thread(self._leave_in_thread), LEAVE_SECONDS)
        except Exception as error:
            log.info("the group was not left", error=repr(error))

    def _leave_from_outside(self) -> None:
        """As leave_group, for a thread that cannot wait for the worker's event loop: the group is spoken to on another. Never raises."""
        try:
            asyncio.run_coroutine_threadsafe(self._leave_in_thread(), self._thread.thread_loop).result(LEAVE_SECONDS)
        except Exception as error:
            log.info("the group was not left", error=repr(error))

    async def _leave_in_thread(self) -> None:
        await leave(self._thread._consumer._coordinator)

    def verify_event_path(self, now: float, tp: TP) -> None:
        """Faust's own stall warnings look at its fetcher, which is idle here; runtime/watchdog.py watches the tasks."""
        if not self._is_pipeline(tp):
            super().verify_event_path(now, tp)
