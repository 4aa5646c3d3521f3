"""Reads topics whole: everything that was there when the reading began, also what was then in an open transaction."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka import admin as admin_api

from generations.readers import reader_settings
from holdfast.log_tail import LogError, explained
from holdfast.topics import admin

Partition = tuple[str, int]
"""A topic by its name on the brokers, and one of its partitions."""
Progress = Callable[[int, int], None]
"""Called with offsets read and offsets there are."""

MESSAGES: Final = 5_000
STALL_S: Final = 60.0
"""Longer than a transaction of ours may stay open: after that the brokers abort it."""
TIMEOUT_S: Final = 20.0
_API: Final[Any] = admin_api  # OffsetSpec is public, but not typed


def partitions_of(bootstrap: str, topics: Iterable[str], needed: Iterable[str] | None = None) -> dict[str, int]:
    """Return the partition count of topics; raises LogError for one of `needed` (by default all) that is not there, others are left out."""
    with explained(bootstrap):
        known = admin(bootstrap).list_topics(timeout=TIMEOUT_S).topics
    counts = {topic: len(known[topic].partitions) if topic in known else 0 for topic in topics}
    for topic in counts if needed is None else needed:
        if not counts[topic]:
            raise LogError(f"topic {topic} does not exist at {bootstrap}: is HOLDFAST_TOPIC_PREFIX right? `holdfast topics create` makes them")
    return {topic: count for topic, count in counts.items() if count}


def read_whole(bootstrap: str, partitions: Collection[Partition], progress: Progress = lambda _done, _total: None) -> Iterator[Message]:
    """Yield every committed record of these partitions up to their ends as they are now; raises LogError.

    The ends are high watermarks. A reader that stops at the last stable offset does not see what was committed behind
    somebody else's open transaction.
    """
    with explained(bootstrap):
        ends = watermarks(bootstrap, partitions)
        consumer = Consumer(reader_settings(bootstrap, "holdfast.whole"))
        try:
            yield from _read(consumer, {place: end for place, end in ends.items() if end > 0}, progress)
        finally:
            consumer.close()


def watermarks(bootstrap: str, partitions: Collection[Partition]) -> dict[Partition, int]:
    """Return the high watermarks: behind everything that was written, also in transactions that are open. Raises KafkaException."""
    return _offsets(bootstrap, partitions, _API.OffsetSpec.latest())


def beginnings(bootstrap: str, partitions: Collection[Partition]) -> dict[Partition, int]:
    """Return where partitions begin: at 0 unless records were deleted. Raises KafkaException."""
    return _offsets(bootstrap, partitions, _API.OffsetSpec.earliest())


def _offsets(bootstrap: str, partitions: Collection[Partition], which: Any) -> dict[Partition, int]:
    if not partitions:
        return {}
    asked = {TopicPartition(*place): which for place in partitions}
    client = admin(bootstrap)  # its futures end with it
    answers = client.list_offsets(asked, isolation_level=IsolationLevel.READ_UNCOMMITTED, request_timeout=TIMEOUT_S)
    return {(str(at.topic), int(at.partition)): answer.result().offset for at, answer in answers.items()}


def _read(consumer: Consumer, left: dict[Partition, int], progress: Progress) -> Iterator[Message]:
    ends, at = dict(left), dict.fromkeys(left, 0)
    total, moved = sum(ends.values()), time.monotonic()
    consumer.assign([TopicPartition(*place, 0) for place in left])
    while left:
        before = sum(at.values())
        for message in consumer.consume(MESSAGES, 0.5):
            if _advance(message, left, at):
                yield message
        done = sum(min(offset, ends[place]) for place, offset in at.items())
        progress(done, total)
        if sum(at.values()) > before:
            moved = time.monotonic()
        elif time.monotonic() - moved > STALL_S:
            raise LogError(f"nothing could be read for {STALL_S:.0f} s (a transaction that stays open?): {', '.join(f'{t} partition {p}' for t, p in left)}")


def _advance(message: Message, left: dict[Partition, int], at: dict[Partition, int]) -> bool:
    """Note how far its partition is read; returns whether the message is a record from before the end."""
    place, offset, error = (str(message.topic()), int(message.partition() or 0)), int(message.offset() or 0), message.error()
    if place not in left:
        return False
    if error is not None and error.code() != KafkaError._PARTITION_EOF:
        if error.retriable():
            return False
        raise KafkaException(error)
    is_record = error is None and offset < left[place]
    at[place] = max(at[place], offset + (error is None))
    if at[place] >= left[place]:
        del left[place]
    return is_record
