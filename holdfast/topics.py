"""Creates the topics of schemas/topics.py and checks that those already there are what the pipeline needs."""

import os
import re
import time
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ConfigResource, NewTopic, OffsetSpec, ResourceType

from generations import History, read
from holdfast.stack.errors import StackError
from schemas import topics
from schemas.secure import kafka_settings
from schemas.topics import Topic

TIMEOUT_S = 30.0
BROKER_DEFAULT = -1
"""Replication is the cluster's to say (`default.replication.factor`)."""

_MIB = 1024 * 1024
_HOUR_MS = 3_600_000
# The cleaner never touches the segment being written. Kafka's own 1 GiB and 7 days would leave a changelog of a busy
# shop uncompacted for days and its recovery reading all of it; with these it is never far behind.
_COMPACTED = {
    "segment.bytes": str(32 * _MIB),
    "segment.ms": str(_HOUR_MS),
    "min.cleanable.dirty.ratio": "0.3",
    "max.compaction.lag.ms": str(24 * _HOUR_MS),
    "delete.retention.ms": str(24 * _HOUR_MS),
}
_CHECKED = ("cleanup.policy", "max.message.bytes")
_PREFIX = re.compile(r"[A-Za-z0-9._-]{0,64}")


class TopicsError(StackError):
    """Topics that cannot be made, or that are there but cannot carry the pipeline; the text says which and why."""


@dataclass(frozen=True)
class TopicStatus:
    """A topic as it is on the brokers. `partitions` is 0 for one that does not exist; `problems` is empty for a sound one."""

    topic: Topic
    name: str
    partitions: int
    config: Mapping[str, str]
    problems: tuple[str, ...]


def prefix_of(environ: Mapping[str, str] = os.environ) -> str:
    """HOLDFAST_TOPIC_PREFIX, empty by default; raises TopicsError for one that no topic name may hold."""
    prefix = environ.get("HOLDFAST_TOPIC_PREFIX", "")
    if not _PREFIX.fullmatch(prefix):
        raise TopicsError(f"HOLDFAST_TOPIC_PREFIX is {prefix!r}: use up to 64 letters, digits, dots, dashes and underscores")
    return prefix


def partitions_of(environ: Mapping[str, str] = os.environ) -> int:
    """HOLDFAST_PARTITIONS, 8 by default; raises TopicsError for anything but a count from 1 to 1024."""
    text = environ.get("HOLDFAST_PARTITIONS") or str(topics.DEFAULT_PARTITIONS)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1024:
        raise TopicsError(f"HOLDFAST_PARTITIONS is {text!r}: use a whole number from 1 to 1024")
    return int(text)


def in_use(bootstrap: str, environ: Mapping[str, str] = os.environ) -> History:
    """Return which generation of the topics is in use, and those before it; raises TopicsError when Kafka does not answer."""
    with _explained(bootstrap):
        return read(bootstrap, prefix_of(environ))


def counted(history: History, environ: Mapping[str, str] = os.environ) -> int:
    """Return the partition count of the generation in use: of the first it is HOLDFAST_PARTITIONS."""
    return partitions_of(environ) if history.partitions is None else history.partitions


def admin(bootstrap: str) -> AdminClient:
    """Return an admin client that is silent about connections; its calls raise KafkaException."""
    return AdminClient({**kafka_settings(bootstrap), "log_level": 2})


def create(bootstrap: str, prefix: str = "", partitions: int = topics.DEFAULT_PARTITIONS) -> list[str]:
    """Create every topic that is missing and check the others; return the names of those made now.

    May be called any number of times, also by several programs at once. Raises TopicsError when a topic cannot be
    made, or exists with another partition count, cleanup policy or record size than the pipeline needs.
    """
    client = admin(bootstrap)
    with _explained(bootstrap):
        statuses = _statuses(client, prefix, partitions)
        _complain(s for s in statuses if s.partitions)
        made = _make(client, [s for s in statuses if not s.partitions], partitions)
        _complain(_settled(client, prefix, partitions))
    return made


def inspect(bootstrap: str, prefix: str = "", partitions: int = topics.DEFAULT_PARTITIONS, timeout_s: float = TIMEOUT_S) -> list[TopicStatus]:
    """Return every topic as it stands, in the order of schemas/topics.py; raises TopicsError when Kafka does not answer."""
    with _explained(bootstrap):
        return _statuses(admin(bootstrap), prefix, partitions, timeout_s)


