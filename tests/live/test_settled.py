"""A load waits for its own orders, not for those of others."""

import threading
from collections.abc import Iterator

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from ingest.settled import HOPS, wait_until_settled
from schemas.topics import ORDER_OUTCOMES, PIPELINE_GROUP, WAREHOUSE_GROUP, Topic

pytestmark = pytest.mark.live
FAR = 100_000  # past whatever the traffic has written
TOPICS = tuple(dict.fromkeys(hop.topic for hop in HOPS))


@pytest.fixture
def prefix(kafka: str, topic_prefix: str) -> str:
    admin = AdminClient({"bootstrap.servers": kafka})
    for made in admin.create_topics([NewTopic(topic.named(topic_prefix), 1, 1) for topic in TOPICS]).values():
        made.result(30)
    producer = Producer({"bootstrap.servers": kafka})
    for topic in TOPICS:
        producer.produce(topic.named(topic_prefix), b"sent before")
    assert producer.flush(30) == 0
    return topic_prefix


@pytest.fixture
def traffic(kafka: str, prefix: str) -> Iterator[None]:
    """Outcomes of other people's orders, without a pause."""
    over, producer = threading.Event(), Producer({"bootstrap.servers": kafka, "linger.ms": 0})

    def produce() -> None:
        while not over.wait(0.05):
            producer.produce(ORDER_OUTCOMES.named(prefix), b"another's")
            producer.poll(0)

    thread = threading.Thread(target=produce)
    thread.start()
    yield
    over.set()
    thread.join()
    producer.flush(30)


class Groups:
    """Consumer groups that get as far as they are told."""

    def __init__(self, kafka: str, prefix: str) -> None:
        self._prefix = prefix
        self._members = {group: Consumer({"bootstrap.servers": kafka, "group.id": prefix + group}) for group in (PIPELINE_GROUP, WAREHOUSE_GROUP)}

    def take(self, topic: Topic, group: str, offset: int) -> None:
        self._members[group].commit(offsets=[TopicPartition(topic.named(self._prefix), 0, offset)], asynchronous=False)


def begin(kafka: str, prefix: str) -> threading.Event:
    """Wait in a thread; the event says when it is over."""
    over = threading.Event()
    threading.Thread(target=lambda: (wait_until_settled(kafka, prefix, most_s=120), over.set()), daemon=True).start()
    return over


@pytest.mark.usefixtures("traffic")
def test_beside_live_traffic_it_is_over_when_every_hop_has_passed_what_was_there(kafka: str, prefix: str) -> None:
    groups = Groups(kafka, prefix)
    for topic, group in HOPS:
        groups.take(topic, group, 0)
    over = begin(kafka, prefix)
    for topic, group in HOPS:
        assert not over.wait(0.5)
        groups.take(topic, group, FAR)
    assert over.wait(60)


@pytest.mark.usefixtures("traffic")
def test_groups_that_never_worked_are_not_waited_for(kafka: str, prefix: str) -> None:
    assert begin(kafka, prefix).wait(60)


def test_without_traffic_quiet_is_enough(kafka: str, prefix: str) -> None:
    groups = Groups(kafka, prefix)
    for topic, group in HOPS:
        groups.take(topic, group, 0)
    assert begin(kafka, prefix).wait(60)
