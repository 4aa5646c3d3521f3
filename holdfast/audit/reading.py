"""Reads the topics: consumers of its own, read_committed, from the start to the ends as they were when it began.

The ends are high watermarks, so a transaction that was open then is waited for, not left out. But a system that moves
(`live`) cannot be looked at all at once: a product's version 5 may be seen, and its version 4, in another partition, not
yet. So there the last stable offsets are noted first and the high watermarks after them, topics further down before
those they follow from. What lies before a last stable offset was committed, with everything it follows from, before any
watermark was looked at; so all of that is read. What lies between the two is evidence for the rest, and nothing is asked
of it.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import admin as admin_api
from confluent_kafka.admin import AdminClient

from holdfast.audit.errors import CannotCheckError
from holdfast.audit.generations import Generation
from holdfast.audit.log import READ, Log
from holdfast.audit.progress import Progress
from holdfast.audit.wire import decode
from schemas.secure import kafka_settings
from schemas.topics import GENERATIONS, Topic

TIMEOUT_S: Final = 20.0
STALL_S: Final = 90.0
"""Longer than any transaction may stay open: after that the broker aborts it."""
MESSAGES: Final = 10_000
Partition = tuple[str, int]
"""Topic without prefix, partition as numbered through the generations."""


def read_log(kafka: str, prefix: str, *, live: bool, progress: Progress, since: int = 0) -> Log:
    """Read everything the audit needs; raises CannotCheckError.

    `since` (ms): where the brokers have deleted the log's beginning, from when on it is there at least, by the word of who asks.
    """
    settings: dict[str, str | int | float | bool] = {**kafka_settings(kafka), "log_level": 2}
    try:
        admin = AdminClient(settings)
        log = _log_of(admin, {**settings, **_READING}, kafka, prefix)
        settled = ends(admin, log, IsolationLevel.READ_COMMITTED) if live else {}
        log.ends = ends(admin, log, IsolationLevel.READ_UNCOMMITTED)
        _find_beginning(Consumer({**settings, **_READING}), admin, log, since)
        for number, generation in enumerate(log.generations.all):
            if number:
                log.next_generation()
            _read(Consumer({**settings, **_READING}), log, generation, progress)
    except KafkaException as error:
        raise CannotCheckError(f"Kafka at {kafka} failed: {error.args[0]}") from error
    if live:
        log.in_flight(settled)
    return log


_READING: Final[dict[str, str | int | float | bool]] = {
    "group.id": "holdfast-audit",  # never joined: partitions are assigned, nothing is committed
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "error",
    "fetch.message.max.bytes": 8 * 1024 * 1024,
    "queued.max.messages.kbytes": 32 * 1024,
}


def _partitions(admin: AdminClient, kafka: str, prefix: str, *, may_be_gone: bool) -> int:
    """Return the topics' common partition count; 0 for an earlier generation of which nothing is left."""
    try:
        known = admin.list_topics(timeout=TIMEOUT_S).topics
    except KafkaException as error:
        raise CannotCheckError(f"Kafka at {kafka} does not answer: {error.args[0]}; is it running (`holdfast status`)?") from error
    missing = [topic.named(prefix) for topic in READ if topic.named(prefix) not in known]
    if may_be_gone and len(missing) == len(READ):
        return 0
    if missing:
        names = ", ".join(missing)
        raise CannotCheckError(f"topics missing at {kafka}: {names}; is HOLDFAST_TOPIC_PREFIX ({prefix!r}) right? `holdfast topics create` makes them")
    counts = {topic.named(prefix): len(known[topic.named(prefix)].partitions) for topic in READ}
    if len(set(counts.values())) != 1:
        raise CannotCheckError(f"the topics must have one partition count, they have {counts}")
    return next(iter(counts.values()))


def _log_of(admin: AdminClient, settings: dict[str, str | int | float | bool], kafka: str, prefix: str) -> Log:
    later = later_generations(Consumer(settings), admin, prefix)
    names = [prefix, *later]
    counts = [_partitions(admin, kafka, name, may_be_gone=name != names[-1]) for name in names]
    log = Log(counts[0], prefix, list(zip(later, counts[1:], strict=True)))
    # Of a generation that is gone all was written before the next one came into use.
    log.begins_at = max((since for since, before in zip(later.values(), counts, strict=False) if not before), default=0)
    return log


def later_generations(consumer: Consumer, admin: AdminClient, prefix: str) -> dict[str, int]:
    """Return the prefixes of the generations after the first that are or were in use, the oldest first, and since when they are (ms)."""
    name, steps, times = GENERATIONS.named(prefix), dict[int, str](), dict[int, int]()
    try:
        if name not in admin.list_topics(timeout=TIMEOUT_S).topics:
            return {}
        consumer.assign([TopicPartition(name, 0, 0)])
        for value in _values(consumer, name):
            _, fields, _ = decode(value)
            steps[fields["generation"]], times[fields["generation"]] = fields["step"], fields["changed_at"]
    finally:
        consumer.close()
    if any(step in ("BARRIER", "CLOSED") for step in steps.values()):
        raise CannotCheckError("the number of partitions is being changed: audit when that is over (`holdfast repartition` shows how it stands)")
    return {f"{prefix}g{generation}.": times[generation] for generation, step in sorted(steps.items()) if step == "CURRENT"}


