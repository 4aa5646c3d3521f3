"""How far every reader of the pipeline is behind, in records: from the brokers' offsets alone."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from holdfast.stack.errors import StackError
from schemas.secure import kafka_settings
from schemas.topics import (
    ORDER_COMMANDS,
    ORDER_OUTCOMES,
    ORDERS,
    PAYMENT_REQUESTS,
    PAYMENT_RESULTS,
    PIPELINE_GROUP,
    STOCK_COMMANDS,
    STOCK_DECISIONS,
    STOCK_LEVELS,
    WAREHOUSE_GROUP,
    Topic,
)

REQUEST_S = 30.0
MOST_PROBED = 1_000
"""A gap wider than this is reported as it is: that it holds a transaction marker or two does not matter."""


class LagError(StackError):
    """The offsets cannot be had; the text says why."""


class Place(NamedTuple):
    """A partition of a topic, by the topic's name on the brokers."""

    topic: str
    partition: int


class End(NamedTuple):
    """`stable`: where a read_committed reader stops. `written`: behind the last record. They differ while a transaction is open."""

    stable: int
    written: int


@dataclass(frozen=True)
class Reader:
    """A consumer group, or a stage of one, with the topics it reads. `group` comes after HOLDFAST_TOPIC_PREFIX."""

    stage: str
    group: str
    topics: tuple[Topic, ...]


READERS = (
    Reader("stock", PIPELINE_GROUP, (ORDERS, STOCK_COMMANDS)),
    Reader("orders", PIPELINE_GROUP, (STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS)),
    Reader("payments", PIPELINE_GROUP, (PAYMENT_REQUESTS,)),
    Reader("mysql sink", "holdfast.sink.mysql", (ORDER_OUTCOMES, STOCK_LEVELS)),
    Reader("redis sink", "holdfast.sink.redis", (ORDER_OUTCOMES, STOCK_LEVELS)),
)
WAREHOUSE = Reader("warehouse", WAREHOUSE_GROUP, (ORDER_OUTCOMES,))


@dataclass(frozen=True)
class Lag:
    """How many records of `topic` (name without prefix) the stage has still to read; `unread` names the partitions with any."""

    stage: str
    topic: str
    records: int
    unread: tuple[int, ...]


@dataclass(frozen=True)
class Look:
    """One look at the whole pipeline. `positions` is by (group, place), as committed; 0 where nothing is."""

    lags: tuple[Lag, ...]
    ends: Mapping[Place, End]
    positions: Mapping[tuple[str, Place], int]

    @property
    def records(self) -> int:
        """Records still to be read by anybody."""
        return sum(lag.records for lag in self.lags)

    @property
    def in_flight(self) -> bool:
        """Whether a transaction is open somewhere."""
        return any(end.stable < end.written for end in self.ends.values())

    @property
    def is_idle(self) -> bool:
        """Whether every reader has read everything and no transaction is open."""
        return not self.records and not self.in_flight

    def is_quiet_after(self, earlier: "Look | None") -> bool:
        """Whether nothing is under way: idle now and at an earlier look, and not a record written in between."""
        return earlier is not None and earlier.is_idle and self.is_idle and earlier.ends == self.ends


