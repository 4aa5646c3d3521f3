"""From order.outcomes into the table of notices: kept first, then committed. What is read twice is kept once."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import structlog
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

import failpoints
from generations import Watch
from schemas import codec
from schemas.secure import kafka_settings
from schemas.topics import ORDER_OUTCOMES
from sinks.errors import NotNowError, SinkError
from sinks.past import is_past
from sinks.rows import OUTCOME
from sinks.webhooks.config import WebhookSettings
from sinks.webhooks.notices import Endpoint, Notice, notice_of, wants
from sinks.webhooks.tables import Tables
from sinks.worker import back_off
from telemetry import traces

log = structlog.get_logger()

BATCH: Final = 500
POLL_S: Final = 0.2
LOOK_EVERY_S: Final = 2.0
ASK_S: Final = 10.0
FINAL: Final = frozenset({KafkaError.TOPIC_AUTHORIZATION_FAILED, KafkaError.GROUP_AUTHORIZATION_FAILED, KafkaError._AUTHENTICATION})


class Intake:
    """A member of the group `holdfast.webhooks`. `partitions` are ours; `heard` is called when notices were kept, or partitions moved."""

    def __init__(self, settings: WebhookSettings, tables: Tables, heard: Callable[[], object]) -> None:
        self._settings = settings
        self._tables = tables
        self._heard = heard
        self._watch = Watch(settings.kafka, settings.topic_prefix)
        self._looked_at = float("-inf")
        self._topics: tuple[str, ...] = ()
        """Outcomes of every generation that is still there, the one in use last."""
        self._is_stale = False
        """One of the topics is gone: those that are there are subscribed to anew."""
        self._counts: dict[str, int] = {}
        self.partitions: frozenset[int] = frozenset()

    def run(self, stop: threading.Event) -> None:
        """Read until `stop` is set; raises SinkError for what a person has to put right."""
        consumer = Consumer(_options(self._settings))
        try:
            while not stop.is_set():
                self._follow(consumer)
                if messages := self._read(consumer):
                    self._take(consumer, messages, stop)
        finally:
            self._own(frozenset())
            consumer.close()

    def _follow(self, consumer: Consumer) -> None:
        """Subscribe to the outcomes of every generation of the topics, and again when there is a new one."""
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return
        self._looked_at = time.monotonic()
        try:
            wanted = [ORDER_OUTCOMES.named(prefix) for prefix in self._watch.look().prefixes]
            if wanted[-1:] == list(self._topics[-1:]) and not self._is_stale:
                return
            known = consumer.list_topics(timeout=ASK_S).topics
        except KafkaException as error:
            log.warning("Kafka does not say which topics there are; trying again", error=error.args[0].str())
            return
        self._counts = {name: len(known[name].partitions) for name in wanted if name in known}
        self._topics = tuple(name for name in wanted if name in known or name == wanted[-1])
        self._is_stale = False
        consumer.subscribe(list(self._topics), on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_revoke)

    def _read(self, consumer: Consumer) -> list[Message]:
        messages = consumer.consume(BATCH, POLL_S)
        for message in messages:
            error = message.error()
            if error is not None and (error.fatal() or error.code() in FINAL):
                raise SinkError(f"Kafka at {self._settings.kafka}, {', '.join(self._topics)}: {error.str()}")
            if error is not None and is_past(error.code(), message.topic() or "", self._topics[-1:]):
                self._is_stale = True
            elif error is not None:
                log.warning("Kafka is not well; the client goes on trying", error=error.str())
        return [message for message in messages if message.error() is None]

    def _take(self, consumer: Consumer, messages: Sequence[Message], stop: threading.Event) -> None:
        failures = 0
        while not stop.is_set():
            try:
                self._keep(messages)
                break
            except NotNowError as error:
                failures += 1
                log.warning("not now; waiting", error=str(error))
                stop.wait(back_off(failures, error.delay_s, 1.0))
        else:
            return
        failpoints.reach("webhooks.kept")
        _commit(consumer, messages)

    def _keep(self, messages: Sequence[Message]) -> None:
        # Asked for each batch: an endpoint that was added before a record was written hears of it.
        endpoints = self._tables.endpoints()
        if notices := list(notices_of(messages, endpoints)):
            causes = traces.causes_of(message.headers() for message in messages) if traces.current() is not None else None
            with traces.batch("webhooks batch", causes, traces.counted(len(messages))):
                traces.remember(f"{notice.endpoint_id} {notice.notice_id}" for notice in notices)
                self._tables.add_notices(notices)
            self._heard()

    def _on_assign(self, _consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        newest = self._topics[-1]
        mine = [p.partition for p in partitions if p.topic == newest]
        # Notices may be left from a generation of more partitions than there are now.
        self._own(frozenset(shared_out(mine, self._counts.get(newest, 1), max(self._counts.values(), default=1))))

    def _on_revoke(self, _consumer: Consumer, _partitions: Iterable[TopicPartition]) -> None:
        self._own(frozenset())

    def _own(self, partitions: frozenset[int]) -> None:
        self.partitions = partitions
        self._heard()


def shared_out(mine: Iterable[int], partitions: int, most: int) -> Iterable[int]:
    """Yield which numbers below `most` fall to whoever has these of `partitions`: each number to one member."""
    for number in mine:
        yield from range(number, max(most, number + 1), partitions)


def notices_of(messages: Iterable[Message], endpoints: Sequence[Endpoint]) -> Iterable[Notice]:
    """Yield the notices of records; what cannot be read is the sinks' dead letter already."""
    since = min((endpoint.created_at for endpoint in endpoints), default=None)
    for message in messages:
        written_at = message.timestamp()[1]
        if since is None or written_at < since:
            continue
        try:
            name, outcome, _ = codec.decode(message.value())
        except codec.UndecodableError as error:
            log.warning("a record nobody is told of", partition=message.partition(), offset=message.offset(), error=str(error))
            continue
        if name == OUTCOME:
            yield from (notice_of(endpoint, outcome, message.partition() or 0) for endpoint in endpoints if wants(endpoint, outcome, written_at))


def _commit(consumer: Consumer, messages: Sequence[Message]) -> None:
    ends = {(message.topic() or "", message.partition() or 0): message.offset() or 0 for message in messages}
    at = [TopicPartition(topic, partition, offset + 1) for (topic, partition), offset in ends.items()]
    try:
        consumer.commit(offsets=at, asynchronous=False)
    except KafkaException as error:
        # Whoever has the partition now reads the same records again, and keeps nothing twice.
        log.warning("the position could not be committed", error=error.args[0].str())


def _options(settings: WebhookSettings) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(settings.kafka),
        "group.id": settings.group_of_webhooks,
        "isolation.level": "read_committed",
        "enable.auto.commit": False,
        "enable.auto.offset.store": False,
        "auto.offset.reset": "earliest",
        "session.timeout.ms": settings.sink_session_timeout_ms,
        "heartbeat.interval.ms": settings.sink_session_timeout_ms // 4,
        "queued.max.messages.kbytes": 16 * 1024,
        "log_level": 3,
    }
