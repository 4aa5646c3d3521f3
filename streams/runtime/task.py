"""The task of one (stage, partition): its rows, its positions, its fenced producer. README.md tells the protocol."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Mapping
from typing import Final

import structlog
from confluent_kafka import KafkaException, Producer

import failpoints
from streams.runtime import clients, opening, transactions
from streams.runtime.batch import AT_HAND_BYTES, FIRST_BYTES, Batch
from streams.runtime.clients import InputTopic, MisconfiguredError, Reader
from streams.runtime.exits import BUG, end_process
from streams.runtime.forwarding import Forwarding
from streams.runtime.opening import Owned, Recovery
from streams.runtime.positions import position_write, positions_of
from streams.runtime.records import BrokenRowError, Place, Record, Stage, StageKind, Write
from streams.runtime.shared import Shared, TaskState
from streams.runtime.standing import Standing
from streams.runtime.timing import Timing
from streams.runtime.transactions import Ending, FencedError

log = structlog.get_logger("holdfast.runtime")
RETRY_SECONDS: Final = 0.25


class Task(Standing):
    """Owns one partition of one stage for as long as this worker is assigned it."""

    def __init__(self, kind: StageKind, place: Place, shared: Shared) -> None:
        self.kind = kind
        self.place = place
        self.settings = shared.settings
        self.name = f"{kind.name}.{place.partition}"
        self.state = TaskState.OPENING
        self.position: dict[str, int] = {}
        self.stage: Stage = kind.new(place)
        self.progress_at = time.monotonic()
        self.topics: dict[str, InputTopic] = {}  # the inputs and the changelog, as they were when the task opened
        self._shared = shared
        self._owned = Owned(self.name, kind, place, shared.settings)
        self._producer: Producer | None = None
        self._reader: Reader | None = None
        self._recovery = Recovery(self._owned)
        self._limit = FIRST_BYTES
        self._outstanding: Batch | None = None
        self._reopen = self._closing = self._fenced = False
        self._fault: Exception | None = None
        self.silent = 0.0  # seconds for which the reader has not moved although the brokers have more, says the inspector
        self._forwarding = Forwarding(self.name, kind)
        self._timing = Timing(self.name, kind, shared.settings.topic_prefix)

    def _reach(self, step: str) -> None:
        failpoints.reach(f"{self.kind.name}.{step}")

    # -- the life of a task ------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Open, hand out one batch at a time until closed; an unexpected error ends the process."""
        try:
            while not self._closing:
                await self._until_open()
                try:
                    await self._hand_out()
                except BrokenRowError as error:
                    self._recovery.suspect(error)
                except KafkaException as error:  # of the reader; opening finds out what is wrong with its inputs
                    log.warning("an input cannot be read, task reopens", task=self.name, error=str(error))
                    await asyncio.sleep(RETRY_SECONDS)
        except MisconfiguredError as error:
            end_process(error.exit_code, str(error))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            end_process(BUG, f"task {self.name} failed", error)
        finally:
            await self._shared.in_thread(self._release)
            self._reach("closed")

    async def close(self) -> None:
        """Stop reading, let the batch under way end, drop the rows."""
        self._closing = True
        self._reach("closing")
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

    async def _until_open(self) -> None:
        """Open; while the brokers cannot be reached, or the group does not say that the partition is ours, try again."""
        while not self._closing:
            try:
                if not self._fenced or await self._still_ours():
                    await self._shared.in_thread(self.open)
                    return
            except (FencedError, KafkaException) as error:
                if transactions.is_fenced(error):
                    self._note_fence(error)
                elif not transactions.is_passing(error):
                    raise
                log.warning("cannot open yet, trying again", task=self.name, error=str(error))
            await asyncio.sleep(RETRY_SECONDS)

    def _note_fence(self, error: Exception) -> None:
        """Give up the producer: what it wrote is aborted, and it is of no use any more."""
        log.warning("fenced, asking the group whose the partition is", task=self.name, error=str(error))
        self.state = TaskState.OPENING
        self._producer, self._fenced = None, True

    async def _still_ours(self) -> bool:
        topic = self.kind.inputs[0].name
        self._fenced = not await self._shared.owns(topic, self.place.partition, self.position.get(topic, 0))
        return not self._fenced

    def open(self) -> None:
        """Fence the former owner, then recover rows and positions from the changelog, then stand there to read."""
        started = time.monotonic()
        self.state = TaskState.OPENING
        self._check_room()
        found = self._shared.brokers.topics()
        self.topics = {t.name: found[t.name] for t in (*self.kind.inputs, self.kind.changelog)}
        self._reach("reopening" if self._reopen else "opening")
        if self._producer is None:
            self._producer = opening.fence(self._owned)
        self._reach("fenced")
        self._shared.brokers.check_generation()  # after the fence, for whoever closes a generation says so before it fences
        stage = self._recovery.stage(self._advance)
        self._reach("changelog-read")
        recorded = positions_of(self._recovery.positions)
        opening.check_new(self._owned, recorded)
        self.stage.close()
        self.stage = stage
        self._start_reading(recorded)
        self._reach("positions-checked")
        self._reopen = not self._mend()
        self._check_room()  # again: it may have been short while the clients were made
        self.silent = 0.0
        gc.freeze()  # recovered rows live long: without this every full collection walks them all
        self.state = TaskState.READING
        log.info("task opened", task=self.name, rows=self.stage.rows.count_all(), position=self.position, seconds=round(time.monotonic() - started, 2))

    def _check_room(self) -> None:
        """Have no clients that were made short of files."""
        try:
            clients.check_room()
        except KafkaException:
            self._producer = None
            raise

    def _advance(self, _rows: int) -> None:
        self.progress_at = time.monotonic()
        self._reach("changelog-reading")

    def _start_reading(self, recorded: Mapping[str, tuple[int, int, str]]) -> None:
        if self._reader is not None:
            self._reader.close()
        self._reader = self._timing.spans.reader(self.settings, self.kind.inputs, self.place.partition)
        self.position = opening.stand(self._owned, self._reader, recorded, self.topics)

    def _mend(self) -> bool:
        """Put stray records out of the way, and hear the brokers' time where nobody has; False: open again."""
        clock = self._shared.clock
        if clock.known and not self._recovery.found_strays:
            return True
        assert self._producer is not None
        self._producer.begin_transaction()
        self._produce([*self._recovery.mending(clock.now_ms()), position_write(self.kind, self.place, self.position, self.topics)])
        return self._ended(transactions.commit(self._producer, self.name))

    # -- batches -------------------------------------------------------------------------------------------------------

    async def _hand_out(self) -> None:
        while not self._closing and not self._reopen:
            records = self._at_hand() or await self._shared.in_thread(self._read)
            if records or self.stage.is_due(self._shared.clock.now_ms()):
                await self._offer(records)
            else:
                self.progress_at = time.monotonic()

    def _at_hand(self) -> list[Record]:
        """Read what is here already, where that is little: a thread is asked in one turn of the event loop and heard of in another."""
        return [] if self._shared.room.gather else self._taken(AT_HAND_BYTES, 0.0)

    def _read(self) -> list[Record]:
        records = self._taken(self._limit, self.stage.patience())
        if not records:
            self.stage.rows.check_some()  # a broken one is found before it is needed
        return records

    def _taken(self, most: int, patience: float | None) -> list[Record]:
        assert self._reader is not None
        if self._reader.cursor != self.position:
            self._reach("rewinding")
        self._reader.rewind(self.position)
        is_due = self.stage.is_due(self._shared.clock.now_ms())
        return [] if is_due else self._reader.read(min(most, self._limit), patience, self._shared.room.gather)

    async def _offer(self, records: list[Record]) -> None:
        """Hand one batch to the agent and wait until it is committed, refused or lost."""
        self._reach("read")
        self._outstanding = batch = Batch(self.kind.name, self.place.partition, self.position, records)
        self.state = TaskState.WAITING
        self._shared.inbox.put_nowait(batch)
        self._reach("handed-over")
        try:
            await batch.done
        finally:
            self._outstanding = None
        if not self._reopen:
            self.state = TaskState.READING

    def take(self, batch: Batch) -> bool:
        """Whether the agent may decide this batch: it follows the task's position and nobody took it before."""
        if self._closing or batch is not self._outstanding:
            batch.drop()
            return False
        return batch.take(self.position)

    def begin(self, batch: Batch) -> None:
        """Decide a taken batch and hand answers, changed rows and the new position to the transaction; commits nothing."""
        self.state = TaskState.COMMITTING
        self._reach("taken")
        try:
            with self._timing.begin(batch):
                self._decide(batch)
        except BrokenRowError as error:
            self._recovery.suspect(error)
            self._fault = error
        except KafkaException as error:
            if not transactions.is_broken(error):
                raise
            self._fault = error
        self._limit = self._shared.room.next_limit(self.name, self._limit, self._timing.decided(), self._reader.taken if self._reader else 0)

    def _decide(self, batch: Batch) -> None:
        assert self._producer is not None
        self._producer.begin_transaction()
        self._reach("begun")
        now = self._shared.clock.now_ms()
        writes = self.stage.expire(now) if batch.is_timer else self.stage.decide(batch.records, now)
        self._reach("timer-decided" if batch.is_timer else "decided")
        self._forwarding.note(writes)
        writes.append(position_write(self.kind, self.place, batch.end, self.topics))
        self._produce(writes)

    def _produce(self, writes: list[Write]) -> None:
        assert self._producer is not None
        producer = self._timing.spans.producer(self._producer)
        clients.produce_in_halves(producer, writes, self.settings.topic_prefix, self._shared.clock.delivered, self._reach)

    async def commit(self, batch: Batch) -> None:
        """Commit the transaction off the event loop; only then does the task stand after the batch."""
        try:
            self._reopen = not await self._shared.in_thread(self._commit)
        except FencedError as error:
            self._note_fence(error)
            self._reopen = True
        if not self._reopen:
            self.position = batch.end
            self._timing.committed(batch)
            with self._timing.spans.acting():
                self.stage.committed()
            self._reach("moved")
        self._timing.spans.end("not committed" if self._reopen else "")
        self.progress_at = time.monotonic()
        batch.finish(committed=not self._reopen)

    def _commit(self) -> bool:
        assert self._producer is not None
        fault, self._fault = self._fault, None
        return self._ended(transactions.commit(self._producer, self.name) if fault is None else transactions.abort(self._producer, self.name, str(fault)))

    def _ended(self, ending: Ending) -> bool:
        """Whether it committed. If not, the producer goes: it counts the records that never arrived, and its next ones would be out of sequence."""
        if ending is not Ending.COMMITTED:
            self._producer = None
        return ending is Ending.COMMITTED

    def _release(self) -> None:
        self.state = TaskState.CLOSED
        self._shared.room.leave(self.name)
        self.stage.close()
        if self._reader is not None:
            self._reader.close()
        self._reader = self._producer = None
