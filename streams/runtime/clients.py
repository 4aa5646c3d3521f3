"""The confluent-kafka clients of one task: its fenced producer, its reader, and the bulk read of its changelog."""

from __future__ import annotations

import resource
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

from schemas.secure import kafka_settings
from schemas.topics import Topic
from streams.config import StreamSettings
from streams.runtime.exits import MISCONFIGURED, MOVED
from streams.runtime.records import Record, Write

REQUEST_SECONDS: Final = 30.0
POLL_SECONDS: Final = 0.5
"""How long an idle read waits; a record that arrives ends the wait at once."""

FETCH_RECORDS: Final = 1_000
"""Taken from the client's queue at a time."""
RECORD_BYTES: Final = 32
"""What a record counts besides its value: the cost of the smallest is not nothing."""
ROOM_FILES: Final = 32
"""Free file descriptors to make a task's clients with: they need nearly twenty."""
FETCH_KIB, QUEUE_KIB = 4_096, 4_096
ASKING_FETCH_KIB, ASKING_QUEUE_KIB = 64, 256
ASKS: Final = 3
"""Inputs of a stage that asks and hears."""
LOG_ERRORS: Final = 3
"""librdkafka's own log, syslog levels: its warnings about a coordinator that is still loading say nothing new."""


class MisconfiguredError(RuntimeError):
    """What the brokers hold does not fit what the task knows: people must look. Says what, where and what to do."""

    exit_code = MISCONFIGURED


class MovedError(MisconfiguredError):
    """The topics are not in use any more. Nobody has to look: the worker starts again, in the generation that is in use."""

    exit_code = MOVED


class InputTopic(NamedTuple):
    """What the brokers say of an input: Kafka's own topic ID and the partition count."""

    topic_id: str
    partitions: int


def check_room() -> None:
    """Raise KafkaException, to be tried again, where this process may not open enough files for a client.

    librdkafka wakes each of its threads by a pipe. One that cannot be made it goes on without, for ever and without a word: its requests
    then wait up to a second each.
    """
    try:
        room = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - len(list(Path("/dev/fd").iterdir()))
    except OSError:  # looking needs a file, too
        room = 0
    if room < ROOM_FILES:
        raise KafkaException(KafkaError(KafkaError._CRIT_SYS_RESOURCE, f"{max(0, room)} file descriptors are left, a client needs {ROOM_FILES}"))


def connection(settings: StreamSettings) -> dict[str, Any]:
    """Return what every client needs to know of the brokers. librdkafka's own pauses grow to 10 s, long after a broker is back."""
    return {**kafka_settings(settings.kafka), "reconnect.backoff.ms": 100, "reconnect.backoff.max.ms": 500, "log_level": LOG_ERRORS}


def new_producer(settings: StreamSettings, transactional_id: str) -> Producer:
    """Return a transactional producer, not yet initialised."""
    return Producer(
        {
            **connection(settings),
            "transactional.id": transactional_id,
            "transaction.timeout.ms": int(settings.transaction_timeout * 1000),
            # Of records a killed broker lost track of, a commit hears only when they time out: by default when the transaction does.
            "message.timeout.ms": int(settings.transaction_timeout * 600),
            "compression.type": "lz4",
            "linger.ms": 5,
            "batch.num.messages": 10_000,
            "queue.buffering.max.messages": 1_000_000,
            "queue.buffering.max.kbytes": 65_536,
            "message.max.bytes": 8_000_000,
            "partitioner": "murmur2_random",
            "retry.backoff.ms": 20,
        }
    )


def connect(client: Producer | Consumer, settings: StreamSettings, topic: Topic) -> None:
    """Wait until a new client knows the brokers: what it is asked for before that it looks at again only half a second later."""
    client.list_topics(topic.named(settings.topic_prefix), REQUEST_SECONDS)


def _consumer(settings: StreamSettings, **extra: Any) -> Consumer:
    return Consumer(
        {
            **connection(settings),
            # confluent-kafka wants a group even for assigned consumers; nothing is ever committed under it.
            "group.id": f"{settings.app_id}.reader",
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 500,
            "fetch.message.max.bytes": FETCH_KIB * 1_024,
            # Of a queue that was full the client asks again only after this; by default a second, in which nothing is decided.
            "fetch.queue.backoff.ms": 5,
            **extra,
        }
    )


def group_offsets(settings: StreamSettings, topics: Sequence[str], partition: int) -> dict[str, int]:
    """Return how far the workers' group has told that it is in a partition of these topics (names without prefix); what it never told is left out."""
    names = {settings.topic_prefix + topic: topic for topic in topics}
    consumer = _consumer(settings, **{"group.id": settings.app_id})
    try:
        told = consumer.committed([TopicPartition(name, partition) for name in names], timeout=REQUEST_SECONDS)
    finally:
        consumer.close()
    return {names[at.topic]: at.offset for at in told if at.offset >= 0}


def consume(consumer: Consumer, most: int, wait: float) -> list[Message]:
    """Return what is there, waiting `wait` seconds for the first: the client itself would wait so long for the last."""
    messages = consumer.consume(1, wait)
    return [*messages, *consumer.consume(most, 0)] if messages else []


