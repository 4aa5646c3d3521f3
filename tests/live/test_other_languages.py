"""Consumers in another language read what Holdfast says, with their own stock clients."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from holdfast import topics
from schemas.topics import ORDER_OUTCOMES
from tests.support.gateway import running_gateway
from tests.support.node import npm
from tests.support.outputs import outcome
from tests.support.pipeline import PARTITIONS, Pipeline
from tests.support.sink_processes import Log
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
NODE = Path(__file__).parents[1] / "consumers" / "node"


def test_node_reads_order_outcomes(kafka: str, module_database: str, module_redis: str, tmp_path: Path) -> None:
    folder = npm(NODE / "package.json")
    shutil.copy(NODE / "read_outcomes.mjs", folder)
    pipeline = Pipeline(kafka, unique_name("n"), tmp_path, module_database, module_redis)
    topics.create(kafka, pipeline.prefix, PARTITIONS)
    pipeline.run("holdfast", "migrate")
    Log(kafka, pipeline.prefix).write([outcome(2**62), outcome(2)])
    with running_gateway(pipeline) as gateway:
        command = ["node", "read_outcomes.mjs", kafka, ORDER_OUTCOMES.named(pipeline.prefix), gateway.url, "2"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert {str(each["order_id"]) for each in found} == {str(2**62), "2"}
    assert all(each["lines"][0]["product_id"] == "85123A" and each["status"] == "CONFIRMED" for each in found)
