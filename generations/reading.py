"""Reads the topic `generations`."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from generations.history import Change, History, Step
from schemas import codec
from schemas.secure import kafka_settings
from schemas.topics import GENERATIONS

ASK_S: Final = 5.0
READ_S: Final = 15.0
WAIT_S: Final = 0.5
_CONNECTION: Final = {"reconnect.backoff.ms": 200, "reconnect.backoff.max.ms": 1_000, "log_level": 2}


class Watch:
    """Looks at the topic again and again: only the first look, and one that finds it changed, reads it. Safe from several threads."""

    def __init__(self, kafka: str, root: str) -> None:
        self._kafka = kafka
        self._root = root
        self._topic = GENERATIONS.named(root)
        self._lock = threading.Lock()
        self._admin: AdminClient | None = None
        self._exists = False
        self._end = 0
        self._history = History(root)

    def look(self) -> History:
        """Return how things stand now: whatever was committed before this call is in it. Raises KafkaException."""
        with self._lock:
            end = self._stable_end()
            if end != self._end:
                self._history = History.of(self._root, self._records(end))
                self._end = end
            return self._history

    def _stable_end(self) -> int:
        if self._admin is None:
            self._admin = AdminClient({**kafka_settings(self._kafka), **_CONNECTION})
        if not self._exists and not self._is_there(self._admin):
            return 0
        self._exists = True
        asked = {TopicPartition(self._topic, 0): OffsetSpec.latest()}  # type: ignore[no-untyped-call]
        (future,) = self._admin.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ASK_S).values()
        return int(_answer(future).offset)

    def _is_there(self, admin: AdminClient) -> bool:
        (future,) = admin.describe_topics(TopicCollection([self._topic]), request_timeout=ASK_S).values()
        try:
            _answer(future)
        except KafkaException as error:
            if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
                return False
            raise
        return True

    def _records(self, end: int) -> Iterator[Change]:
        consumer = Consumer({**kafka_settings(self._kafka), **_CONNECTION, **_READING, "group.id": f"{self._root}holdfast.generations"})
        try:
            consumer.assign([TopicPartition(self._topic, 0, 0)])
            yield from _until(consumer, end)
        finally:
            consumer.close()


_READING: Final[dict[str, str | int | bool]] = {
    "enable.auto.commit": False,  # assigned, never subscribed; the group is only a name
    "isolation.level": "read_committed",
    "auto.offset.reset": "earliest",
    "enable.partition.eof": True,
    "fetch.wait.max.ms": 10,
}


def _until(consumer: Consumer, end: int) -> Iterator[Change]:
    deadline = time.monotonic() + READ_S
    while time.monotonic() < deadline:
        message = consumer.poll(WAIT_S)
        if message is None:
            continue
        error = message.error()
        if error is None:
            yield _change(message.value())
        elif error.code() != KafkaError._PARTITION_EOF:
            raise KafkaException(error)
        elif int(message.offset() or 0) >= end:
            return
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT))


def _change(value: bytes | None) -> Change:
    record = codec.decode(value).value
    return Change(record["generation"], record["partitions"], Step(record["step"]))


def _answer(future: Any) -> Any:
    try:
        return future.result(timeout=2 * ASK_S)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error


def read(kafka: str, root: str) -> History:
    """Return how things stand now; raises KafkaException."""
    return Watch(kafka, root).look()


def begun(kafka: str, root: str, waiting: Callable[[str], None]) -> History:
    """Return how things stand once the brokers answer and a generation is open to its tasks; `waiting` hears what is waited for, once each."""
    watch, said = Watch(kafka, root), ""
    while True:
        try:
            history = watch.look()
            if history.moving is None or history.moving.step is not Step.CLOSED:
                return history
            why = f"generation {history.moving.generation} is being filled (`holdfast repartition` goes on with it if nobody does)"
        except KafkaException as error:
            why = f"the brokers at {kafka} do not answer: {error.args[0].str()}"
        if why != said:
            waiting(why)
            said = why
        time.sleep(WAIT_S)
