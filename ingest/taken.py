"""Waits until the stock agent has taken what was sent: its group's committed offsets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from ingest.errors import BrokerUnavailableError, LoadError
from schemas.secure import kafka_settings
from schemas.topics import PIPELINE_GROUP, STOCK_COMMANDS

PATIENCE_S: Final = 60.0
"""How long nothing may move before we say that no worker is running."""
_EVERY_S: Final = 0.05


def wait_until_taken(kafka: str, prefix: str, ends: Mapping[int, int], listen: Callable[[int, int], None], patience_s: float = PATIENCE_S) -> None:
    """Return once group `{prefix}holdfast` has committed offsets of stock.commands at or past `ends` (partition -> offset).

    `listen(taken, all)` hears of partitions. Raises LoadError if nothing moves for `patience_s`, or BrokerUnavailableError.
    """
    group = prefix + PIPELINE_GROUP
    consumer = Consumer({**kafka_settings(kafka), "group.id": group, "enable.auto.commit": False, "log_level": 2})
    try:
        seen, moved_at = _committed(consumer, prefix, ends), time.monotonic()
        while left := [p for p, end in ends.items() if seen[p] < end]:
            listen(len(ends) - len(left), len(ends))
            if time.monotonic() - moved_at > patience_s:
                raise LoadError(_nobody(group, STOCK_COMMANDS.named(prefix), left, patience_s))
            time.sleep(_EVERY_S)
            before, seen = seen, _committed(consumer, prefix, ends)
            moved_at = time.monotonic() if seen != before else moved_at
        listen(len(ends), len(ends))
    finally:
        consumer.close()


def _committed(consumer: Consumer, prefix: str, ends: Mapping[int, int]) -> dict[int, int]:
    asked = [TopicPartition(STOCK_COMMANDS.named(prefix), partition) for partition in ends]
    try:
        return {answer.partition: answer.offset for answer in consumer.committed(asked, timeout=10)}
    except KafkaException as error:
        raise BrokerUnavailableError(f"the brokers do not say how far the stock agent is: {error.args[0].str()}. Run the same command again") from error


def _nobody(group: str, topic: str, left: list[int], patience_s: float) -> str:
    where = ", ".join(map(str, sorted(left)))
    return (
        f"no worker is running: for {patience_s:g} s consumer group {group} has taken nothing of {topic} (partitions {where}). "
        "Start one (`holdfast up` or `holdfast worker`) and run the same command again: it goes on from here"
    )