def _values(consumer: Consumer, name: str) -> Iterator[bytes | None]:
    deadline = time.monotonic() + STALL_S
    while time.monotonic() < deadline:
        for message in consumer.consume(MESSAGES, 0.5):
            error = message.error()
            if error is None:
                yield message.value()
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            else:
                return
    raise CannotCheckError(f"{name} could not be read for {STALL_S:.0f} s")


def ends(admin: AdminClient, log: Log, isolation: IsolationLevel) -> dict[Partition, int]:
    """Return every partition's end, topic by topic in the order of READ: last stable offsets or high watermarks."""
    found: dict[Partition, int] = {}
    for topic in READ:
        found |= _offsets(admin, log, topic, _LATEST, isolation)
    return found


def _offsets(admin: AdminClient, log: Log, topic: Topic, spec: Any, isolation: IsolationLevel) -> dict[Partition, int]:
    asked = {TopicPartition(topic.named(g.prefix), p): spec for g in log.generations.all for p in range(g.partitions)}
    answers = admin.list_offsets(asked, isolation_level=isolation, request_timeout=TIMEOUT_S)
    return {log.generations.numbered(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}


_API: Final[Any] = admin_api  # OffsetSpec is public, but not typed
_LATEST: Final = _API.OffsetSpec.latest()
_EARLIEST: Final = _API.OffsetSpec.earliest()


def _find_beginning(consumer: Consumer, admin: AdminClient, log: Log, since: int) -> None:
    """Where records were deleted, let the log begin when the last of its partitions does: then it has everything that followed from what it has."""
    starts: dict[Partition, int] = {}
    for topic in READ:
        if not topic.compacted:
            starts |= _offsets(admin, log, topic, _EARLIEST, IsolationLevel.READ_UNCOMMITTED)
    log.first = {place: start for place, start in starts.items() if start > 0}
    try:
        if log.first:
            log.begins_at = max(log.begins_at, since, *_times(consumer, log, since or time.time_ns() // 1_000_000))
    finally:
        consumer.close()


def _times(consumer: Consumer, log: Log, unknown: int) -> Iterator[int]:
    """Yield when each partition that was cut begins; of one that has nothing left nobody knows when that was deleted: `unknown`."""
    for (topic, number), start in log.first.items():
        generation = log.generations.of(number)
        consumer.assign([TopicPartition(generation.prefix + topic, number - generation.base, start)])
        yield next(_first(consumer, topic), unknown)


def _first(consumer: Consumer, topic: str) -> Iterator[int]:
    deadline = time.monotonic() + STALL_S
    while time.monotonic() < deadline:
        for message in consumer.consume(1, 0.5):
            error = message.error()
            if error is None:
                yield message.timestamp()[1]
            elif error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            return
    raise CannotCheckError(f"{topic} could not be read for {STALL_S:.0f} s")


def _read(consumer: Consumer, log: Log, generation: Generation, progress: Progress) -> None:
    names = {topic.named(generation.prefix): topic for topic in READ}
    left = {place: end for place, end in log.ends.items() if end > 0 and log.generations.of(place[1]) is generation}
    total, at = sum(left.values()), dict.fromkeys(left, 0)
    moved = time.monotonic()
    try:
        consumer.assign([TopicPartition(generation.prefix + topic, number - generation.base, log.first.get((topic, number), 0)) for topic, number in left])
        while left:
            messages = consumer.consume(MESSAGES, 0.5)
            before = sum(at.values())
            _take(messages, log, names, generation.base, left, at)
            progress("reading topics", sum(at.values()), total)
            if sum(at.values()) > before:
                moved = time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise CannotCheckError(_stalled(left, at))
    finally:
        consumer.close()


def _take(messages: Iterable[Message], log: Log, names: Mapping[str, Topic], base: int, left: dict[Partition, int], at: dict[Partition, int]) -> None:
    for message in messages:
        topic, offset = names[str(message.topic())], int(message.offset() or 0)
        place = topic.name, base + int(message.partition() or 0)
        end = left.get(place)
        if end is None:
            continue
        error = message.error()
        if error is None:
            if offset < end:
                log.add(topic, place[1], offset, message.key(), message.value(), message.timestamp()[1])
            offset += 1
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        at[place] = min(max(offset, at[place]), end)
        if offset >= end:
            del left[place]


def _stalled(left: Mapping[Partition, int], at: Mapping[Partition, int]) -> str:
    where = ", ".join(f"{topic} partition {partition} at {at[topic, partition]} of {end}" for (topic, partition), end in left.items())
    return f"nothing could be read for {STALL_S:.0f} s (a transaction that stays open?): {where}"
