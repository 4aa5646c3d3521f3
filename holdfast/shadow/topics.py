"""The shadow's topics: made, owned, written in transactions, removed. Nothing is ever written to a topic without the prefix.

The topic `PREFIX` + `shadow` says whose they are and how far they are written, in the transaction that wrote it: what decides is
repeatable, so a run that was killed decides again in memory and writes on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

from confluent_kafka import KafkaException, Producer
from confluent_kafka.admin import AdminClient, NewTopic

from holdfast.log_tail import LogError, explained
from holdfast.log_whole import partitions_of, read_whole
from holdfast.topics import admin, create
from schemas.secure import kafka_settings
from schemas.topics import ALL
from streams.runtime.records import Write

MARK: Final = "shadow"
APPLICATION: Final = "holdfast.shadow"
TIMEOUT_S: Final = 30.0
WRITES_PER_TRANSACTION: Final = 5_000


class ShadowError(LogError):
    """A shadow that cannot be; the text says why and what to do."""


def check_prefix(kafka: str, prefix: str, live: Sequence[str]) -> bool:
    """Return whether the prefix's topics are a shadow's that is already there; raises ShadowError for a prefix that is live, or somebody's."""
    if not prefix or prefix in live:
        raise ShadowError(f"the shadow's prefix is {prefix!r}, and so is that of the live topics: choose another with --prefix")
    with explained(kafka):
        known = admin(kafka).list_topics(timeout=TIMEOUT_S).topics
    if prefix + MARK in known:
        return True
    there = [topic.named(prefix) for topic in ALL if topic.named(prefix) in known]
    if there:
        raise ShadowError(f"topics with the prefix {prefix!r} are there ({there[0]}, ...) and are no shadow's: choose another with --prefix")
    return False


def make(kafka: str, prefix: str, partitions: int) -> None:
    """Make the topics that are not there; the mark comes first, so that whatever is there can be told from live topics."""
    with explained(kafka):
        client = admin(kafka)  # its futures end with it
        future = client.create_topics([NewTopic(prefix + MARK, 1)])[prefix + MARK]
        try:
            future.result(TIMEOUT_S)
        except KafkaException as error:
            if error.args[0].name() != "TOPIC_ALREADY_EXISTS":
                raise
    create(kafka, prefix, partitions)


def remove(kafka: str, prefix: str) -> None:
    """Remove the topics; the mark goes last."""
    with explained(kafka):
        client = admin(kafka)
        known = client.list_topics(timeout=TIMEOUT_S).topics
        for names in ([topic.named(prefix) for topic in ALL], [prefix + MARK]):
            for future in client.delete_topics([name for name in names if name in known]).values() if set(names) & set(known) else ():
                future.result(TIMEOUT_S)
            _await_gone(client, names)


def _await_gone(client: AdminClient, names: Sequence[str]) -> None:
    """A topic is listed for a moment after it was deleted; a run under the same prefix would take it for one that is there."""
    deadline = time.monotonic() + TIMEOUT_S
    while set(names) & set(client.list_topics(timeout=TIMEOUT_S).topics) and time.monotonic() < deadline:
        time.sleep(0.1)


def last_mark(kafka: str, prefix: str) -> Mapping[str, Any] | None:
    """Return what the mark says; None where nothing was written yet."""
    partitions_of(kafka, [prefix + MARK])
    said = [json.loads(message.value() or b"{}") for message in read_whole(kafka, [(prefix + MARK, 0)])]
    return said[-1] if said else None


class ShadowWriter:
    """Writes a run's writes, from the one on that is not there yet. `run` is what a run is told by: it is in each mark."""

    def __init__(self, kafka: str, prefix: str, run: Mapping[str, Any], written: int) -> None:
        assert prefix, "a shadow has a prefix"
        self._prefix = prefix
        self._run = run
        self._skip = written
        self._seen = 0
        self._waiting: list[Write] = []
        self._producer = Producer(
            {
                **kafka_settings(kafka),
                "transactional.id": f"{prefix}{APPLICATION}",
                "transaction.timeout.ms": 10_000,
                "compression.type": "lz4",
                "message.max.bytes": max(topic.max_message_bytes for topic in ALL),
                "queue.buffering.max.kbytes": 262_144,
                "log_level": 2,
            }
        )
        self._producer.init_transactions(TIMEOUT_S)

    def write(self, writes: Sequence[Write]) -> None:
        """Take writes in the order in which they are decided."""
        for write in writes:
            self._seen += 1
            if self._seen > self._skip:
                self._waiting.append(write)
        if len(self._waiting) >= WRITES_PER_TRANSACTION:
            self.commit()

    def commit(self, *, done: bool = False) -> None:
        """Have the brokers take what waits, with the mark."""
        self._producer.begin_transaction()
        for write in self._waiting:
            self._produce(write.topic.named(self._prefix), write.value, write.key, write.partition)
        mark = json.dumps({**self._run, "written": max(self._seen, self._skip), "done": done})
        self._produce(self._prefix + MARK, mark.encode(), None, 0)
        self._producer.commit_transaction(TIMEOUT_S)
        self._waiting = []

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, partition: int) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, partition)
                break
            except BufferError:
                self._producer.poll(0.1)
        self._producer.poll(0)
