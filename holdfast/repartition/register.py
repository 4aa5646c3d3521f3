"""Writes the topic `generations`: one step after the other, by one program at a time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from generations import History, Step, Watch
from holdfast.repartition.errors import RepartitionError, TakenOverError
from holdfast.topics import settings
from schemas import codec
from schemas.secure import kafka_settings
from schemas.topics import GENERATIONS

REQUEST_S: Final = 30.0
TRANSACTION_S: Final = 12
SEEN_S: Final = 30.0
T = TypeVar("T")
Put = tuple[str, int, bytes | None, bytes | None]
"""Topic on the brokers, partition, key, value."""


class Register:
    """The one producer of a change. Opening it puts an end to any other program that is at work on the same shop's partitions."""

    def __init__(self, kafka: str, root: str) -> None:
        self._topic = GENERATIONS.named(root)
        self._watch = Watch(kafka, root)
        self._admin = AdminClient({**kafka_settings(kafka), "log_level": 2})
        self._make_topic()
        self._failed: list[KafkaError] = []
        self._producer = Producer(_producer_settings(kafka, f"{root}holdfast.repartition"))
        self._call(lambda: self._producer.init_transactions(REQUEST_S))

    def read(self) -> History:
        """Return how things stand; raises RepartitionError."""
        return self._call(self._watch.look)

    def say(self, generation: int, partitions: int, step: Step) -> None:
        """Write a step down. When this returns, whoever looks sees it: a commit is acknowledged before its readers may see it."""
        fields = {"generation": generation, "partitions": partitions, "step": step.value, "changed_at": time.time_ns() // 1_000_000}
        self.write([(self._topic, 0, b"%d" % generation, codec.encode("Generation", fields))])
        deadline = time.monotonic() + SEEN_S
        while (generation, partitions, step) not in self.read().changes:
            if time.monotonic() > deadline:
                raise RepartitionError(f"what was written to {self._topic} cannot be read: is a transaction of somebody's open there? Run again")
            time.sleep(0.02)

    def write(self, records: Iterable[Put]) -> None:
        """Write records in one transaction; raises RepartitionError."""
        self._failed.clear()
        self._call(self._producer.begin_transaction)
        for topic, partition, key, value in records:
            self._put(topic, partition, key, value)
        self._call(lambda: self._producer.flush(REQUEST_S))
        if self._failed:
            self._call(lambda: self._producer.abort_transaction(REQUEST_S))
            raise RepartitionError(f"Kafka did not take a record: {self._failed[0].str()}. Run again")
        self._call(lambda: self._producer.commit_transaction(REQUEST_S))

    def _put(self, topic: str, partition: int, key: bytes | None, value: bytes | None) -> None:
        while True:
            try:
                with explained():
                    self._producer.produce(topic, value, key, partition, on_delivery=self._delivered)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(error)

    def _make_topic(self) -> None:
        new = NewTopic(self._topic, 1, -1, config=settings(GENERATIONS))
        try:
            self._admin.create_topics([new], operation_timeout=REQUEST_S)[self._topic].result()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                raise _explained(error) from error

    def _call(self, action: Callable[[], T]) -> T:
        with explained():
            return action()


@contextmanager
def explained() -> Iterator[None]:
    """Turn what Kafka's client raises into a RepartitionError; one that was fenced raises a SystemError at every delivery report."""
    try:
        yield
    except KafkaException as error:
        raise _explained(error) from error
    except SystemError as error:
        if not isinstance(error.__cause__, KafkaException):
            raise
        raise _explained(error.__cause__) from error


def _explained(error: KafkaException) -> RepartitionError:
    fault: KafkaError = error.args[0]
    if fault.code() in (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH):
        return TakenOverError("another `holdfast repartition` has taken over: let it go on, or end it and run again")
    return RepartitionError(f"Kafka did not do what was asked: {fault.str()}. Run again to go on from here")


def _producer_settings(kafka: str, transactional_id: str) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(kafka),
        "transactional.id": transactional_id,
        "transaction.timeout.ms": TRANSACTION_S * 1000,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": 8_000_000,
        "queue.buffering.max.kbytes": 65_536,
        "log_level": 2,
    }
