"""Waits until the pipeline is done with what was sent before: beside live traffic too, where no topic ever comes to rest."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final, NamedTuple

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ingest.errors import BrokerUnavailableError
from schemas.secure import kafka_settings
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDERS, PAYMENT_REQUESTS, PAYMENT_RESULTS, PIPELINE_GROUP, STOCK_DECISIONS, WAREHOUSE_GROUP, Topic

QUIET_S: Final = 2.0
"""How long no outcome must come for the pipeline to be at rest."""
SETTLE_S: Final = 120.0
"""Longest wait: a warehouse may ship tomorrow, and what comes early has its defined answer too."""
_EVERY_S: Final = 0.05
_REQUEST_S: Final = 10.0


class Hop(NamedTuple):
    """A topic on an order's way, and the consumer group that takes it from there."""

    topic: Topic
    group: str


HOPS: Final = (
    *(Hop(topic, PIPELINE_GROUP) for topic in (ORDERS, STOCK_DECISIONS, PAYMENT_REQUESTS, PAYMENT_RESULTS)),
    *(Hop(ORDER_OUTCOMES, WAREHOUSE_GROUP), Hop(ORDER_COMMANDS, PIPELINE_GROUP)),
)
"""Whatever was at a hop when the hop before was through has been carried on when this one is."""


def wait_until_settled(kafka: str, prefix: str, quiet_s: float = QUIET_S, most_s: float = SETTLE_S) -> None:
    """Return once all that is on topic orders now is decided and, where a warehouse works, shipped: each hop after the other
    has been passed, or no outcome has come for `quiet_s`. Returns after `most_s` in any case; raises BrokerUnavailableError."""
    with _reader(kafka, prefix + PIPELINE_GROUP) as pipeline, _reader(kafka, prefix + WAREHOUSE_GROUP) as warehouse:
        readers = {PIPELINE_GROUP: pipeline, WAREHOUSE_GROUP: warehouse}
        passed = _passed(readers, prefix)
        began = moved_at = time.monotonic()
        seen = _ends(pipeline, ORDER_OUTCOMES.named(prefix))
        while time.monotonic() - moved_at < quiet_s and time.monotonic() - began < most_s and not next(passed, True):
            time.sleep(_EVERY_S)
            before, seen = seen, _ends(pipeline, ORDER_OUTCOMES.named(prefix))
            moved_at = time.monotonic() if seen != before else moved_at


def _passed(readers: Mapping[str, Consumer], prefix: str) -> Iterator[bool]:
    """Yield False until every hop is passed. A group that never worked here is not waited for."""
    for topic, group in HOPS:
        reader, name = readers[group], topic.named(prefix)
        ends = _ends(reader, name)
        while any(0 <= committed < end for committed, end in zip(_committed(reader, name, len(ends)), ends, strict=True)):
            yield False


@contextmanager
def _reader(kafka: str, group: str) -> Iterator[Consumer]:
    consumer = Consumer({**kafka_settings(kafka), "group.id": group, "enable.auto.commit": False, "log_level": 2})
    try:
        yield consumer
    except KafkaException as error:
        raise BrokerUnavailableError(f"the brokers do not say how far the pipeline is: {error.args[0].str()}. Run the same command again") from error
    finally:
        consumer.close()


def _ends(consumer: Consumer, topic: str) -> list[int]:
    partitions = consumer.list_topics(topic, timeout=_REQUEST_S).topics[topic].partitions
    return [consumer.get_watermark_offsets(TopicPartition(topic, p), timeout=_REQUEST_S)[1] for p in sorted(partitions)]


def _committed(consumer: Consumer, topic: str, partitions: int) -> list[int]:
    return [answer.offset for answer in consumer.committed([TopicPartition(topic, p) for p in range(partitions)], timeout=_REQUEST_S)]
