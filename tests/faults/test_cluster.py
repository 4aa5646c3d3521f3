"""Three brokers, each record on three of them: brokers are killed and frozen under load, nothing halts for long and the audit stays clean."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import pytest
from confluent_kafka import Consumer, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType

from holdfast import audit
from holdfast.stack import lifecycle
from holdfast.stack.addresses import given
from holdfast.stack.errors import StackError
from holdfast.stack.home import Home
from holdfast.stack.processes import myself
from holdfast.stack.state import read_state
from holdfast.topics import admin
from schemas.topics import ALL, ORDER_OUTCOMES
from tests.support.pipeline import PARTITIONS, Load, Pipeline, until

pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]
BROKERS = 3
ORDER_TIMEOUT = 8
SEED = 11
WITHIN_S = 120


@dataclass
class Shop:
    """A stack on three brokers under a steady load."""

    home: Home
    pipeline: Pipeline
    load: Load

    def brokers(self) -> dict[str, int]:
        """Process numbers by name."""
        state = read_state(self.home)
        assert state is not None
        return {each.name: each.process.pid for each in state.processes if each.kind == "kafka" and each.process and each.status == "running"}

    def outcomes(self) -> int:
        """How many offsets there are in order.outcomes, as soon as every leader says it."""
        deadline = time.monotonic() + WITHIN_S
        while (found := self._ends()) < 0:
            assert time.monotonic() < deadline, "no leader of some partition"
        return found

    def _ends(self) -> int:
        """-1 while a leader is being chosen."""
        consumer = Consumer({"bootstrap.servers": self.pipeline.kafka, "group.id": "test.outcomes"})
        try:
            return sum(consumer.get_watermark_offsets(TopicPartition(ORDER_OUTCOMES.name, p), timeout=10)[1] for p in range(PARTITIONS))
        except KafkaException:
            return -1
        finally:
            consumer.close()

    def goes_on(self, what: str) -> None:
        before = self.outcomes()
        until(lambda: self.outcomes() > before, WITHIN_S, f"orders are decided {what}")

    def is_whole(self) -> bool:
        """Whether every broker runs and has caught up with every partition."""
        client = admin(self.pipeline.kafka)  # its futures end with it
        try:
            asked = client.describe_topics(TopicCollection([topic.name for topic in ALL]))
            partitions = [partition for future in asked.values() for partition in future.result(60).partitions]
        except KafkaException:
            return False
        return len(self.brokers()) == BROKERS and all(len(each.isr) == BROKERS for each in partitions)


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if given():
        pytest.skip("servers of the environment are not ours to harm")
    folder = tmp_path_factory.mktemp("cluster")
    home = replace(Home.from_environment(), root=folder / "home")
    settings = {"HOLDFAST_PARTITIONS": str(PARTITIONS), "HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_TOPIC_PREFIX": ""}
    try:
        wish = lifecycle.Wish(workers=2, gateways=0, brokers=BROKERS, owner=myself(), environment=settings)
        at = lifecycle.up(home, wish, lambda _: None).endpoints
        load = Load(at.kafka, "", SEED, units=2_000)
        load.restock()
        with load.flowing(100):
            yield Shop(home, Pipeline(at.kafka, "", folder, at.mysql, at.redis, settings), load)
    finally:
        lifecycle.down(home)


def test_each_record_is_on_three_brokers_and_acknowledged_by_two(shop: Shop) -> None:
    names = [*(topic.name for topic in ALL), "__consumer_offsets", "__transaction_state"]
    client = admin(shop.pipeline.kafka)
    found = {name: future.result(60) for name, future in client.describe_topics(TopicCollection(names)).items()}
    assert all(len(partition.replicas) == BROKERS for topic in found.values() for partition in topic.partitions)
    configs = client.describe_configs([ConfigResource(ResourceType.TOPIC, name) for name in names])
    assert {resource.name: future.result(60)["min.insync.replicas"].value for resource, future in configs.items()} == dict.fromkeys(names, "2")


def test_a_home_keeps_the_number_of_its_brokers(shop: Shop) -> None:
    with pytest.raises(StackError, match="began with 3 brokers"):
        lifecycle.up(shop.home, lifecycle.Wish(brokers=1), lambda _: None)


def test_a_killed_broker_costs_nothing(shop: Shop) -> None:
    for name, pid in shop.brokers().items():
        os.kill(pid, signal.SIGKILL)
        shop.goes_on(f"when {name} was killed")
        until(shop.is_whole, WITHIN_S, f"{name} is back and has caught up")


def test_a_frozen_broker_costs_nothing(shop: Shop) -> None:
    """Its connections stay open and answer nothing: the others go on without it."""
    until(shop.is_whole, WITHIN_S, "all brokers are well")
    pid = shop.brokers()["kafka"]
    os.kill(pid, signal.SIGSTOP)
    try:
        time.sleep(4)  # the controllers' patience is 3 s
        shop.goes_on("while a broker is frozen")
    finally:
        os.kill(pid, signal.SIGCONT)
    until(shop.is_whole, WITHIN_S, "the frozen broker has caught up")


def test_after_all_of_it_the_audit_is_clean(shop: Shop) -> None:
    shop.load.stopping.set()
    shop.pipeline.drain(WITHIN_S)
    time.sleep(ORDER_TIMEOUT + 1)  # orders that lack a line expire
    shop.pipeline.drain(WITHIN_S)
    at = shop.pipeline
    report = audit.run(kafka=at.kafka, mysql_url=at.mysql, redis_url=at.redis)
    assert report.ok, f"seed {SEED}: {report.text()}"
    assert shop.load.sent > 200
