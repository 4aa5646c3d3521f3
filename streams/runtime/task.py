"""The task of one (stage, partition): its rows, its positions, its fenced producer. README.md tells the protocol."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from typing import Final, TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from schemas import codec
from schemas.topics import POSITIONS_KEY
from streams.config import StreamSettings
from streams.runtime import clients
from streams.runtime.batch import Batch, next_limit
from streams.runtime.clients import InputTopic, MisconfiguredError, Reader
from streams.runtime.exits import BUG, FENCED, MISCONFIGURED, end_process
from streams.runtime.positions import check_positions, positions_of, positions_record
from streams.runtime.records import Place, Record, Stage, StageKind, Write

log = structlog.get_logger("holdfast.runtime")
T = TypeVar("T")
RETRY_SECONDS: Final = 1.0
FIRST_BATCH_BYTES: Final = 131_072
"""Bytes of the first batch; the next ones adapt to how long deciding takes."""


class TaskState(Enum):
    OPENING = "opening"
    READING = "reading"  # nothing outstanding
    WAITING = "waiting"  # a batch is on its way to the agent
    COMMITTING = "committing"
    CLOSED = "closed"


class Task:
    """Owns one partition of one stage for as long as this worker is assigned it."""

    def __init__(self, kind: StageKind, place: Place, settings: StreamSettings, inbox: asyncio.Queue[Batch], threads: ThreadPoolExecutor) -> None:
        self.kind = kind
        self.place = place
        self.settings = settings
        self.state = TaskState.OPENING
        self.position: dict[str, int] = {}
        self.stage: Stage = kind.new(place)
        self.progress_at = time.monotonic()
        self._inbox = inbox
        self._threads = threads
        self._producer: Producer | None = None
        self._reader: Reader | None = None
        self._inputs: dict[str, InputTopic] = {}
        self._limit = FIRST_BATCH_BYTES
        self._outstanding: Batch | None = None
        self._reopen = False
        self._closing = False
        self.forwarded = 0

    @property
    def name(self) -> str:
        return f"{self.kind.name}.{self.place.partition}"

    def has_lag(self) -> bool:
        """Whether there is something to do: a batch outstanding, or the task is still opening."""
        return self.state not in (TaskState.READING, TaskState.CLOSED)

    def reached(self) -> dict[str, int]:
        """Return topic -> offset before which everything is decided: the position, or the end if nothing is outstanding."""
        reader = self._reader
        return dict(reader.reached) if reader is not None and reader.cursor == self.position and self._outstanding is None else dict(self.position)

    # -- the life of a task ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, hand out one batch at a time until closed; an unexpected error ends the process."""
        try:
            while not self._closing:
                await self._until_done(self.open)
                await self._hand_out()
        except MisconfiguredError as error:
            end_process(MISCONFIGURED, str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(BUG, f"task {self.name} failed", error)
        finally:
            await self._in_thread(self._release)

    async def close(self) -> None:
        """Stop reading, let the batch under way end, drop the rows."""
        self._closing = True
        if self._outstanding is not None:
            self._outstanding.drop()
            await self._outstanding.done

    def drop_waiting(self) -> None:
        """Give up the batch the agent has not taken: across a rebalance Faust loses it without a word."""
        if self._outstanding is not None:
            self._outstanding.drop()

    async def settle(self) -> None:
        """Wait for the transaction under way, if any."""
        if self._outstanding is not None and self.state is TaskState.COMMITTING:
            await self._outstanding.done

    async def _until_done(self, step: Callable[[], None]) -> None:
        """Run a step in a thread; while the brokers cannot be reached, try again."""
        while not self._closing:
            try:
                return await self._in_thread(step)
            except KafkaException as error:
                if not _is_passing(error):
                    raise
                log.warning("brokers do not answer, trying again", task=self.name, error=str(error))
                await asyncio.sleep(RETRY_SECONDS)
        return None

    async def _in_thread(self, call: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, call, *args)

    # -- open ----------------------------------------------------------------------------------------------------------

    def open(self) -> None:
        """Fence the former owner, then recover rows and positions from the changelog, then stand there to read."""
        started = time.monotonic()
        self.state = TaskState.OPENING
        self._inputs = clients.describe_inputs(self.settings, self.kind.inputs)
        self._fence()
        rows = clients.read_changelog(self.settings, self.kind.changelog, self.place.partition, self._advance)
        recorded = positions_of(rows.pop(POSITIONS_KEY, None))
        self.stage = self.kind.new(self.place)
        self.stage.restore(rows)
        self._start_reading(recorded)
        self._reopen = False
        gc.freeze()  # recovered rows live long: without this every full collection walks them all
        self.state = TaskState.READING
        log.info("task opened", task=self.name, rows=self.stage.rows.count_all(), position=self.position, seconds=round(time.monotonic() - started, 2))

    def _advance(self, _rows: int) -> None:
        self.progress_at = time.monotonic()

    def _fence(self) -> None:
        if self._producer is None:
            transactional_id = f"{self.settings.app_id}.{self.kind.name}.{self.place.partition}"
            self._producer = clients.new_producer(self.settings, transactional_id)
            self._producer.init_transactions(clients.REQUEST_SECONDS)

    def _start_reading(self, recorded: dict[str, tuple[int, int, str]]) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = Reader(self.settings, self.kind.inputs, self.place.partition, {t.name: 0 for t in self.kind.inputs})
        marks = {t.name: self._reader.watermarks(t.name) for t in self.kind.inputs}
        self.position = check_positions(self.name, recorded, self._inputs, marks, self.place.partitions)
        self._reader.rewind(self.position)

    # -- batches -------------------------------------------------------------------------------------------------------

    async def _hand_out(self) -> None:
        while not self._closing and not self._reopen:
            records = await self._in_thread(self._read)
            if records or self.stage.is_due(now_ms()):
                await self._offer(records)
            else:
                self.progress_at = time.monotonic()

    def _read(self) -> list[Record]:
        assert self._reader is not None
        self._reader.rewind(self.position)
        if self.stage.is_due(now_ms()):
            return []
        return self._reader.read(self._limit)

    async def _offer(self, records: list[Record]) -> None:
        """Hand one batch to the agent and wait until it is committed, refused or lost."""
        batch = Batch(self.kind.name, self.place.partition, self.position, records)
        self._outstanding = batch
        self.state = TaskState.WAITING
        self._inbox.put_nowait(batch)
        try:
            await batch.done
        finally:
            self._outstanding = None
        if not self._reopen:
            self.state = TaskState.READING

    # -- one batch's transaction ---------------------------------------------------------------------------------------

    def take(self, batch: Batch) -> bool:
        """Whether the agent may decide this batch: it follows the task's position and nobody took it before."""
        if self._closing or batch is not self._outstanding:
            batch.drop()
            return False
        return batch.take(self.position)

    def begin(self, batch: Batch) -> None:
        """Decide a taken batch and hand answers, changed rows and the new position to the transaction; commits nothing."""
        assert self._producer is not None
        started = time.monotonic()
        self.state = TaskState.COMMITTING
        self._producer.begin_transaction()
        now = now_ms()
        writes = self.stage.expire(now) if batch.is_timer else self.stage.decide(batch.records, now)
        self._count_forwarded(writes)
        writes.append(self._position_write(batch.end))
        clients.produce_all(self._producer, writes, self.settings.topic_prefix)
        self._limit = next_limit(self._limit, time.monotonic() - started, self.settings.batch_seconds, self.settings.max_batch_bytes)

    def _count_forwarded(self, writes: list[Write]) -> None:
        """Say how much came in on a wrong partition: somebody produces with another partitioner."""
        inputs = {topic.name for topic in self.kind.inputs}
        forwarded = sum(1 for write in writes if write.topic.name in inputs)
        if forwarded:
            self.forwarded += forwarded
            log.warning("records of another partition forwarded", task=self.name, now=forwarded, in_all=self.forwarded)

    def _position_write(self, end: Mapping[str, int]) -> Write:
        return Write(self.kind.changelog, self.place.partition, POSITIONS_KEY, codec.encode("TaskPositions", positions_record(end, self._inputs)))

    async def commit(self, batch: Batch) -> None:
        """Commit the transaction off the event loop; only then does the task stand after the batch."""
        committed = await self._in_thread(self._commit)
        if committed:
            self.position = batch.end
        else:
            self._reopen = True
        self.progress_at = time.monotonic()
        batch.finish(committed=committed)

    def _commit(self) -> bool:
        assert self._producer is not None
        while True:
            try:
                self._producer.commit_transaction(clients.REQUEST_SECONDS)
                return True
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if error.txn_requires_abort():
                    self._abort(error)
                    return False
                if not error.retriable():
                    end_process(FENCED, f"task {self.name} may not commit: another worker owns its partition", exception)
                log.warning("commit not answered, asking again", task=self.name, error=str(error))

    def _abort(self, why: KafkaError) -> None:
        """Undo the transaction; the rows it touched are thrown away by the reopening that follows."""
        log.warning("transaction aborted, task reopens", task=self.name, error=str(why))
        assert self._producer is not None
        while True:
            try:
                return self._producer.abort_transaction(clients.REQUEST_SECONDS)
            except KafkaException as exception:
                if not exception.args[0].retriable():
                    end_process(FENCED, f"task {self.name} may not abort: another worker owns its partition", exception)

    # -- close ---------------------------------------------------------------------------------------------------------

    def _release(self) -> None:
        self.state = TaskState.CLOSED
        reader, self._reader, self._producer = self._reader, None, None
        if reader is not None:
            reader.close()


def now_ms() -> int:
    """Return the wall clock in ms: the one place of a worker that reads it for decisions."""
    return time.time_ns() // 1_000_000


def _is_passing(exception: KafkaException) -> bool:
    error: KafkaError = exception.args[0]
    transport = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT, KafkaError._RESOLVE, KafkaError.COORDINATOR_NOT_AVAILABLE)
    return bool(error.retriable()) or error.code() in transport
