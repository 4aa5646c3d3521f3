"""Kafka killed, away for a while, and frozen under load: the workers go on by themselves, and the audit stays clean."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from holdfast import audit
from tests.support.pipeline import Load, Pipeline, running
from tests.support.servers import OwnServer, own_kafka

ORDER_TIMEOUT = 8
AWAY_S = 15.0
FROZEN_S = 8.0
pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]


@pytest.fixture(scope="module")
def kafka_of_our_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    with own_kafka(tmp_path_factory.mktemp("kafka")) as server:
        yield server


@pytest.fixture
def pipeline(kafka_of_our_own: OwnServer, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    settings = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_SANDBOX_DECLINE_RATE": "0.05"}
    with running(Pipeline(kafka_of_our_own.url, f"{topic_prefix}.", tmp_path, settings=settings)) as started:
        started.await_open(started.worker())
        yield started


def kill(kafka: OwnServer) -> None:
    kafka.kill()
    kafka.start()


def take_away(kafka: OwnServer) -> None:
    """Longer than a session, a transaction and a record's delivery may take."""
    kafka.kill()
    time.sleep(AWAY_S)
    kafka.start()


def freeze(kafka: OwnServer) -> None:
    """Every connection stays open and nothing answers."""
    kafka.signal(signal.SIGSTOP)
    time.sleep(FROZEN_S)
    kafka.signal(signal.SIGCONT)


@pytest.mark.parametrize("harm", [kill, take_away, freeze])
def test_the_pipeline_goes_on_when_kafka_is_back(harm: Callable[[OwnServer], None], pipeline: Pipeline, kafka_of_our_own: OwnServer) -> None:
    load = Load(pipeline.kafka, pipeline.prefix, seed=4)
    load.restock()
    with load.flowing(100):
        for _ in range(2):
            time.sleep(4)
            harm(kafka_of_our_own)
        time.sleep(4)
    pipeline.drain(240)
    time.sleep(ORDER_TIMEOUT + 1)
    pipeline.drain(240)
    report = audit.run(kafka=pipeline.kafka, prefix=pipeline.prefix)
    assert report.ok, f"{report.text()}\n{pipeline.last_words()}"
    assert load.sent > 500
    assert not any(child.said("OUT_OF_ORDER_SEQUENCE") for child in pipeline.children), "a producer whose records were lost is not used again"
    assert all(child.alive() for child in pipeline.children if child.kind == "worker"), f"no worker needs to be started again\n{pipeline.last_words()}"
