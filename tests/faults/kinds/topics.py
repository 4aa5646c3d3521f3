"""Hands where they should not be: the group's offsets moved or deleted, strange records in the private changelogs."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from schemas import codec
from schemas.topics import ORDER_STATE, PAYMENT_STATE, POSITIONS_KEY, STOCK_STATE, Topic
from tests.faults.changes import Cluster
from tests.faults.fault import CannotStrikeError, Fault
from tests.faults.site import Site

CHANGELOGS: Final[tuple[Topic, ...]] = (STOCK_STATE, ORDER_STATE, PAYMENT_STATE)
EMPTY_GROUP_S: Final = 40.0
ROWS: Final = 200
"""Read per changelog partition to find a few keys."""
KEYS_STRUCK: Final = 4


def cluster_of(site: Site) -> Cluster:
    return Cluster(site.endpoints.kafka, site.prefix, site.partitions)


# -- the group -------------------------------------------------------------------------------------------------------------


def on_the_empty_group(change: Callable[[Cluster, Random], None]) -> Callable[[Site, Random], None]:
    """Kafka lets nobody touch the offsets of a group with members: the workers are kept down until it has none."""

    def strike(site: Site, random: Random) -> None:
        cluster, deadline = cluster_of(site), time.monotonic() + EMPTY_GROUP_S
        while True:
            site.signal("worker", signal.SIGKILL)
            try:
                return change(cluster, random)
            except KafkaException as error:
                if time.monotonic() > deadline:
                    raise CannotStrikeError(f"the group never became empty: {error}") from error
            time.sleep(0.2)

    return strike


def _move(cluster: Cluster, random: Random) -> None:
    cluster.move_offsets(random.choice((lambda _: 0, lambda end: end // 2, lambda end: end, lambda end: end + 1_000)))


def _delete(cluster: Cluster, _random: Random) -> None:
    cluster.delete_group()


# -- changelogs ------------------------------------------------------------------------------------------------------------


def stray_bytes(random: Random, row: bytes) -> bytes:
    """Return what nobody can decode as this row: other bytes, another schema, its head with a broken body."""
    head, name = row[: codec.HEADER_BYTES], random.choice(("OrderLine", "StockCommand"))
    unknown = b"\x00\x00\x0f\xff\xff"
    wrong = next(codec.MAGIC + ids[-1].to_bytes(4, "big") for record, ids in codec.schema_ids().items() if record == name)
    return random.choice((b"garbage", b"", unknown + row[5:], wrong + row[5:], head + b"\xff" * 12, row[:-1]))


def spoil(site: Site, random: Random) -> None:
    """Write over a few rows of each changelog what is no row, and under keys that no row has; then have workers read it."""
    cluster = cluster_of(site)
    for topic in CHANGELOGS:
        partition = random.randrange(site.partitions)
        rows = dict(_some_rows(site, topic, partition))
        for key in random.sample(sorted(rows), min(KEYS_STRUCK, len(rows))):
            cluster.write(topic, partition, key, stray_bytes(random, rows[key]))
        cluster.write(topic, partition, b"\xff\xfe", b"garbage")
    site.signal("worker", signal.SIGKILL)


def _some_rows(site: Site, topic: Topic, partition: int) -> Iterator[tuple[bytes, bytes]]:
    consumer = Consumer({"bootstrap.servers": site.endpoints.kafka, "group.id": "faults.rows", "isolation.level": "read_committed", "log_level": 2})
    try:
        consumer.assign([TopicPartition(topic.named(site.prefix), partition, OFFSET_BEGINNING)])
        for message in consumer.consume(ROWS, 3.0):
            key, value = message.key(), message.value()
            if message.error() is None and value and key not in (None, POSITIONS_KEY):
                yield key, value
    finally:
        consumer.close()


FAULTS = (
    Fault("group offsets moved", "the workers' group is set back, ahead or beyond the end while none is running", on_the_empty_group(_move), withholds=True),
    Fault("group offsets deleted", "the workers' group is deleted while none is running", on_the_empty_group(_delete), withholds=True),
    Fault("changelogs spoiled", "records nobody can decode over rows of every changelog, then kill -9 of the workers", spoil),
)
