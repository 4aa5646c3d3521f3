"""Reads the sinks' input topics of every generation from given offsets to given ends, without a group: nobody's work is taken away."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import admin as admin_api

from generations import History, Watch
from generations.readers import reader_settings
from schemas.secure import kafka_settings
from schemas.topics import ORDER_OUTCOMES
from sinks.config import Settings
from sinks.errors import SinkError
from sinks.rebuild.selection import Chosen, Selection
from sinks.rows import INPUTS, Partition, Record

AT_ONCE: Final = 10_000
BROKER_TIMEOUT_S: Final = 20.0
STALL_S: Final = 60.0
CHUNK_BYTES: Final = 4 * 1024 * 1024
"""Of the values in one batch: the more of an order's versions meet in one, the fewer are written."""
MOVED: Final = "the number of partitions was changed meanwhile (`holdfast repartition`): nothing was swapped, run it again"
_API: Final[Any] = admin_api  # OffsetSpec is public, but not typed
Ends = Mapping[Partition, int]


class Reader:
    """One client for every reading of a rebuild. Raises SinkError where the log cannot be read.

    `gone`: input topics of earlier generations that the brokers do not have any more.
    """

    def __init__(self, settings: Settings) -> None:
        self._kafka = settings.kafka
        self._watch = Watch(settings.kafka, settings.topic_prefix)
        self._history = self._look()
        self._streams = {topic.named(prefix): topic.name for prefix in self._history.prefixes for topic in INPUTS}
        self._consumer = Consumer(reader_settings(settings.kafka, "holdfast.rebuild"))
        self._admin = admin_api.AdminClient({**kafka_settings(settings.kafka), "log_level": 2})
        self.gone: frozenset[str] = frozenset()
        self.partitions = self._partitions()

    def close(self) -> None:
        """Let go of the brokers."""
        self._consumer.close()

    def check_generation(self) -> None:
        """Raise SinkError where the number of partitions was changed since we began: live rows may come from topics that are not read here."""
        if self._look().prefixes != self._history.prefixes:
            raise SinkError(MOVED)

    def cut(self) -> list[str]:
        """Return the partitions and topics of order.outcomes whose beginning the brokers have deleted."""
        begins = self._offsets(_API.OffsetSpec.earliest())
        found = [f"{topic}[{number}] from {at}" for (topic, number), at in begins.items() if at > 0 and self._streams[topic] == ORDER_OUTCOMES.name]
        return found + [f"{topic} is gone" for topic in sorted(self.gone) if self._streams[topic] == ORDER_OUTCOMES.name]

    def ends(self) -> dict[Partition, int]:
        """Return where each partition's committed records end now: what every reader sees, and so no store is beyond it."""
        return self._offsets(_API.OffsetSpec.latest())

    def starts(self, selection: Selection, ends: Ends) -> dict[Partition, int]:
        """Return where to begin: a partition that can hold nothing of the selection is begun at its end."""
        counts = Counter(topic for topic, _ in self.partitions)
        wanted = [place for place in self.partitions if selection.reads(self._streams[place[0]], place[1], counts[place[0]])]
        begins = self._from_time(selection.since, ends) if selection.since is not None else dict.fromkeys(wanted, 0)
        return {place: begins[place] if place in wanted else ends[place] for place in self.partitions}

    def read(self, starts: Ends, ends: Ends, chosen: Chosen) -> Iterator[tuple[list[Record], dict[Partition, int]]]:
        """Yield records of the selection in runs of about CHUNK_BYTES, each with where its partitions then stand; the last ones stand at the ends.

        One generation after the other: what an order's later records are in, its earlier ones say.
        """
        for prefix in self._history.prefixes:
            names = {topic.named(prefix) for topic in INPUTS}
            yield from self._read({place: at for place, at in starts.items() if place[0] in names}, ends, chosen)

    def _read(self, starts: Ends, ends: Ends, chosen: Chosen) -> Iterator[tuple[list[Record], dict[Partition, int]]]:
        at = {place: start for place, start in starts.items() if start < ends[place]}
        left, records, size, moved = {place: ends[place] for place in at}, list[Record](), 0, time.monotonic()
        self._consumer.assign([TopicPartition(*place, start) for place, start in at.items()])
        while left:
            before = sum(at.values())
            for message in self._consumer.consume(AT_ONCE, 0.2):
                if self._advance(message, left, at) and (record := self._chosen(message, chosen)):
                    records.append(record)
                    size += len(record.value or b"")
                if size >= CHUNK_BYTES:
                    yield records, dict(at)
                    records, size = [], 0
            if sum(at.values()) > before:
                moved = time.monotonic()
            elif time.monotonic() - moved > STALL_S:
                raise SinkError(f"nothing could be read of {sorted(left)} for {STALL_S:.0f} s: are the brokers at {self._kafka} well?")
        if at:
            yield records, at

    def _advance(self, message: Message, left: dict[Partition, int], at: dict[Partition, int]) -> bool:
        """Note how far its partition is read; return whether the message is a record from before the end."""
        place, offset, error = (message.topic() or "", message.partition() or 0), message.offset() or 0, message.error()
        if place not in left:
            return False
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            if error.retriable():
                return False
            raise SinkError(f"Kafka at {self._kafka} cannot be read: {error.str()}")
        is_record = error is None and offset < left[place]
        at[place] = min(left[place], max(at[place], offset + (error is None)))
        if at[place] >= left[place]:
            del left[place]
        return is_record

    def _chosen(self, message: Message, chosen: Chosen) -> Record | None:
        topic = message.topic() or ""
        stream = self._streams[topic]
        if not chosen.takes(stream, message.key(), message.timestamp()[1]):
            return None
        return Record(stream, topic, message.partition() or 0, message.offset() or 0, message.key(), message.value())

    def _partitions(self) -> list[Partition]:
        try:
            known = self._consumer.list_topics(timeout=BROKER_TIMEOUT_S).topics
        except KafkaException as error:
            raise SinkError(f"Kafka at {self._kafka} does not answer: {error.args[0].str()}") from error
        self.gone = frozenset(topic for topic in self._streams if topic not in known)
        if missing := sorted(self.gone & {topic.named(self._history.prefix) for topic in INPUTS}):
            raise SinkError(f"Kafka at {self._kafka} has no topic {' and no topic '.join(missing)}: is HOLDFAST_TOPIC_PREFIX right?")
        return sorted((topic, number) for topic in self._streams.keys() - self.gone for number in known[topic].partitions)

    def _look(self) -> History:
        try:
            return self._watch.look()
        except KafkaException as error:
            raise SinkError(f"Kafka at {self._kafka} does not answer: {error.args[0].str()}") from error

    def _offsets(self, which: Any) -> dict[Partition, int]:
        asked = {TopicPartition(*place): which for place in self.partitions}
        try:
            answers = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=BROKER_TIMEOUT_S)
            return {(str(at.topic), int(at.partition)): int(answer.result().offset) for at, answer in answers.items()}
        except KafkaException as error:
            raise SinkError(f"Kafka at {self._kafka} does not say where its topics end: {error.args[0].str()}") from error

    def _from_time(self, since: int, ends: Ends) -> dict[Partition, int]:
        asked = [TopicPartition(*place, since) for place in self.partitions]
        try:
            found = self._consumer.offsets_for_times(asked, timeout=BROKER_TIMEOUT_S)
        except KafkaException as error:
            raise SinkError(f"Kafka at {self._kafka} does not say what it took when: {error.args[0].str()}") from error
        # Nothing that new: the end, as -1.
        return {(p.topic, p.partition): min(p.offset, ends[p.topic, p.partition]) if p.offset >= 0 else ends[p.topic, p.partition] for p in found}
