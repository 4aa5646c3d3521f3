"""The steps of a task's opening: fence the former owner, recover rows and positions, make sure that nothing was lost."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

import structlog
from confluent_kafka import OFFSET_BEGINNING, Producer, TopicPartition

from schemas import codec
from schemas.topics import DEAD_LETTERS, POSITIONS_KEY
from streams.config import StreamSettings
from streams.runtime import changelog as log_of
from streams.runtime import clients
from streams.runtime.changelog import Changelog, Stray
from streams.runtime.clients import InputTopic, MisconfiguredError, Reader
from streams.runtime.positions import check_changelog, check_positions, cut
from streams.runtime.records import BrokenRowError, Place, Stage, StageKind, Write

log = structlog.get_logger("holdfast.runtime")
MOST_BYTES: Final = 64 * 1024
"""Of a stray record's key in its dead letter."""


class Owned(NamedTuple):
    """What a task owns: its name, stage and place, under which settings."""

    name: str
    kind: StageKind
    place: Place
    settings: StreamSettings


def fence(task: Owned) -> Producer:
    """Return a producer under the task's ID: whoever had it before cannot commit any more."""
    producer = clients.new_producer(task.settings, f"{task.settings.app_id}.{task.kind.name}.{task.place.partition}")
    clients.connect(producer, task.settings, task.kind.changelog)
    producer.init_transactions(clients.REQUEST_SECONDS)
    return producer


class Recovery:
    """Makes a stage of the changelog, and what has to be written so that the changelog is sound again."""

    def __init__(self, task: Owned) -> None:
        self._task = task
        self._suspects: set[bytes] = set()
        self._changelog = Changelog(task.kind, task.place)

    @property
    def positions(self) -> bytes | None:
        """The TaskPositions found."""
        return self._changelog.positions

    @property
    def found_strays(self) -> bool:
        return bool(self._changelog.strays)

    def stage(self, progress: Callable[[int], None]) -> Stage:
        """Read the changelog to its end into a new stage; again for each row that turns out to be broken."""
        task = self._task
        while True:
            self._changelog = Changelog(task.kind, task.place, self._suspects)
            log_of.read(task.settings, self._changelog, task.kind.changelog, task.place.partition, progress)
            self._changelog.settle(task.name)
            stage = task.kind.new(task.place)
            try:
                stage.restore(self._changelog.rows)
            except BrokenRowError as error:
                self.suspect(error)
            else:
                self._changelog.rows = {}  # the stage has them now, in a form of its own
                _give_memory_back()
                return stage

    def suspect(self, error: BrokenRowError) -> None:
        """Have the key's records decoded at the next reading. A row that decodes and still cannot be made is nobody's stray record."""
        task = self._task
        if error.key in self._suspects:
            raise MisconfiguredError(
                f"task {task.name}: {error} ({task.kind.changelog.name} partition {task.place.partition}). Its record decodes, so this version of "
                "the program cannot have written it: start the version that did, or restore the row from a copy of the topic"
            ) from error
        log.warning("a row is broken, looking at every record of its key", task=task.name, key=repr(error.key), error=str(error))
        self._suspects.add(error.key)

    def mending(self, now: int) -> list[Write]:
        """Return what puts stray records out of the way: the row that stands (or none) over each, and each as a dead letter."""
        task, writes = self._task, []
        for key, stray in self._changelog.strays.items():
            log.warning("a stray record does not count", task=task.name, offset=stray.offset, key=repr(key), reason=stray.reason, detail=stray.detail)
            if key != POSITIONS_KEY:  # every transaction writes that one anyway
                writes.append(Write(task.kind.changelog, task.place.partition, key, stray.stands))
            writes.append(_dead_letter(task, stray, now))
        return writes


def _give_memory_back() -> None:
    """Let the system have what the reading took: the C library keeps it otherwise, two hundred bytes for each row."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # only glibc has it, and only glibc needs it
    if trim is not None:
        trim(0)


def _dead_letter(task: Owned, stray: Stray, now: int) -> Write:
    topic, partition = task.kind.changelog.name, task.place.partition
    where = {"stage": task.kind.name, "topic": topic, "partition": partition, "offset": stray.offset, "index": -1}
    what = {"reason": str(stray.reason), "detail": stray.detail, "order_id": None, "key": stray.key[:MOST_BYTES], "value": stray.value or b""}
    return Write(DEAD_LETTERS, partition, topic.encode(), codec.encode("DeadLetter", {**where, **what, "died_at": now}))


def stand(task: Owned, reader: Reader, recorded: Mapping[str, tuple[int, int, str]], topics: Mapping[str, InputTopic]) -> dict[str, int]:
    """Put the reader where the task stands and return that; raises MisconfiguredError where an input is not what it was."""
    check_changelog(task.name, recorded, task.kind.changelog.name, topics)
    marks = {t.name: reader.watermarks(t.name) for t in task.kind.inputs}
    gone = cut(recorded, marks)
    reached = clients.group_offsets(task.settings, gone, task.place.partition) if gone else {}
    position = check_positions(task.name, recorded, {t.name: topics[t.name] for t in task.kind.inputs}, marks, task.place.partitions, reached)
    reader.rewind(position)
    return position


def check_new(task: Owned, recorded: Mapping[str, object]) -> None:
    """Raise MisconfiguredError for a task that knows of no position and yet has spoken: its changelog is gone."""
    if recorded or not _has_spoken(task):
        return
    raise MisconfiguredError(
        f"task {task.name}: {task.kind.changelog.name} partition {task.place.partition} holds no positions, yet {task.kind.voice.name} has what this task "
        "decided before: the changelog was deleted, emptied or made again. Starting from nothing would decide everything twice: restore the "
        "changelog from a copy, or start a new shop under another HOLDFAST_TOPIC_PREFIX"
    )


def _has_spoken(task: Owned) -> bool:
    """Whether the partition that only this task writes to holds a record of it. What was never committed does not count."""
    consumer, voice = clients.bulk_reader(task.settings), task.kind.voice
    try:
        clients.connect(consumer, task.settings, voice)
        at = TopicPartition(voice.named(task.settings.topic_prefix), task.place.partition, OFFSET_BEGINNING)
        consumer.assign([at])
        found = log_of.until_the_end(consumer, at, clients.POLL_SECONDS)
        return any(_is_one_of(message.value(), voice.records) for messages in found for message in messages)
    finally:
        consumer.close()


def _is_one_of(value: bytes | None, names: tuple[str, ...]) -> bool:
    try:
        return codec.record_name(value) in names
    except codec.UndecodableError:
        return False
