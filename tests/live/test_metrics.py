"""Workers and sinks say what they do, and a broken promise is heard of at once."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families

from schemas import codec
from schemas.topics import STOCK_LEVELS
from tests.support.outputs import level
from tests.support.pipeline import PARTITIONS, Child, Load, Pipeline, running, until
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
Figures = dict[str, dict[tuple[tuple[str, str], ...], float]]


@pytest.fixture(scope="module")
def pipeline(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    folder = tmp_path_factory.mktemp("metrics")
    asked = {"HOLDFAST_METRICS_PORT": "0", "HOLDFAST_RUN_DIR": str(folder)}
    with running(Pipeline(kafka, f"{unique_name('m')}.", folder, module_database, module_redis, asked)) as started:
        yield started


def figures_of(pipeline: Pipeline, child: Child) -> Figures:
    """Return what a process says at the address that its run file names: sample name -> labels -> value."""
    file = pipeline.folder / f"{child.kind.partition('-')[0]}-{child.popen.pid}.json"
    until(file.exists, 60, "the run file", child)
    url = json.loads(file.read_text())["metrics"]
    assert url.startswith("http://127.0.0.1:")
    with urllib.request.urlopen(url, timeout=10) as answer:
        text = answer.read().decode()
    found: Figures = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            found.setdefault(sample.name, {})[tuple(sorted(sample.labels.items()))] = sample.value
    return found


def test_every_process_says_what_it_does(pipeline: Pipeline) -> None:
    worker, (mysql, redis) = pipeline.worker(), pipeline.sinks()
    pipeline.await_open(worker)
    load = Load(pipeline.kafka, pipeline.prefix, seed=3)
    load.restock()
    for _ in range(50):
        load.order()
    load.producer.flush()
    pipeline.drain()
    until(lambda: sum(figures_of(pipeline, worker)["holdfast_rows"].values()) >= 50, 30, "the rows are counted", worker)
    until(lambda: len(figures_of(pipeline, worker).get("holdfast_lag_seconds", ())) == PARTITIONS * 6, 30, "every input's lag is known", worker)
    found = figures_of(pipeline, worker)
    assert {dict(labels)["reader"] for labels in found["holdfast_lag_records"]} == {"stock", "orders", "payments"}
    assert len(found["holdfast_lag_seconds"]) == PARTITIONS * 6
    for figure in ("holdfast_transaction_seconds_count", "holdfast_batch_decide_seconds_count", "holdfast_stage_records_total"):
        assert all(found[figure].values()), figure
    assert sum(value for labels, value in found["holdfast_transactions_total"].items() if dict(labels)["ending"] == "committed") > 0
    decided = {dict(labels)["status"]: value for labels, value in found["holdfast_orders_decided_total"].items()}
    assert decided["CONFIRMED"] > 0
    assert sum(found["holdfast_lines_answered_total"].values()) >= 50
    for sink in (mysql, redis):
        until(lambda sink=sink: sum(figures_of(pipeline, sink)["holdfast_sink_rows_total"].values()) >= 90, 30, "rows are counted", sink)
        said = figures_of(pipeline, sink)
        assert sum(said["holdfast_lag_records"].values()) <= PARTITIONS * 2  # transaction markers at most
        assert sum(said["holdfast_sink_batch_seconds_count"].values()) > 0
        assert set(said["holdfast_invariant_violations_total"].values()) == {0.0}


def test_a_broken_promise_is_an_alarm_at_once(pipeline: Pipeline) -> None:
    sinks = [child for child in pipeline.children if child.kind.startswith("sink")] or pipeline.sinks()
    producer = Producer({"bootstrap.servers": pipeline.kafka})
    value = codec.encode("StockLevel", {**level("p1", 10**6), "available": -1})
    producer.produce(STOCK_LEVELS.named(pipeline.prefix), value, b"p1", 0)
    assert producer.flush(30) == 0
    for sink in sinks:
        until(lambda sink=sink: alarms(pipeline, sink) == {"I1": 2.0}, 30, "the alarm", sink)
        assert sink.said("a promise is broken")


def alarms(pipeline: Pipeline, sink: Child) -> dict[str, float]:
    found = figures_of(pipeline, sink)["holdfast_invariant_violations_total"]
    return {dict(labels)["promise"]: value for labels, value in found.items() if value}


@pytest.mark.parametrize("port", ["x", "-1", "65536"])
def test_a_port_that_is_none_is_said(pipeline: Pipeline, port: str) -> None:
    environment = {**pipeline.environment(), "HOLDFAST_METRICS_PORT": port}
    done = subprocess.run([sys.executable, "-m", "holdfast", "sink", "redis"], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode != 0
    assert f"HOLDFAST_METRICS_PORT is {port!r}" in done.stderr


def test_nobody_listens_unasked(pipeline: Pipeline, tmp_path: Path) -> None:
    pipeline.settings = {**pipeline.settings, "HOLDFAST_METRICS_PORT": "", "HOLDFAST_RUN_DIR": str(tmp_path)}
    sink = pipeline.start("sink-redis", "holdfast", "sink", "redis")
    file = tmp_path / f"sink-{sink.popen.pid}.json"
    until(file.exists, 60, "the run file", sink)
    assert json.loads(file.read_text())["metrics"] is None
