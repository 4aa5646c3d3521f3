"""Reads whole topics back, for tests that look at what is in the log."""

from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from schemas.codec import Decoded, decode
from schemas.topics import ORDERS

PARTITIONS = 8


def read_all(kafka: str, name: str, partitions: int = PARTITIONS) -> Iterator[tuple[int, bytes | None, Decoded]]:
    """Yield (partition, key, decoded record) of everything in a topic, partition by partition."""
    for partition, messages in sorted(_messages(kafka, name, partitions).items()):
        for message in messages:
            yield partition, message.key(), decode(message.value())


def headers_of(kafka: str, name: str, key: bytes | None, partitions: int = PARTITIONS) -> list[dict[str, Any]]:
    """Return the headers of every record of a topic under a key, in order."""
    found = [message for messages in _messages(kafka, name, partitions).values() for message in messages if message.key() == key]
    return [dict(message.headers() or ()) for message in found]


def _messages(kafka: str, name: str, partitions: int) -> dict[int, list[Message]]:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "none", "enable.auto.commit": False, "enable.partition.eof": True, "fetch.wait.max.ms": 20})
    found: defaultdict[int, list[Message]] = defaultdict(list)
    ended: set[int] = set()
    consumer.assign([TopicPartition(name, partition, 0) for partition in range(partitions)])
    while len(ended) < partitions:
        message = consumer.poll(30)
        assert message is not None, f"{name} ended in {sorted(ended)} only"
        if message.error():
            ended.add(message.partition())
        else:
            found[message.partition()].append(message)
    consumer.close()
    return found


def lines_of(kafka: str, prefix: str, partitions: int = PARTITIONS) -> list[tuple[int, dict[str, Any]]]:
    """Return (partition, fields) of every order line in `orders`, of either kind of record."""
    found = []
    for partition, _, record in read_all(kafka, ORDERS.named(prefix), partitions):
        columns = {k: v if record.name == "OrderLines" else [v] for k, v in record.value.items()}
        found += [(partition, {k: v[i] for k, v in columns.items()}) for i in range(record.size)]
    return found
