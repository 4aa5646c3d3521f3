"""A sink whose Kafka client has lost sight of a partition, or of the group, as was seen after a broker had been frozen, takes a new client."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from schemas import views
from sinks.config import settings
from sinks.dead_letters import DeadLetters
from sinks.source import Source
from sinks.worker import Worker
from tests.support.memory_store import MemoryStore
from tests.support.outputs import expected
from tests.support.pipeline import until
from tests.support.sink_processes import Log, traffic

pytestmark = pytest.mark.live


class Blind:
    """A client that does everything but find partitions."""

    def __init__(self, consumer: Consumer) -> None:
        self._consumer = consumer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._consumer, name)

    def get_watermark_offsets(self, _partition: TopicPartition, _timeout: float) -> None:
        raise KafkaException(KafkaError(KafkaError._UNKNOWN_PARTITION))


class Outside(Blind):
    """A client that has lost its partitions and never hears of the group again."""

    def subscribe(self, _topics: list[str], on_lost: Any, **_: Any) -> None:
        on_lost(self._consumer, [])

    def get_watermark_offsets(self, partition: TopicPartition, timeout: float) -> Any:
        return self._consumer.get_watermark_offsets(partition, timeout)


@pytest.mark.parametrize("client", [Blind, Outside])
def test_a_client_that_has_lost_sight_is_replaced(client: type[Blind], kafka: str, topic_prefix: str) -> None:
    log = Log(kafka, topic_prefix)
    log.write(traffic(range(1, 50)))
    configured, store, stop = settings(kafka=kafka, topic_prefix=topic_prefix), MemoryStore(), threading.Event()
    source = Source(configured, "memory")
    source._consumer = client(source._consumer)  # type: ignore[assignment]
    worker = Worker(configured, source, store, DeadLetters(configured, "memory"))
    thread = threading.Thread(target=worker.run, args=(stop,))
    thread.start()
    try:
        until(lambda: store.content == expected(log.values), 60, f"the fold of the log in {views.ORDERS} and {views.PRODUCTS}")
    finally:
        stop.set()
        thread.join(30)
