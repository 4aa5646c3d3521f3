"""The only file of `ingest` that sends to Kafka: an idempotent producer that names every record's partition itself."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from ingest.errors import BrokerUnavailableError, MovingError, PublishError, RecordTooLargeError, TopicMissingError
from ingest.generation import Generation, Where
from schemas.secure import kafka_settings
from schemas.topics import Topic

OnAck = Callable[[PublishError | None, int], None]
"""Called with (None, offset) once the brokers have a record, or with (error, -1) once they are given up."""

RECORD_OVERHEAD: Final = 512
"""Bytes that a record's batch and its own header take besides key and value, generously."""
HEADER_BYTES: Final = 1_024
"""More than a header of ours has."""
METADATA_TIMEOUT_S: Final = 10.0
_UNREACHABLE = {KafkaError._MSG_TIMED_OUT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TRANSPORT, KafkaError._TIMED_OUT}
_TOO_LARGE = {KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.RECORD_LIST_TOO_LARGE}


class LogWriter:
    """Sends records to partitions of our topics and hears of their acks. Not thread-safe but for `poll`.

    Acknowledgements are delivered by `poll` and `flush`, in the thread that calls them. `full_wait_s`: how long `send` waits for
    room in a full queue, as long as for an acknowledgement where it is not given.
    """

    def __init__(self, kafka: str, topic_prefix: str = "", *, ack_timeout_s: float = 30.0, linger_ms: float = 5, full_wait_s: float | None = None) -> None:
        self.kafka = kafka
        self._generation = Generation(kafka, topic_prefix)
        self._timeout_s = ack_timeout_s
        self._full_wait_s = ack_timeout_s if full_wait_s is None else full_wait_s
        self._partitions: dict[str, int] = {}
        self._producer = Producer(_settings(kafka, ack_timeout_s, linger_ms))

    @property
    def prefix(self) -> str:
        """What goes before the topics' names: HOLDFAST_TOPIC_PREFIX, and the generation's own."""
        return self._generation.prefix

    @property
    def is_moving(self) -> bool:
        """Whether nothing is taken now, because the number of partitions is being changed."""
        return self._generation.is_moving

    def where(self, topic: Topic) -> Where:
        """Return where a topic is read now."""
        return self._generation.where(topic)

    def check_open(self) -> None:
        """Raise MovingError while the number of partitions is being changed."""
        if self.is_moving:
            raise MovingError("the number of partitions is being changed (`holdfast repartition`): nothing was sent, try again in some seconds")

    def partitions(self, topic: Topic) -> int:
        """Return a topic's partition count as the cluster has it; raises BrokerUnavailableError or TopicMissingError."""
        name = topic.named(self.prefix)
        if name not in self._partitions:
            self._partitions = self._read_partitions()
        if name not in self._partitions:
            raise TopicMissingError(f"topic {name} does not exist at {self.kafka}: run `holdfast topics create`")
        return self._partitions[name]

    def send(self, topic: Topic, partition: int, key: bytes | None, value: bytes, on_ack: OnAck, headers: Sequence[tuple[str, bytes]] = ()) -> None:
        """Queue one record; waits while the queue is full. A name may stand in `headers` more than once.

        Raises RecordTooLargeError, BrokerUnavailableError or MovingError at once.
        """
        self.check_open()
        name = topic.named(self.prefix)
        # Of most records it is plain that they are small enough.
        if len(value) + HEADER_BYTES * len(headers) > topic.max_message_bytes // 2 and _size(key, value, headers) > topic.max_message_bytes:
            raise RecordTooLargeError(f"a record of {len(value):,} bytes for topic {name}, which takes {topic.max_message_bytes:,}: send less at once")
        deadline = time.monotonic() + self._full_wait_s
        while True:
            try:
                self._producer.produce(name, value, key, partition, on_delivery=self._reporter(name, on_ack), headers=list(headers) or None)
                return
            except BufferError:
                self._wait_for_room(deadline)
            except KafkaException as error:
                raise self._publish_error(name, error.args[0]) from error

    def poll(self, timeout_s: float = 0.0) -> None:
        """Deliver the acks that have come in, waiting up to `timeout_s` for the first."""
        self._producer.poll(timeout_s)

    def flush(self, timeout_s: float | None = None) -> int:
        """Wait until everything queued is acknowledged or given up; return how many records are still neither."""
        return int(self._producer.flush(self._timeout_s + 5 if timeout_s is None else timeout_s))

    def _read_partitions(self) -> dict[str, int]:
        try:
            topics = self._producer.list_topics(timeout=METADATA_TIMEOUT_S).topics
        except KafkaException as error:
            raise BrokerUnavailableError(f"no broker answers at {self.kafka}: {error.args[0].str()}. Is it up? (`holdfast status`)") from error
        return {name: len(t.partitions) for name, t in topics.items() if t.partitions}

    def _wait_for_room(self, deadline: float) -> None:
        if time.monotonic() > deadline:
            raise BrokerUnavailableError(f"the queue has been full for {self._full_wait_s:g} s: {self.kafka} takes nothing")
        self._producer.poll(0.05)

    def _reporter(self, name: str, on_ack: OnAck) -> Callable[[KafkaError | None, Message], None]:
        def report(error: KafkaError | None, message: Message) -> None:
            offset = message.offset()
            if error is None and offset is not None:
                on_ack(None, offset)
            elif error is not None:
                on_ack(self._publish_error(name, error), -1)

        return report

    def _publish_error(self, name: str, error: KafkaError) -> PublishError:
        code: Any = error.code()
        again = "it may be in the log all the same, so publish it again under the same ID"
        if code in _TOO_LARGE:
            # Our own limits were kept, so the topic's was lowered: that is how a closed generation refuses whoever has not heard of it.
            self._generation.look_again()
            return MovingError(f"topic {name} takes nothing now: the number of partitions is being changed, or its max.message.bytes is too low; {again}")
        if code in _UNREACHABLE:
            return BrokerUnavailableError(f"{self.kafka} did not acknowledge a record for {name} within {self._timeout_s:g} s: {again}")
        return PublishError(f"{self.kafka} refused a record for {name} ({error.name()}: {error.str()}): {again}")


def _size(key: bytes | None, value: bytes, headers: Sequence[tuple[str, bytes]]) -> int:
    return len(value) + len(key or b"") + sum(len(name) + len(said) + 4 for name, said in headers) + RECORD_OVERHEAD


def _settings(kafka: str, ack_timeout_s: float, linger_ms: float) -> dict[str, Any]:
    return {
        **kafka_settings(kafka),
        "enable.idempotence": True,
        "acks": "all",
        "compression.type": "lz4",
        "linger.ms": linger_ms,
        # A small request goes at once, also while an earlier one is not answered.
        "socket.nagle.disable": True,
        "message.timeout.ms": int(ack_timeout_s * 1000),
        # Batches stay under the smallest topic's max.message.bytes; a larger record travels alone, up to its topic's own limit.
        "batch.size": 900_000,
        "message.max.bytes": 10_000_000,
        "queue.buffering.max.kbytes": 65_536,
        "log_level": 2,
    }
