"""Where a sink reads: the committed records of its input topics, from positions that the store says."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from generations import History, Watch
from schemas.secure import kafka_settings
from sinks.config import Settings
from sinks.errors import NotNowError, SinkError
from sinks.gathering import gather, slices
from sinks.past import is_past
from sinks.rows import INPUTS, Partition, Record
from telemetry import figures, traces
from telemetry.context import Causes

log = structlog.get_logger()

BROKER_TIMEOUT_S: Final = 10.0
COMMIT_EVERY_S: Final = 1.0
LOOK_EVERY_S: Final = 2.0
REBALANCE_S: Final = 4.0
"""How long the group may take to say what is ours, once whoever holds it up has lost its session."""
HEARTBEATS_PER_SESSION: Final = 4
QUEUED_KIB: Final = 16 * 1024


@dataclass
class Polled:
    """What was there to read. `ends`: partitions read to their end, with the offset there (behind transaction markers)."""

    records: list[Record] = field(default_factory=list)
    ends: dict[Partition, int] = field(default_factory=dict)
    causes: Causes | None = None
    """What the records come from, while spans are on."""

    def __bool__(self) -> bool:
        return bool(self.records or self.ends)


class Source:
    """A member of the sink's consumer group. The group says which partitions are ours; where to read, start() is told.

    `assigned` are our partitions; `changed` is True from each rebalance until start() is called. `is_blind`: the client has lost sight
    of a partition that is ours, or of the group; it does not find it again by itself, renew() does.
    """

    def __init__(self, settings: Settings, sink: str) -> None:
        self._settings = settings
        self._watch = Watch(settings.kafka, settings.topic_prefix)
        self._history = History(settings.topic_prefix)
        self._looked_at = time.monotonic()
        self._streams = _streams(self._history)
        self._sink = sink
        self._patience_s = settings.sink_session_timeout_ms / 1000 + REBALANCE_S
        self._consumer = self._new_consumer()
        self._committed_at = 0.0
        self._slices = 0
        self._last: dict[Partition, Message] = {}
        """The last record read of each partition: how old it is says how far behind we are."""
        self._unreachable = False
        self.assigned: frozenset[Partition] = frozenset()
        self.changed = False
        self._lost_sight = False
        self._outside_since: float | None = None
        """Since when we wait to hear from the group what is ours."""

    @property
    def is_blind(self) -> bool:
        """Whether this client has to be replaced: see renew()."""
        outside = self._outside_since
        return self._lost_sight or (outside is not None and time.monotonic() - outside > self._patience_s)

    def renew(self) -> None:
        """Leave the group with this client, and go on with a new one, which has to join()."""
        self._consumer.close()
        self._consumer = self._new_consumer()
        self.assigned, self.changed = frozenset(), False
        self._lost_sight, self._outside_since = False, None

    def join(self) -> None:
        """Join the group; raises SinkError when an input topic does not exist, NotNowError when no broker answers.

        The topics of earlier generations are read as well, as far as they are still there: an empty store needs them.
        """
        try:
            self._go_on(self._watch.look())
            known = self._consumer.list_topics(timeout=BROKER_TIMEOUT_S).topics
        except KafkaException as error:
            raise NotNowError(f"Kafka at {self._settings.kafka} does not answer: {error.args[0].str()}") from error
        missing = [name for topic in INPUTS if (name := topic.named(self._history.prefix)) not in known]
        self._streams = {name: stream for name, stream in _streams(self._history).items() if name in known}
        if missing:
            raise SinkError(f"Kafka at {self._settings.kafka} has no topic {' and no topic '.join(missing)}: run `holdfast topics create`")
        self._outside_since = time.monotonic()
        self._consumer.subscribe(list(self._streams), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    @property
    def _group(self) -> str:
        return self._settings.group(self._sink, self._history.prefix)

    def _new_consumer(self) -> Consumer:
        return Consumer(_options(self._settings, self._group))

    def _go_on(self, history: History) -> None:
        """Be a member of the group of the generation in use: whoever watches the lag looks there."""
        moved, self._history = history.prefix != self._history.prefix, history
        if moved:
            self._consumer.close()
            self._consumer = self._new_consumer()

    def poll(self, timeout_s: float) -> Polled:
        """Return what is there, waiting while there is nothing, or to gather more where there is much; handles rebalances."""
        self._look_for_generations()
        messages = self._consumer.consume(1, timeout_s)
        if messages:
            messages += gather(self._consumer.consume, self._settings.sink_batch_records - 1, self._slices)
        self._slices = slices(len(messages), self._slices > 0)
        polled = Polled()
        for message in messages:
            self._sort(message, polled)
        if traces.current() is not None:
            polled.causes = traces.causes_of(message.headers() for message in messages if message.error() is None)
        return polled

    def _look_for_generations(self) -> None:
        """A new generation of the topics is read as if the client had lost sight: with a new one, which joins anew."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        with suppress(KafkaException):  # whoever reads finds out soon enough that the brokers do not answer
            self._lost_sight = self._lost_sight or self._watch.look().prefixes != self._history.prefixes

    def starts(self, positions: Mapping[Partition, int]) -> dict[Partition, int]:
        """Return where to read from to go on at the positions: there, or where the log begins if that is later (with a warning).

        Raises SinkError if the log ends before a position: then the rows are not of this log.
        """
        return {partition: self._start_of(partition, position) for partition, position in sorted(positions.items())}

    def start(self, at: Mapping[Partition, int]) -> None:
        """Read from these offsets, one for each assigned partition; what was read ahead before is forgotten."""
        self.changed = False
        self._consumer.assign([TopicPartition(topic, number, offset) for (topic, number), offset in at.items()])

    def stop(self) -> None:
        """Read nothing until the next start(). The partitions stay ours: poll() still answers the group."""
        self._consumer.unassign()

    def commit(self, positions: Mapping[Partition, int], *, now: bool = False) -> None:
        """Tell the group where we are, at most once a second. Nobody starts from there: it is for whoever watches the lag."""
        if not positions or (not now and time.monotonic() - self._committed_at < COMMIT_EVERY_S):
            return
        self._committed_at = time.monotonic()
        self._note_lag(positions)
        with suppress(KafkaException):
            self._consumer.commit(offsets=[TopicPartition(topic, number, at) for (topic, number), at in positions.items()], asynchronous=True)

    def _note_lag(self, positions: Mapping[Partition, int]) -> None:
        for (topic, number), at in positions.items():
            # Known from the last fetch: nobody is asked. (The client's types do not say that it may know nothing yet.)
            bounds: tuple[int, int] | None = self._consumer.get_watermark_offsets(TopicPartition(topic, number), cached=True)
            end = bounds[1] if bounds else 0
            behind, last = max(0, end - at), self._last.get((topic, number))
            seconds = time.time() - last.timestamp()[1] / 1000 if behind and last else 0.0
            figures.LAG_RECORDS.labels(self._group, topic, number).set(behind)
            figures.LAG_SECONDS.labels(self._group, topic, number).set(max(0.0, seconds))

    def close(self) -> None:
        """Leave the group, so that others take the partitions at once."""
        self._consumer.close()

    def _start_of(self, partition: Partition, position: int) -> int:
        low, high = self._bounds(partition)
        name = f"{partition[0]}[{partition[1]}]"
        if position > high:
            raise SinkError(
                f"the store stands at {position} of {name}, which ends at {high}: the topic was created anew, or this is another cluster's store. "
                "Empty the store (its tables or keys, positions included) and it is filled again from this log"
            )
        if position < low:
            log.warning("the log begins after the position: what was between is not there any more", partition=name, position=position, begins=low)
        return max(position, low)

    def _bounds(self, partition: Partition) -> tuple[int, int]:
        try:
            bounds = self._consumer.get_watermark_offsets(TopicPartition(*partition), BROKER_TIMEOUT_S)
        except KafkaException as error:
            # Seen after a broker had been frozen: the client's own picture of the topic stays empty, for ever.
            code = error.args[0].code()
            self._lost_sight = code == KafkaError._UNKNOWN_PARTITION or self._is_past(code, partition[0])
            raise NotNowError(f"Kafka does not say where {partition[0]}[{partition[1]}] ends: {error.args[0].str()}") from error
        if bounds is None:
            raise NotNowError(f"Kafka does not say where {partition[0]}[{partition[1]}] ends")
        low, high = bounds
        return low, high

    def _sort(self, message: Message, polled: Polled) -> None:
        error = message.error()
        # The client's types allow None for messages that were never sent; these were.
        topic, number, offset = message.topic() or "", message.partition() or 0, message.offset() or 0
        if error is None:
            polled.records.append(Record._make((self._streams[topic], topic, number, offset, message.key(), message.value())))
            self._last[topic, number] = message
            if polled.ends:
                polled.ends.pop((topic, number), None)
            self._reached()
        elif error.code() == KafkaError._PARTITION_EOF:
            polled.ends[topic, number] = offset
            self._reached()
        elif self._is_past(error.code(), topic):
            log.info("a topic of an earlier generation is gone: reading on without it", topic=topic)
            self._lost_sight = True
        else:
            self._failed(error)

    def _is_past(self, code: int, topic: str) -> bool:
        return is_past(code, topic, [each.named(self._history.prefix) for each in INPUTS])

    def _failed(self, error: KafkaError) -> None:
        if error.fatal() or error.code() in FINAL:
            raise SinkError(f"Kafka at {self._settings.kafka}, group {self._group}: {error.str()}")
        if not self._unreachable:
            log.warning("Kafka is not well; the client goes on trying", error=error.str())
            self._unreachable = True

    def _reached(self) -> None:
        if self._unreachable:
            log.info("Kafka is well again")
            self._unreachable = False

    def _on_assign(self, _consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        # Nothing is read until the store has said from where.
        self._consumer.unassign()
        self._outside_since = None
        self._owned(frozenset((p.topic, p.partition) for p in partitions))

    def _on_revoke(self, _consumer: Consumer, _partitions: Iterable[TopicPartition]) -> None:
        self._consumer.unassign()
        # Seen after a broker had been frozen: the client never asked to be let in again, and had no connection left.
        self._outside_since = time.monotonic()
        self._owned(frozenset())

    def _owned(self, partitions: frozenset[Partition]) -> None:
        self.assigned, self.changed = partitions, True


def _streams(history: History) -> dict[str, str]:
    """Return the names of our inputs on the brokers, with what they are called in schemas/topics.py; the oldest generation first."""
    return {topic.named(prefix): topic.name for prefix in history.prefixes for topic in INPUTS}


FINAL: Final = frozenset(
    {
        KafkaError._AUTO_OFFSET_RESET,  # the position is outside the log: it was created anew, or cut, under our feet
        KafkaError.UNKNOWN_TOPIC_OR_PART,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError._AUTHENTICATION,
    }
)


def _options(settings: Settings, group: str) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(settings.kafka),
        "group.id": group,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        # A position is always given; one that does not exist must be heard of, not replaced by another.
        "auto.offset.reset": "error",
        "enable.partition.eof": True,
        "session.timeout.ms": settings.sink_session_timeout_ms,
        "heartbeat.interval.ms": settings.sink_session_timeout_ms // HEARTBEATS_PER_SESSION,
        "fetch.wait.max.ms": 500,
        # The client's own memory for what it has read ahead, and how soon it reads on when that has room again.
        "queued.max.messages.kbytes": QUEUED_KIB,
        "fetch.queue.backoff.ms": 20,
        "log_level": 3,
    }
