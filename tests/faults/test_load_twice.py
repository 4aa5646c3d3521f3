"""The same real orders loaded twice, every record of them: nothing may be sold, charged or answered twice."""

from __future__ import annotations

import lzma
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast import audit
from schemas.topics import ORDERS
from tests.support.pipeline import Pipeline, outcomes, running, values

pytestmark = [pytest.mark.faults, pytest.mark.live]
ROWS = 4_000
SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"


@pytest.fixture
def pipeline(kafka: str, topic_prefix: str, fresh_database: str, fresh_redis: str, tmp_path: Path) -> Iterator[Pipeline]:
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, fresh_database, fresh_redis)) as started:
        started.sinks()
        started.await_open(started.worker())
        yield started


def decided(pipeline: Pipeline) -> dict[int, str]:
    """Return each decided order's status at its decision."""
    return {o["order_id"]: o["status"] for o in outcomes(pipeline) if o.get("change") == "DECIDED"}


def test_the_same_file_loaded_twice(pipeline: Pipeline, tmp_path: Path) -> None:
    file = tmp_path / "orders.csv"
    with lzma.open(SAMPLE, "rt", newline="") as rows:
        file.write_text("".join(line for line, _ in zip(rows, range(ROWS + 1), strict=False)))
    pipeline.run("holdfast", "load", str(file), "--json")
    pipeline.drain()
    first, records = decided(pipeline), len(values(pipeline, ORDERS))
    pipeline.run("holdfast", "load", str(file), "--json")
    assert len(values(pipeline, ORDERS)) == records, "a finished load sends nothing again"
    pipeline.run("holdfast", "load", str(file), "--json", "--resend")
    pipeline.drain()
    assert len(values(pipeline, ORDERS)) == 2 * records
    assert decided(pipeline) == first
    assert set(first.values()) >= {"CONFIRMED", "REJECTED"}
    report = audit.run(kafka=pipeline.kafka, mysql_url=pipeline.mysql, redis_url=pipeline.redis, prefix=pipeline.prefix)
    assert report.ok, report.text()
