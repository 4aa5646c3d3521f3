"""A worker's word to its group: taken from a member, refused from a former one, and never the end of a membership."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.structs import TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic

from streams.runtime.membership import Membership, NotTakenError, commit_as, leave, membership_of

pytestmark = pytest.mark.live


@pytest.fixture
def topic(kafka: str, topic_prefix: str) -> str:
    name = f"{topic_prefix}members"
    admin = AdminClient({"bootstrap.servers": kafka})
    admin.create_topics([NewTopic(name, 2, 1)])[name].result(30)
    return name


@asynccontextmanager
async def member(kafka: str, topic: str) -> AsyncIterator[AIOKafkaConsumer]:
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=kafka, group_id=f"{topic}.group", enable_auto_commit=False, heartbeat_interval_ms=200)
    await consumer.start()
    try:
        yield consumer
    finally:
        await consumer.stop()


async def other_than(consumer: AIOKafkaConsumer, before: Membership) -> Membership:
    """Wait until the group is joined again, in another generation."""
    for _ in range(600):
        try:
            if (found := membership_of(consumer._coordinator)).generation != before.generation:
                return found
        except NotTakenError:
            pass
        await asyncio.sleep(0.05)
    raise AssertionError("no other generation")


async def assigned(consumer: AIOKafkaConsumer, wanted: set[TopicPartition]) -> None:
    """Wait until these partitions are the consumer's."""
    for _ in range(600):
        if consumer.assignment() == wanted:
            return
        await asyncio.sleep(0.05)
    raise AssertionError(f"has {consumer.assignment()}, not {wanted}")


def test_a_member_s_offsets_are_taken(kafka: str, topic: str) -> None:
    async def run() -> None:
        async with member(kafka, topic) as consumer:
            await commit_as(membership_of(consumer._coordinator), consumer._coordinator, {TopicPartition(topic, 1): 7})
            assert await consumer.committed(TopicPartition(topic, 1)) == 7

    asyncio.run(run())


def test_what_is_refused_of_an_old_generation_leaves_the_new_one_alone(kafka: str, topic: str) -> None:
    async def run() -> None:
        async with member(kafka, topic) as consumer:
            old = membership_of(consumer._coordinator)
            async with member(kafka, topic):
                new = await other_than(consumer, old)
                with pytest.raises(NotTakenError, match="IllegalGeneration"):
                    await commit_as(old, consumer._coordinator, {TopicPartition(topic, 0): 1})
                with pytest.raises(NotTakenError, match="UnknownMember"):
                    await commit_as(Membership(new.generation, "somebody"), consumer._coordinator, {TopicPartition(topic, 0): 1})
                assert membership_of(consumer._coordinator) == new

    asyncio.run(run())


def test_nothing_is_asked_while_the_group_is_joined(kafka: str, topic: str) -> None:
    async def run() -> None:
        async with member(kafka, topic) as consumer:
            consumer._coordinator.request_rejoin()
            with pytest.raises(NotTakenError, match="rebalancing"):
                membership_of(consumer._coordinator)

    asyncio.run(run())


def test_who_leaves_is_out_for_good_and_the_others_have_everything(kafka: str, topic: str) -> None:
    async def run() -> None:
        async with member(kafka, topic) as staying, member(kafka, topic) as leaving:
            leaving._coordinator.request_rejoin()
            await leave(leaving._coordinator)
            await assigned(staying, {TopicPartition(topic, 0), TopicPartition(topic, 1)})
            with pytest.raises(NotTakenError):
                membership_of(leaving._coordinator)

    asyncio.run(run())