class Reader:
    """Reads a task's inputs from given positions; `cursor` is where it stands (topic -> next offset)."""

    def __init__(self, settings: StreamSettings, inputs: Sequence[Topic], partition: int, position: Mapping[str, int]) -> None:
        self._consumer = _consumer(settings, **read_ahead(len(inputs)), **{"auto.offset.reset": "error", "enable.partition.eof": True})
        self._partition = partition
        self.taken = 0
        """Bytes of the last read."""
        self._names = {t.named(settings.topic_prefix): t.name for t in inputs}
        self._wire = {v: k for k, v in self._names.items()}
        self._stand_at(position)

    def _stand_at(self, position: Mapping[str, int]) -> None:
        self.cursor = dict(position)
        self.reached = dict(position)
        """Like the cursor, but past transaction markers at an input's end: what a lag is measured from."""
        self._fetched: deque[Message] = deque()
        self._last: dict[str, Message] = {}
        self._consumer.assign([self._at(topic, offset) for topic, offset in position.items()])

    def _at(self, topic: str, offset: int) -> TopicPartition:
        return TopicPartition(self._wire[topic], self._partition, offset)

    def rewind(self, position: Mapping[str, int]) -> None:
        """Stand at `position` again if the reader has gone on from it: a batch was lost between here and the agent."""
        if self.cursor != position:
            self._stand_at(position)

    def read(self, limit: int, patience: float | None = None, gather: float = 0.0) -> list[Record]:
        """Return records of about `limit` bytes at most: what is there, and what comes within `gather` seconds of the first.

        Only an empty input is waited for, `patience` seconds.
        """
        records: list[Record] = []
        room, wait, until = limit, POLL_SECONDS if patience is None else patience, 0.0
        while room > 0 and self._fetch(wait):
            record = self._step(self._fetched.popleft())
            if record is not None:
                until = until or time.monotonic() + gather
                records.append(record)
                room -= RECORD_BYTES + len(record.value or b"")
            elif not records and not self._fetched:
                break
            if records and not self._fetched:
                wait = max(0.0, until - time.monotonic())
        self.taken = limit - room
        return records

    def _fetch(self, wait: float) -> bool:
        """Make sure that a message is at hand, if there is one within `wait` seconds."""
        if not self._fetched:
            self._fetched.extend(consume(self._consumer, FETCH_RECORDS, wait))
        return bool(self._fetched)

    def _step(self, message: Message) -> Record | None:
        """Step over one message; None for the news that an input has ended for now."""
        topic, offset, error = self._names[str(message.topic())], int(message.offset() or 0), message.error()
        if error is not None:
            if error.code() != KafkaError._PARTITION_EOF:
                raise KafkaException(error)
            self.reached[topic] = max(offset, self.cursor[topic])
            return None
        self.cursor[topic] = self.reached[topic] = offset + 1
        self._last[topic] = message
        return Record(topic, self._partition, offset, message.key(), message.value())

    def written_at(self, topic: str) -> int:
        """Return when a broker took the last record read of an input (ms since 1970); 0 where none was read."""
        last = self._last.get(topic)
        return int(last.timestamp()[1]) if last else 0

    def watermarks(self, topic: str) -> tuple[int, int]:
        """Return (first offset, next offset) of this partition of an input, asked of the brokers."""
        low, high = self._consumer.get_watermark_offsets(self._at(topic, 0), timeout=REQUEST_SECONDS)
        return int(low), int(high)

    def close(self) -> None:
        self._consumer.close()


def read_ahead(inputs: int) -> dict[str, int]:
    """Return how much a reader of so many inputs takes ahead.

    Its queue is one. A stage that hears answers to its own questions (orders) would find them behind all the new work read before, and
    its rows grow cold meanwhile. A fetch counts in compressed bytes, the queue in plain ones.
    """
    fetch, queue = (FETCH_KIB, QUEUE_KIB) if inputs < ASKS else (ASKING_FETCH_KIB, ASKING_QUEUE_KIB)
    return {"fetch.message.max.bytes": fetch * 1_024, "queued.max.messages.kbytes": queue}


def code_of(message: Message) -> int | None:
    """Return the code of the error that a message is, if it is one."""
    error = message.error()
    return None if error is None else int(error.code())


def bulk_reader(settings: StreamSettings) -> Consumer:
    """Return a reader of whole partitions."""
    # Only a fetch that finds nothing says that the end is reached, and the broker holds such a one back.
    return _consumer(settings, **{"enable.partition.eof": True, "queued.max.messages.kbytes": 65_536, "fetch.wait.max.ms": 10})


def produce_all(producer: Producer, writes: Sequence[Write], prefix: str, delivered: Callable[[Any, Any], None] | None = None) -> None:
    """Hand every write to the producer; waits for room where its queue is full. `delivered` hears of the last one."""
    produce, names = producer.produce, _Names(prefix)
    last = len(writes) - 1 if delivered else len(writes)
    for topic, partition, key, value in writes[:last]:
        try:
            produce(names[topic.name], value, key, partition)
        except BufferError:
            producer.poll(0.1)
            _produce_when_there_is_room(producer, names[topic.name], value, key, partition)
    for topic, partition, key, value in writes[last:]:
        _produce_when_there_is_room(producer, names[topic.name], value, key, partition, delivered)


def produce_in_halves(producer: Producer, writes: Sequence[Write], prefix: str, delivered: Callable[[Any, Any], None], reach: Callable[[str], None]) -> None:
    """As produce_all; half-way and the end are steps that have names."""
    half = len(writes) // 2
    produce_all(producer, writes[:half], prefix)
    reach("half-produced")
    produce_all(producer, writes[half:], prefix, delivered)
    reach("produced")


def _produce_when_there_is_room(producer: Producer, *write: Any) -> None:
    while True:
        try:
            producer.produce(*write)
            return
        except BufferError:
            producer.poll(0.1)


class _Names(dict[str, str]):
    """The names of topics on the brokers, by their names here."""

    def __init__(self, prefix: str) -> None:
        super().__init__()
        self._prefix = prefix

    def __missing__(self, name: str) -> str:
        found = self[name] = self._prefix + name
        return found