@contextmanager
def _explained(bootstrap: str) -> Iterator[None]:
    try:
        yield
    except KafkaException as error:
        raise TopicsError(f"Kafka at {bootstrap} did not do what was asked: {error.args[0].str()}") from error


def _statuses(client: AdminClient, prefix: str, partitions: int, timeout_s: float = TIMEOUT_S) -> list[TopicStatus]:
    present = client.list_topics(timeout=timeout_s).topics
    counts = {t: len(present[t.named(prefix)].partitions) if t.named(prefix) in present else 0 for t in topics.ALL}
    configs = _configs(client, [t.named(prefix) for t, count in counts.items() if count])
    return [_status(t, t.named(prefix), count, configs.get(t.named(prefix), {}), partitions) for t, count in counts.items()]


def settings(topic: Topic) -> dict[str, str]:
    """Return the broker-side settings a topic is created with."""
    return topic.config() | (_COMPACTED if topic.compacted else {})


def _status(topic: Topic, name: str, count: int, config: Mapping[str, str], partitions: int) -> TopicStatus:
    problems = tuple(_problems(topic, count, config, partitions)) if count else ("does not exist: run `holdfast topics create`",)
    return TopicStatus(topic, name, count, config, problems)


def _problems(topic: Topic, count: int, config: Mapping[str, str], partitions: int) -> Iterable[str]:
    wanted, expected = settings(topic), topic.partitions or partitions
    if count != expected:
        yield (
            f"has {count} partitions, {expected} are wanted: set HOLDFAST_PARTITIONS={count} if that is the count this shop began with "
            "(`holdfast repartition` changes it, nothing else: products and orders would move)"
        )
    if config.get("cleanup.policy") != wanted["cleanup.policy"]:
        yield f"has cleanup.policy={config.get('cleanup.policy')}, {wanted['cleanup.policy']} is wanted: alter it with kafka-configs"
    if int(config.get("max.message.bytes", "0")) < int(wanted["max.message.bytes"]):
        yield f"takes records up to {config.get('max.message.bytes')} bytes, {wanted['max.message.bytes']} are wanted: alter max.message.bytes"


def _configs(client: AdminClient, names: list[str]) -> dict[str, dict[str, str]]:
    if not names:
        return {}
    asked = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names], request_timeout=TIMEOUT_S)
    return {resource.name: {k: entry.value for k, entry in future.result().items() if k in _CHECKED} for resource, future in asked.items()}


def _make(client: AdminClient, missing: list[TopicStatus], partitions: int) -> list[str]:
    if not missing:
        return []
    new = [NewTopic(s.name, s.topic.partitions or partitions, BROKER_DEFAULT, config=settings(s.topic)) for s in missing]
    answers = client.create_topics(new, operation_timeout=TIMEOUT_S, request_timeout=TIMEOUT_S)
    return [name for name, future in answers.items() if _is_made(name, future)]


def _is_made(name: str, future: "Future[None]") -> bool:
    try:
        future.result()
    except KafkaException as error:
        if error.args[0].code() == KafkaError.TOPIC_ALREADY_EXISTS:
            return False
        raise TopicsError(f"topic {name} could not be created: {error.args[0].str()}") from error
    return True


def _settled(client: AdminClient, prefix: str, partitions: int) -> list[TopicStatus]:
    """A topic just created takes a moment to be in every broker's metadata; clients must not find it missing after us."""
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        statuses = _statuses(client, prefix, partitions)
        if (all(s.partitions for s in statuses) and _is_served(client, statuses)) or time.monotonic() > deadline:
            return statuses
        time.sleep(0.05)


def _is_served(client: AdminClient, statuses: list[TopicStatus]) -> bool:
    """Whether every partition has a leader that answers: in KRaft the metadata are there a moment before it does."""
    latest = OffsetSpec.latest()  # type: ignore[no-untyped-call]
    places = {TopicPartition(s.name, number): latest for s in statuses for number in range(s.partitions)}
    try:
        return all(future.result() is not None for future in client.list_offsets(places, request_timeout=TIMEOUT_S).values())
    except KafkaException:
        return False


def _complain(statuses: Iterable[TopicStatus]) -> None:
    faults = [f"topic {s.name} {problem}" for s in statuses for problem in s.problems]
    if faults:
        raise TopicsError("\n".join(faults))
