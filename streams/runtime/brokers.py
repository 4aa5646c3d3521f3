"""What a process asks the brokers about topics, over one client for all its tasks: opening two dozen of them is no reason for two dozen."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from generations import Watch
from schemas import topics
from schemas.topics import Topic
from streams.config import StreamSettings
from streams.runtime.clients import InputTopic, MisconfiguredError, MovedError, check_room, connection

FRESH_SECONDS: Final = 1.0
"""A description serves every task that opens within this time."""
ASK_SECONDS: Final = 5.0
"""Short: whoever asks asks again."""
Place = tuple[str, int]
"""A topic's own name (without prefix) and a partition."""


class Brokers:
    """The cluster as this process knows it."""

    def __init__(self, settings: StreamSettings) -> None:
        self._settings = settings
        self._wire = {t.named(settings.topic_prefix): t for t in topics.ALL}
        self._lock = threading.Lock()
        self._client: AdminClient | None = None
        self._described: dict[str, InputTopic] = {}
        self._described_at = float("-inf")
        self._generations = Watch(settings.kafka, settings.root_prefix)

    def check_generation(self) -> None:
        """Raise MovedError where no task may write to these topics any more. True of the moment after the call as well, for whoever was fenced since."""
        if self._generations.look().is_closed(self._settings.generation):
            raise MovedError(f"generation {self._settings.generation} of the topics is closed: the number of partitions changes")

    def topics(self) -> Mapping[str, InputTopic]:
        """Return what the brokers say of every topic of ours; raises MisconfiguredError for one that is missing or has a wrong partition count."""
        with self._lock:
            if time.monotonic() - self._described_at > FRESH_SECONDS:
                self._described = self._describe()
                self._described_at = time.monotonic()
            return self._described

    @contextmanager
    def _asking(self) -> Iterator[AdminClient]:
        """Yield the client. One that got no answer is given up: it may have been told that there is no controller, and asks again only after minutes."""
        if self._client is None:
            check_room()
        client = self._client = self._client or AdminClient(connection(self._settings))
        try:
            yield client
        except KafkaException as error:
            if error.args[0].code() == KafkaError._TIMED_OUT:
                self._client = None
            raise

    def _describe(self) -> dict[str, InputTopic]:
        with self._asking() as client:
            futures = client.describe_topics(TopicCollection(list(self._wire)), request_timeout=ASK_SECONDS)
            found = {self._wire[name].name: _described(name, future) for name, future in futures.items()}
        for topic in topics.ALL:
            check_count(topic, self._settings, found[topic.name])
        return found

    def stable_ends(self, places: Iterable[Place]) -> dict[Place, int]:
        """Return the next offset that a committed reader can reach at each place: an open transaction holds it up."""
        prefix = self._settings.topic_prefix
        asked = {TopicPartition(prefix + topic, partition): OffsetSpec.latest() for topic, partition in places}  # type: ignore[no-untyped-call]
        if not asked:
            return {}
        with self._asking() as client:
            futures = client.list_offsets(asked, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=ASK_SECONDS)
            return {(tp.topic.removeprefix(prefix), tp.partition): int(_answer(future).offset) for tp, future in futures.items()}


def check_count(topic: Topic, settings: StreamSettings, found: InputTopic) -> None:
    """Raise MisconfiguredError for a topic whose partitions are not as many as the worker is set to."""
    wanted = topic.partitions or settings.partitions
    if found.partitions != wanted:
        raise MisconfiguredError(
            f"topic {topic.named(settings.topic_prefix)} has {found.partitions} partitions, this worker is set to {wanted} (HOLDFAST_PARTITIONS); "
            "a product's partition would change and its stock be split. If partitions were added, make the topic again with its old count from a copy, "
            "or move to a new prefix; if this shop began with that count, set HOLDFAST_PARTITIONS. (`holdfast repartition` changes the number.)"
        )


def _answer(future: Any) -> Any:
    """Return what was asked for; raises KafkaException, also where no answer comes at all."""
    try:
        return future.result(timeout=2 * ASK_SECONDS)
    except TimeoutError as error:
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT)) from error


def _described(name: str, future: Any) -> InputTopic:
    try:
        found = _answer(future)
    except KafkaException as error:
        if error.args[0].code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise MisconfiguredError(
                f"topic {name} does not exist. In a new shop create the topics with `holdfast topics create`; in one that has begun somebody deleted "
                "it: restore it from a copy before anything is started"
            ) from error
        raise
    return InputTopic(str(found.topic_id), len(found.partitions))
