"""What was said of one order before now, read from its partition of order.outcomes: as much as is worth reading."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from ingest.errors import BrokerUnavailableError
from ingest.followers import Said, said
from ingest.generation import Where
from ingest.order_ids import parts_of
from schemas.codec import UndecodableError
from schemas.partitions import order_partition
from schemas.secure import kafka_settings

THREADS: Final = 2
SKEW_MS: Final = 60_000
"""How far the clock that gave an order its ID may be ahead of the brokers'."""
_TIMEOUT_S: Final = 10.0
_BATCH: Final = 2_000


class Past(NamedTuple):
    """What was found, in order. `end`: the partition's end; what comes later is at this offset or behind it.

    `whole`: nothing that was said of the order between the place asked for and `end` is missing.
    """

    said: list[Said]
    partition: int
    end: int
    whole: bool


class Place(NamedTuple):
    """The next record to read of a partition."""

    partition: int
    offset: int


class OrderHistory:
    """Reads in threads of its own, with a consumer each, made when it is first needed."""

    def __init__(self, kafka: str, where: Callable[[], Where], most: int) -> None:
        self._kafka = kafka
        self._where = where
        self._most = most
        self._threads = ThreadPoolExecutor(THREADS, "history")
        self._local = threading.local()
        self._consumers: list[Consumer] = []

    async def read(self, order_id: int, place: Place | None) -> Past:
        """Return what was said of an order since `place`, or since the order got its ID; raises BrokerUnavailableError.

        Of a long stretch only the last `most` records are read: then it is not `whole`.
        """
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._read, order_id, place)

    def close(self) -> None:
        """Stop reading. Blocks until what is being read is read."""
        self._threads.shutdown(cancel_futures=True)
        for consumer in self._consumers:
            consumer.close()

    def _read(self, order_id: int, place: Place | None) -> Past:
        where = self._where()
        try:
            return self._found(self._consumer(), where, order_id, place)
        except KafkaException as error:
            raise BrokerUnavailableError(f"the brokers do not let {where.topic} be read: {error.args[0].str()}") from error

    def _found(self, consumer: Consumer, where: Where, order_id: int, place: Place | None) -> Past:
        topic, base = where
        partitions = len(consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions)
        if not partitions:
            raise BrokerUnavailableError(f"the brokers have no topic {topic}")
        at = TopicPartition(topic, order_partition(order_id, partitions))
        _low, end = consumer.get_watermark_offsets(at, timeout=_TIMEOUT_S)
        known = place is not None and place.partition == at.partition and base <= place.offset <= base + end
        begin = place.offset - base if place and known else self._begin(consumer, at, order_id, end)
        at.offset = max(begin, end - self._most)
        found = self._scan(consumer, at, end, b"%d" % order_id) if at.offset < end else []
        # Of an order older than this generation of the topics something may have been said in the one before.
        is_whole = begin >= at.offset and (known or not base or begin > 0)
        return Past([one._replace(offset=one.offset + base) for one in found], at.partition, base + end, is_whole)

    def _begin(self, consumer: Consumer, at: TopicPartition, order_id: int, end: int) -> int:
        """Return where the partition stood when the order got its ID."""
        ms, _, _ = parts_of(order_id)
        if ms > time.time() * 1000 + SKEW_MS:
            # Not from our generator: such a number says nothing about its time.
            return 0
        (found,) = consumer.offsets_for_times([TopicPartition(at.topic, at.partition, max(0, ms - SKEW_MS))], timeout=_TIMEOUT_S)
        return int(found.offset) if 0 <= found.offset <= end else end

    def _scan(self, consumer: Consumer, at: TopicPartition, end: int, key: bytes) -> list[Said]:
        found: list[Said] = []
        deadline = time.monotonic() + _TIMEOUT_S
        consumer.assign([at])
        try:
            while time.monotonic() < deadline:
                messages = consumer.consume(_BATCH, 0.5)
                found += _of(messages, key, end)
                if any(_is_behind(message, end) for message in messages):
                    return found
        finally:
            consumer.unassign()
        raise BrokerUnavailableError(f"{at.topic}[{at.partition}] could not be read in {_TIMEOUT_S:.0f} s")

    def _consumer(self) -> Consumer:
        consumer: Consumer | None = getattr(self._local, "consumer", None)
        if consumer is None:
            consumer = self._local.consumer = Consumer(_options(self._kafka))
            self._consumers.append(consumer)
        return consumer


def _options(kafka: str) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(kafka),
        "group.id": "holdfast.gateway",
        "enable.auto.commit": False,
        "auto.offset.reset": "earliest",
        "enable.partition.eof": True,
        "isolation.level": "read_committed",
        "log_level": 2,
    }


def _of(messages: Iterable[Message], key: bytes, end: int) -> list[Said]:
    found = []
    for message in messages:
        if message.error() is None and message.key() == key and (message.offset() or 0) < end:
            try:
                found.append(said(message))
            except UndecodableError:
                continue
    return found


def _is_behind(message: Message, end: int) -> bool:
    """Whether nothing before `end` is left to read. The last offsets may be markers of transactions, which nobody sees."""
    error = message.error()
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return error is not None or (message.offset() or 0) >= end - 1
