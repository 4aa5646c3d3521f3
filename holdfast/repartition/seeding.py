"""Reads what a closed generation leaves behind, and fills the topics of the next one with it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import islice
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from holdfast import topics as our_topics
from holdfast.log_whole import read_whole
from holdfast.repartition.errors import RepartitionError
from holdfast.repartition.register import Put, Register
from holdfast.repartition.rows import Rows, merged, spread
from schemas import codec, topics
from schemas.partitions import partition_of
from schemas.secure import kafka_settings
from schemas.topics import POSITIONS_KEY, STOCK_LEVELS, Topic
from streams.config import StreamSettings
from streams.payments.sandbox import Sandbox
from streams.runtime import changelog as log_of
from streams.runtime.brokers import Brokers
from streams.runtime.changelog import Changelog
from streams.runtime.clients import InputTopic, MisconfiguredError, consume
from streams.runtime.positions import positions_of, positions_record
from streams.runtime.records import Place, StageKind
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK

# What the kinds decide by is of no matter here: only their names, inputs and changelogs are used.
KINDS: Final[tuple[StageKind, ...]] = (STOCK, orders_kind(0), payments_kind(Sandbox(0.0, 0, 0)))
AT_ONCE: Final = 5_000
"""Rows per transaction."""
READ_S: Final = 60.0
Progress = Callable[[str, int], None]
"""Hears what is being done, and how many rows are through."""


class Left(NamedTuple):
    """What a generation leaves: stage -> rows; and the last level of each product. `unread`: inputs in which a stage has records left."""

    rows: Mapping[str, Rows]
    levels: Rows
    unread: tuple[str, ...]


def left_by(settings: StreamSettings, progress: Progress) -> Left:
    """Read a generation that nobody writes to any more; raises RepartitionError."""
    try:
        read = {kind.name: [_changelog(settings, kind, partition, progress) for partition in range(settings.partitions)] for kind in KINDS}
        rows = {name: merged(log.rows for log in logs) for name, logs in read.items()}
    except (MisconfiguredError, ValueError) as error:
        raise RepartitionError(f"the rows cannot be carried over: {error}. Nothing is changed yet: `holdfast repartition --cancel` goes back") from error
    unread = [topic for kind in KINDS for partition, log in enumerate(read[kind.name]) for topic in _unread(settings, kind, partition, log)]
    return Left(rows, _levels(settings), tuple(unread))


def _changelog(settings: StreamSettings, kind: StageKind, partition: int, progress: Progress) -> Changelog:
    """Read one changelog partition as a task does when it opens; again, with suspicion, where a row cannot be decoded."""
    suspects: set[bytes] = set()
    while True:
        log = Changelog(kind, Place(partition, settings.partitions), suspects)
        log_of.read(settings, log, kind.changelog, partition, lambda rows: progress(f"reading the rows of {kind.name}.{partition}", rows))
        log.settle(f"{kind.name}.{partition}")
        broken = set(_undecodable(log.rows)) - suspects
        if not broken:
            return log
        suspects |= broken


def _undecodable(rows: Rows) -> Iterator[bytes]:
    for key, value in rows.items():
        try:
            codec.decode(value)
        except codec.UndecodableError:
            yield key


def _unread(settings: StreamSettings, kind: StageKind, partition: int, log: Changelog) -> list[str]:
    """Return the inputs of a task that hold a record behind its position."""
    stands = positions_of(log.positions)
    at = [TopicPartition(t.named(settings.topic_prefix), partition, stands[t.name][0] if t.name in stands else 0) for t in kind.inputs]
    consumer = Consumer(_reading(settings))
    try:
        consumer.assign(at)
        return sorted(_with_records(consumer, len(at)))
    except KafkaException as error:
        raise RepartitionError(f"Kafka does not let the inputs of {kind.name}.{partition} be read: {error.args[0].str()}. Run again") from error
    finally:
        consumer.close()


def _with_records(consumer: Consumer, inputs: int) -> set[str]:
    found: set[str] = set()
    ended: set[str] = set()
    deadline = time.monotonic() + READ_S
    while len(found | ended) < inputs:
        for message in consume(consumer, 10, 0.5):
            error = message.error()
            if error is None:
                found.add(f"{message.topic()}[{message.partition()}]")
            elif error.code() == KafkaError._PARTITION_EOF:
                ended.add(f"{message.topic()}[{message.partition()}]")
            else:
                raise KafkaException(error)
        if time.monotonic() > deadline:
            raise RepartitionError(f"{inputs - len(found | ended)} inputs could not be read to their end in {READ_S:.0f} s: is a transaction open? Run again")
    return found


def _levels(settings: StreamSettings) -> Rows:
    name = STOCK_LEVELS.named(settings.topic_prefix)
    places = [(name, partition) for partition in range(settings.partitions)]
    return {message.key() or b"": message.value() or b"" for message in read_whole(settings.kafka, places)}


def seed(settings: StreamSettings, left: Left, register: Register, progress: Progress) -> None:
    """Make the topics of the new generation and fill them; raises RepartitionError."""
    progress("making the topics", 0)
    our_topics.create(settings.kafka, settings.topic_prefix, settings.partitions)
    found = Brokers(settings).topics()
    for kind in KINDS:
        _fill(settings, kind.changelog, left.rows[kind.name], register, progress, lambda kind=kind: _positions(kind, found))  # type: ignore[misc]
    _fill(settings, STOCK_LEVELS, left.levels, register, progress, lambda: None)


def _fill(settings: StreamSettings, topic: Topic, rows: Rows, register: Register, progress: Progress, positions: Callable[[], bytes | None]) -> None:
    parts = spread(topic, rows, settings.partitions) if topic != STOCK_LEVELS else _by_key(rows, settings.partitions)
    written = 0
    for partition, part in enumerate(parts):
        records: Iterator[Put] = ((topic.named(settings.topic_prefix), partition, key, value) for key, value in part.items())
        while some := list(islice(records, AT_ONCE)):
            register.write(some)
            written += len(some)
            progress(f"filling {topic.name}", written)
    if (value := positions()) is not None:
        register.write([(topic.named(settings.topic_prefix), partition, POSITIONS_KEY, value) for partition in range(settings.partitions)])


def _by_key(rows: Rows, partitions: int) -> list[Rows]:
    parts: list[Rows] = [{} for _ in range(partitions)]
    for key, value in rows.items():
        parts[partition_of(key, partitions)][key] = value
    return parts


def _positions(kind: StageKind, found: Mapping[str, InputTopic]) -> bytes:
    """Return where each task of a stage begins: at the first record of each input, with these rows."""
    names = [topic.name for topic in (*kind.inputs, kind.changelog)]
    end = {**dict.fromkeys(names, 0), kind.changelog.name: codec.schema_ids()[kind.changelog.records[0]][-1]}
    return codec.encode("TaskPositions", positions_record(end, {name: found[name] for name in names}))


def check(settings: StreamSettings, left: Left, progress: Progress) -> int:
    """Read the new generation's rows back as its tasks will, and compare them; returns how many. Raises RepartitionError."""
    rows = 0
    for kind in KINDS:
        wanted = spread(kind.changelog, left.rows[kind.name], settings.partitions)
        for partition in range(settings.partitions):
            log = _changelog(settings, kind, partition, progress)
            if log.rows != wanted[partition] or log.positions is None or log.strays:
                raise RepartitionError(f"{kind.changelog.named(settings.topic_prefix)}[{partition}] does not hold what was written to it. Run again")
            rows += len(log.rows)
    return rows


def present(kafka: str, prefixes: Iterable[str]) -> list[str]:
    """Return which topics of these generations there are; raises RepartitionError."""
    names = {topic.named(prefix) for prefix in prefixes for topic in topics.ALL}
    try:
        return sorted(names & our_topics.admin(kafka).list_topics(timeout=READ_S).topics.keys())
    except KafkaException as error:
        raise RepartitionError(f"Kafka at {kafka} does not answer: {error.args[0].str()}. Run again") from error


def remove(kafka: str, prefixes: Iterable[str]) -> list[str]:
    """Remove the topics of generations that never were in use, as far as the brokers let us; returns which."""
    there = present(kafka, prefixes)
    if there:
        client = our_topics.admin(kafka)  # its futures end with it
        for future in client.delete_topics(there, operation_timeout=READ_S).values():
            with suppress(KafkaException):  # they are in nobody's way
                future.result()
    return there


def _reading(settings: StreamSettings) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(settings.kafka),
        "group.id": f"{settings.root_prefix}holdfast.repartition",  # assigned, never joined
        "enable.auto.commit": False,
        "isolation.level": "read_committed",
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "fetch.wait.max.ms": 10,
        "log_level": 2,
    }
