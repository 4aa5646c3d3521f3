"""What people do to topics and groups by hand, when they should not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaError, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, NewPartitions, NewTopic

from holdfast import topics
from schemas.topics import ORDER_COMMANDS, ORDERS, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS, Topic

INPUTS: Final = (ORDERS, STOCK_COMMANDS, STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS, PAYMENT_REQUESTS)
SECONDS: Final = 30.0


class Cluster:
    """The brokers, in careless hands."""

    def __init__(self, kafka: str, prefix: str, partitions: int) -> None:
        self.kafka, self.prefix, self.partitions = kafka, prefix, partitions
        self._admin = AdminClient({"bootstrap.servers": kafka, "log_level": 2})

    def delete(self, topic: Topic) -> None:
        """Delete a topic; returns when it is gone."""
        name = topic.named(self.prefix)
        self._admin.delete_topics([name])[name].result(SECONDS)
        self._await(lambda: name not in self._admin.list_topics(timeout=SECONDS).topics)

    def create(self, topic: Topic) -> None:
        name = topic.named(self.prefix)
        new = NewTopic(name, self.partitions, -1, config=topics.settings(topic))
        self._await(lambda: _done(self._admin.create_topics([new])[name]))
        self._await(lambda: len(self._described(name)) == self.partitions)

    def make_again(self, topic: Topic) -> None:
        self.delete(topic)
        self.create(topic)

    def add_partition(self, topic: Topic) -> None:
        name = topic.named(self.prefix)
        self._admin.create_partitions([NewPartitions(name, self.partitions + 1)])[name].result(SECONDS)
        self._await(lambda: len(self._described(name)) == self.partitions + 1)

    def _described(self, name: str) -> list[Any]:
        try:
            return list(self._admin.describe_topics(TopicCollection([name]))[name].result(SECONDS).partitions)
        except KafkaException:
            return []

    def move_offsets(self, where: Callable[[int], int], group: str = "holdfast") -> None:
        """Set the group's offset of each input partition to what `where` makes of its end. Raises KafkaException while the group has members."""
        places = [TopicPartition(topic.named(self.prefix), p) for topic in INPUTS for p in range(self.partitions)]
        moved = [TopicPartition(tp.topic, tp.partition, where(end)) for tp, end in zip(places, self._ends(places), strict=True)]
        asked = self._admin.alter_consumer_group_offsets([ConsumerGroupTopicPartitions(self.prefix + group, moved)])
        for future in asked.values():
            for tp in future.result(SECONDS).topic_partitions:
                if tp.error:
                    raise KafkaException(tp.error)

    def delete_group(self, group: str = "holdfast") -> None:
        """Delete the group with its offsets. Raises KafkaException while it has members."""
        for future in self._admin.delete_consumer_groups([self.prefix + group]).values():
            future.result(SECONDS)

    def _ends(self, places: Iterable[TopicPartition]) -> list[int]:
        from confluent_kafka import Consumer

        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": "none"})
        try:
            return [int(consumer.get_watermark_offsets(tp, timeout=SECONDS)[1]) for tp in places]
        finally:
            consumer.close()

    def write(self, topic: Topic, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Write one record, as any producer with the wrong topic name could."""
        producer = Producer({"bootstrap.servers": self.kafka, "log_level": 2})
        producer.produce(topic.named(self.prefix), value, key, partition)
        producer.flush(SECONDS)

    def _await(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + SECONDS
        while not holds():
            if time.monotonic() > deadline:
                raise TimeoutError("the brokers did not do it")
            time.sleep(0.1)


def _done(future: Any) -> bool:
    """Whether a topic is made; one that is still being deleted is in the way for a moment."""
    try:
        future.result(SECONDS)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise
    return True
