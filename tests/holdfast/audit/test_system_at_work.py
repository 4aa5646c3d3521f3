"""A real pipeline under load: audited while it works, without a false alarm, and when it has come to rest."""

import time
from pathlib import Path

import pytest

from holdfast import audit
from tests.support.pipeline import Load, Pipeline, running

pytestmark = pytest.mark.live


def test_a_system_at_work_gives_no_false_alarm(kafka: str, topic_prefix: str, fresh_database: str, fresh_redis: str, tmp_path: Path) -> None:
    settings = {"HOLDFAST_ORDER_TIMEOUT": "10", "HOLDFAST_SANDBOX_DECLINE_RATE": "0.05"}
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, fresh_database, fresh_redis, settings)) as pipeline:
        pipeline.sinks()
        load = Load(pipeline.kafka, pipeline.prefix, seed=11)
        load.restock()
        pipeline.await_open(pipeline.worker())
        under_way = 0
        with load.flowing(per_second=300):
            for _ in range(6):
                time.sleep(1)
                report = audit.run(pipeline.kafka, pipeline.mysql, pipeline.redis, pipeline.prefix, live=True)
                assert report.ok, f"{report.text()}\n{pipeline.last_words()}"
                under_way += report.checked["I2"]["undecided"]
        assert under_way, "nothing was under way"
        time.sleep(10)  # HOLDFAST_ORDER_TIMEOUT: the orders that lost a line expire
        pipeline.drain()
        report = audit.run(pipeline.kafka, pipeline.mysql, pipeline.redis, pipeline.prefix)
        assert report.ok, f"{report.text()}\n{pipeline.last_words()}"
        assert report.checked["I2"]["orders"] > 500
        assert report.checked["I6"]["orders_rows"] == report.checked["I6"]["order_hashes"] > 500
