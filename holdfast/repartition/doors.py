"""Closes topics to writers at the brokers, and opens them again; closes the tasks of a generation.

A topic is closed by a `max.message.bytes` that no record of ours fits into, but the 78 bytes of a transaction's end marker do:
the brokers then refuse whoever has not heard that the generation is closed, and he can be told from nobody else's fault.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient, AlterConfigOpType, ConfigEntry, ConfigResource, ResourceType

from holdfast.repartition.errors import RepartitionError
from holdfast.repartition.register import explained
from schemas.secure import kafka_settings
from schemas.topics import PIPELINE_GROUP, Topic

CLOSED_BYTES: Final = 80
REQUEST_S: Final = 30.0
TRANSACTION_MS: Final = 10_000
"""The brokers of the local stack allow no longer one than a worker needs."""
EFFECT_S: Final = 30.0
AT_ONCE: Final = 8
_PROBE: Final = bytes(64)
STAGES: Final = ("stock", "orders", "payments")


class Doors:
    """Of the topics of one generation."""

    def __init__(self, kafka: str, root: str, prefix: str, partitions: int) -> None:
        self._kafka = kafka
        self._root = root
        self._prefix = prefix
        self._partitions = partitions
        self._admin = AdminClient({**kafka_settings(kafka), "log_level": 2})

    def close(self, topics: Sequence[Topic]) -> None:
        """Return when no partition of these topics takes a record any more; what it took before stays."""
        self._limit((topic, CLOSED_BYTES) for topic in topics)
        with explained():
            probe = Producer({**self._settings(), "transactional.id": f"{self._root}holdfast.repartition.probe"})
            probe.init_transactions(REQUEST_S)
            for topic in topics:
                for partition in range(self._partitions):
                    self._wait_closed(probe, topic.named(self._prefix), partition)

    def open(self, topics: Sequence[Topic]) -> None:
        """Let records in again."""
        self._limit((topic, topic.max_message_bytes) for topic in topics)

    def fence_tasks(self) -> None:
        """Return when no task that opened before this call can commit anything more."""
        ids = [f"{self._prefix}{PIPELINE_GROUP}.{stage}.{partition}" for stage in STAGES for partition in range(self._partitions)]
        with explained(), ThreadPoolExecutor(AT_ONCE) as threads:
            list(threads.map(self._fence, ids))

    def _fence(self, transactional_id: str) -> None:
        Producer({**self._settings(), "transactional.id": transactional_id}).init_transactions(REQUEST_S)

    def _settings(self) -> dict[str, str | int | bool]:
        return {**kafka_settings(self._kafka), "log_level": 2, "message.max.bytes": 8_000_000, "transaction.timeout.ms": TRANSACTION_MS}

    def _limit(self, limits: Iterable[tuple[Topic, int]]) -> None:
        changes = [_limited(topic.named(self._prefix), most) for topic, most in limits]
        with explained():
            for future in self._admin.incremental_alter_configs(changes, request_timeout=REQUEST_S).values():
                future.result()

    def _wait_closed(self, probe: Producer, topic: str, partition: int) -> None:
        """A broker hears of a new limit a moment later. The probe is never committed, so nobody ever reads it."""
        deadline = time.monotonic() + EFFECT_S
        while not _is_refused(probe, topic, partition):
            if time.monotonic() > deadline:
                raise RepartitionError(f"{topic}[{partition}] still takes records, {EFFECT_S:.0f} s after its max.message.bytes was lowered. Run again")
            time.sleep(0.05)


def _is_refused(probe: Producer, topic: str, partition: int) -> bool:
    said: list[KafkaError | None] = []
    probe.begin_transaction()
    probe.produce(topic, _PROBE, None, partition, on_delivery=lambda error, _message: said.append(error))
    probe.flush(REQUEST_S)
    probe.abort_transaction(REQUEST_S)
    return bool(said) and said[0] is not None and said[0].code() == KafkaError.MSG_SIZE_TOO_LARGE


def _limited(topic: str, most: int) -> ConfigResource:
    entry = ConfigEntry("max.message.bytes", str(most), incremental_operation=AlterConfigOpType.SET)
    return ConfigResource(ResourceType.TOPIC, topic, incremental_configs=[entry])
