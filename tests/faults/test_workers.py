"""Workers are killed, stopped, woken and multiplied under load; the audit must stay clean."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import audit
from tests.faults.liveness import until
from tests.support.pipeline import Load, Pipeline, running

ORDER_TIMEOUT = 6
FENCED = "fenced, asking the group"
WOKEN_S = 6.0
"""So long a woken worker has to find out that its partitions moved; one that had nothing in hand never does."""
pytestmark = [pytest.mark.faults, pytest.mark.live]


@pytest.fixture
def pipeline(kafka: str, topic_prefix: str, fresh_database: str, fresh_redis: str, tmp_path: Path) -> Iterator[Pipeline]:
    settings = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_SANDBOX_DECLINE_RATE": "0.05"}
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, fresh_database, fresh_redis, settings)) as started:
        started.sinks()
        yield started


def assert_clean(pipeline: Pipeline, load: Load) -> None:
    """Drain, audit, and make sure that there was something to audit."""
    pipeline.drain()
    time.sleep(ORDER_TIMEOUT + 1)  # an order that lost a line expires so long after its last batch was decided, at most
    pipeline.drain()
    report = audit.run(kafka=pipeline.kafka, mysql_url=pipeline.mysql, redis_url=pipeline.redis, prefix=pipeline.prefix)
    assert report.ok, f"seed {load.seed}: {report.text()}\n{pipeline.last_words()}"
    assert load.sent > 500


def test_kill_nine_of_a_worker_in_mid_load(pipeline: Pipeline) -> None:
    load = Load(pipeline.kafka, pipeline.prefix, seed=1)
    load.restock()
    worker = pipeline.worker()
    pipeline.await_open(worker)
    with load.flowing():
        for _ in range(2):
            time.sleep(4)
            worker.kill()
            worker = pipeline.worker()
            pipeline.await_open(worker)
        time.sleep(2)
    assert_clean(pipeline, load)


def test_a_worker_stopped_until_its_partitions_moved_and_then_woken_is_fenced(pipeline: Pipeline) -> None:
    load = Load(pipeline.kafka, pipeline.prefix, seed=2)
    load.restock()
    first = pipeline.worker()
    pipeline.await_open(first)
    zombies = 0
    with load.flowing():
        for _ in range(2):
            time.sleep(3)
            first.signal(signal.SIGSTOP)
            second = pipeline.worker()
            pipeline.await_open(second)
            first.signal(signal.SIGCONT)
            until(lambda woken=first: woken.said(FENCED), WOKEN_S)
            zombies += first.said(FENCED)
            assert first.alive(), "a worker that is fenced asks the group what is its own\n" + pipeline.last_words()
            first.kill()
            first = second
    assert zombies, "no woken worker was fenced: the fault did not overlap the load"
    assert_clean(pipeline, load)


def test_a_second_worker_joins_and_leaves_every_few_seconds(pipeline: Pipeline) -> None:
    load = Load(pipeline.kafka, pipeline.prefix, seed=3)
    load.restock()
    pipeline.await_open(pipeline.worker())
    with load.flowing():
        for number in (signal.SIGKILL, signal.SIGTERM):
            second = pipeline.worker()
            pipeline.await_open(second, partitions=1)
            time.sleep(3)
            second.signal(number)
            second.popen.wait(timeout=30)
            time.sleep(2)
    assert_clean(pipeline, load)