class LagMeter:
    """Looks at the offsets of these readers. Not for several threads at once."""

    def __init__(self, bootstrap: str, prefix: str = "", readers: Iterable[Reader] = READERS) -> None:
        self._bootstrap = bootstrap
        self._prefix = prefix
        self._readers = tuple(readers)
        self._admin = AdminClient({**kafka_settings(bootstrap), "log_level": 2})
        self._probe = _probe_consumer(bootstrap)
        self._counted: dict[tuple[Place, int, int], int] = {}
        self._earlier: dict[tuple[str, Place], tuple[int, int]] = {}

    def close(self) -> None:
        """Let go of the connections."""
        self._probe.close()

    def look(self) -> Look:
        """Return where everybody stands now; raises LagError when the brokers do not answer or a topic is missing."""
        deadline = time.monotonic() + REQUEST_S
        while True:
            try:
                return self._look()
            except KafkaException as error:
                # A topic just made, a coordinator or a leader that moves: over in a moment.
                if error.args[0].code() not in _PASSING or time.monotonic() > deadline:
                    raise LagError(f"Kafka at {self._bootstrap} did not tell its offsets: {error.args[0].str()}") from error
                time.sleep(0.1)

    def _look(self) -> Look:
        places = self._places()
        # Positions first: a record written in between shows as lag, never as its absence.
        positions = {(group, place): at for group in self._groups() for place, at in self._committed(group).items()}
        ends = self._ends(places)
        lags = tuple(self._lag(reader, topic, places, positions, ends) for reader in self._readers for topic in reader.topics)
        return Look(lags, ends, positions)

    # ------------------------------------------------------------------ what the brokers say

    def _groups(self) -> list[str]:
        return sorted({self._prefix + reader.group for reader in self._readers})

    def _places(self) -> list[Place]:
        names = {topic.named(self._prefix) for reader in self._readers for topic in reader.topics}
        present = self._admin.list_topics(timeout=REQUEST_S).topics
        missing = sorted(names - present.keys())
        if missing:
            raise LagError(f"topic {missing[0]} does not exist: run `holdfast topics create`")
        return [Place(name, number) for name in sorted(names) for number in sorted(present[name].partitions)]

    def _committed(self, group: str) -> dict[Place, int]:
        (answer,) = self._admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=REQUEST_S).values()
        return {Place(each.topic, each.partition): each.offset for each in answer.result().topic_partitions if each.offset >= 0}

    def _ends(self, places: list[Place]) -> dict[Place, End]:
        written = self._offsets(places, IsolationLevel.READ_UNCOMMITTED)
        stable = self._offsets(places, IsolationLevel.READ_COMMITTED)
        # Asked second, the stable end may be beyond the written end of a moment ago.
        return {place: End(min(stable[place], written[place]), written[place]) for place in places}

    def _offsets(self, places: list[Place], isolation: IsolationLevel) -> dict[Place, int]:
        latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
        asked = {TopicPartition(*place): latest for place in places}
        answers = self._admin.list_offsets(asked, isolation_level=isolation, request_timeout=REQUEST_S)
        return {Place(at.topic, at.partition): answer.result().offset for at, answer in answers.items()}

    # ------------------------------------------------------------------ lag

    def _lag(self, reader: Reader, topic: Topic, places: list[Place], positions: Mapping[tuple[str, Place], int], ends: Mapping[Place, End]) -> Lag:
        name, group = topic.named(self._prefix), self._prefix + reader.group
        behind = {place.partition: self._behind(group, place, positions.get((group, place), 0), ends[place].stable) for place in places if place.topic == name}
        return Lag(reader.stage, topic.name, sum(behind.values()), tuple(number for number, records in behind.items() if records))

    def _behind(self, group: str, place: Place, position: int, end: int) -> int:
        """Records between a position and the end. A gap that stays may hold nothing but transaction markers: then it is none."""
        gap = max(0, end - position)
        stays = self._earlier.get((group, place)) == (position, end)
        self._earlier[(group, place)] = (position, end)
        if gap > 0 and (gap <= 2 or stays) and gap <= MOST_PROBED:
            return self._count(place, position, end)
        return gap

    def _count(self, place: Place, position: int, end: int) -> int:
        key = (place, position, end)
        if key not in self._counted:
            self._counted = {k: v for k, v in self._counted.items() if k[0] != place or k[2] == end}
            self._counted[key] = self._read(place, position)
        return self._counted[key]

    def _read(self, place: Place, position: int) -> int:
        self._probe.assign([TopicPartition(place.topic, place.partition, position)])
        try:
            return sum(1 for _ in self._until_end())
        finally:
            self._probe.unassign()

    def _until_end(self) -> Iterator[Message]:
        while True:
            message = self._probe.poll(REQUEST_S)
            if message is None:
                raise LagError(f"Kafka at {self._bootstrap} did not let us read within {REQUEST_S:.0f} s")
            error = message.error()
            if error is None:
                yield message
            elif error.code() == KafkaError._PARTITION_EOF:
                return
            elif not error.retriable():
                raise KafkaException(error)


_PASSING = frozenset(
    {
        KafkaError.NOT_LEADER_FOR_PARTITION,
        KafkaError.LEADER_NOT_AVAILABLE,
        KafkaError.NOT_COORDINATOR,
        KafkaError.COORDINATOR_NOT_AVAILABLE,
        KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
        KafkaError._NOENT,
    }
)


def _probe_consumer(bootstrap: str) -> Consumer:
    return Consumer(
        {
            **kafka_settings(bootstrap),
            # Assigned, never subscribed, and nothing is committed: the client wants a name all the same.
            "group.id": "holdfast.lag",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "auto.offset.reset": "earliest",
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 10,
            "log_level": 2,
        }
    )
