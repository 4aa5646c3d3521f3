"""The topics of one run: made, filled, watched, read and removed again."""

from __future__ import annotations

import hashlib
import struct
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from itertools import accumulate
from pathlib import Path
from typing import Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, IsolationLevel, KafkaError, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from bench.work import Filled, Work, records
from bench.work import __file__ as work_module
from schemas import codec

TIMEOUT_S: Final = 60.0
HEAD: Final = struct.Struct(">iii")
NO_KEY: Final = -1
MIB: Final = 1 << 20
LONGEST_FILL_MS: Final = 15_000
"""What the stack's broker lets a transaction be open at most."""


def admin(kafka: str) -> AdminClient:
    """Return an admin client."""
    return AdminClient({"bootstrap.servers": kafka, "log_level": 2})


def create(kafka: str, names: dict[str, dict[str, str]], partitions: int) -> None:
    """Create topics (name -> settings) and wait until their partitions are led."""
    client = admin(kafka)
    made = client.create_topics([NewTopic(name, partitions, 1, config={"max.message.bytes": str(4 * MIB), **config}) for name, config in names.items()])
    for future in made.values():
        future.result(TIMEOUT_S)
    for name in names:
        until_led(client, name, partitions)


def until_led(client: AdminClient, name: str, partitions: int) -> None:
    """Wait until every partition of a new topic answers."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        try:
            committed(client, name, partitions)
            return
        except KafkaException:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def remove(kafka: str, run: str) -> None:
    """Remove every topic with the run's name in its own."""
    client = admin(kafka)
    names = [name for name in client.list_topics(timeout=TIMEOUT_S).topics if run in name]
    for future in client.delete_topics(names).values() if names else ():
        future.result(TIMEOUT_S)


def committed(client: AdminClient, name: str, partitions: int) -> list[int]:
    """Return, for each partition, the offset before which everything is committed."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    asked = client.list_offsets(
        {TopicPartition(name, p): latest for p in range(partitions)}, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=TIMEOUT_S
    )
    found = {at.partition: future.result(TIMEOUT_S).offset for at, future in asked.items()}
    return [found[p] for p in range(partitions)]


# -- input --------------------------------------------------------------------------------------------------------------


def spool(folder: Path, work: Work, partitions: int, per_record: int) -> Path:
    """Write the input's records into a file once, so that every run gets the same bytes quickly; return the file. Its name says which code made it."""
    folder.mkdir(parents=True, exist_ok=True)
    made_by = hashlib.sha256(Path(work_module).read_bytes() + codec.head("OrderLine") + codec.head("OrderLines")).hexdigest()[:8]
    path = folder / f"{work.mix.name}-{work.orders}-{partitions}-{per_record}-{made_by}.spool"
    if path.exists():
        return path
    partial = path.with_suffix(".partial")
    with partial.open("wb") as out:
        for partition, key, value in records(work, partitions, per_record):
            out.write(HEAD.pack(partition, NO_KEY if key is None else len(key), len(value)))
            out.write((key or b"") + value)
    return partial.rename(path)


def spooled(path: Path) -> Iterator[Filled]:
    """Yield the records of a spool file."""
    with path.open("rb", buffering=MIB) as source:
        while head := source.read(HEAD.size):
            partition, key, value = HEAD.unpack(head)
            yield Filled(partition, None if key == NO_KEY else source.read(key), source.read(value))


def fill(kafka: str, topic: str, path: Path) -> None:
    """Write a spool file's records to a topic in one transaction: whoever reads what is committed sees them all at once.

    So the programs under test are started, and know their partitions, before there is anything to do.
    Raises KafkaException when the broker takes longer than a transaction may be open.
    """
    settings = {"bootstrap.servers": kafka, "transactional.id": f"{topic}.fill", "transaction.timeout.ms": LONGEST_FILL_MS, "linger.ms": 20}
    # Not compressed: not every peer's client comes with lz4.
    producer = Producer({**settings, "queue.buffering.max.messages": 1_000_000, "batch.num.messages": 10_000})
    producer.init_transactions(TIMEOUT_S)
    producer.begin_transaction()
    for i, (partition, key, value) in enumerate(spooled(path)):
        put(producer, topic, value, key, partition)
        if i % 10_000 == 0:
            producer.poll(0)
    producer.commit_transaction(TIMEOUT_S)


def new_producer(kafka: str) -> Producer:
    """Return a producer that keeps the order and loses nothing."""
    settings = {"bootstrap.servers": kafka, "enable.idempotence": True, "linger.ms": 20, "compression.type": "lz4"}
    return Producer({**settings, "queue.buffering.max.messages": 1_000_000, "batch.num.messages": 10_000})


def put(producer: Producer, topic: str, value: bytes, key: bytes | None, partition: int) -> None:
    """Produce one record, waiting for room in the producer's queue."""
    while True:
        try:
            producer.produce(topic, value, key, partition)
            return
        except BufferError:
            producer.poll(0.1)


# -- outcomes -----------------------------------------------------------------------------------------------------------


class Tally:
    """How many orders have their outcome before an offset, by partition."""

    def __init__(self, partitions: int) -> None:
        self._offsets: list[list[int]] = [[] for _ in range(partitions)]
        self._sizes: list[list[int]] = [[] for _ in range(partitions)]
        self._sums: list[list[int]] | None = None

    def add(self, partition: int, offset: int, orders: int) -> None:
        self._offsets[partition].append(offset)
        self._sizes[partition].append(orders)

    def before(self, offsets: list[int]) -> int:
        """Return the orders whose outcome stands before these offsets."""
        if self._sums is None:
            self._sums = [[0, *accumulate(sizes)] for sizes in self._sizes]
        return sum(sums[bisect_right(known, offset - 1)] for sums, known, offset in zip(self._sums, self._offsets, offsets, strict=True))


def read(kafka: str, topic: str, partitions: int, take: Callable[[bytes], int]) -> Tally:
    """Give every committed record's value to `take`, which returns its number of orders."""
    settings = {"bootstrap.servers": kafka, "group.id": f"{topic}.check", "enable.auto.commit": False, "isolation.level": "read_committed"}
    consumer = Consumer({**settings, "enable.partition.eof": True, "queued.max.messages.kbytes": 65_536})
    consumer.assign([TopicPartition(topic, p, OFFSET_BEGINNING) for p in range(partitions)])
    tally, ended = Tally(partitions), set[int]()
    try:
        while len(ended) < partitions:
            for message in consumer.consume(10_000, 0.2):
                error = message.error()
                partition = message.partition() or 0
                if error is None:
                    tally.add(partition, message.offset() or 0, take(message.value() or b""))
                elif error.code() == KafkaError._PARTITION_EOF:
                    ended.add(partition)
                else:
                    raise KafkaException(error)
    finally:
        consumer.close()
    return tally
