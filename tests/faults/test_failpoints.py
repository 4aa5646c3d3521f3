"""Processes die at every failpoint, under load; nothing may be lost or done twice. `python -m tests.faults` does it many times."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from holdfast.stack.addresses import Endpoints
from tests.faults import failpoint_drill
from tests.faults.drill import lanes

SEED = 4


def test_each_failpoint_has_a_lane_that_comes_there() -> None:
    laid_out = [*lanes.task_names(), *lanes.faust_names(), *lanes.names_of("sink-mysql"), *lanes.names_of("sink-redis"), *lanes.load_names()]
    assert Counter(laid_out) == Counter(dict.fromkeys(lanes.drilled_names(), 1))


@pytest.mark.live
@pytest.mark.faults
def test_a_kill_at_every_failpoint_under_load(endpoints: Endpoints, tmp_path: Path) -> None:
    drill = failpoint_drill.run(endpoints, times=1, seed=SEED, report=lambda *_: None, folder=tmp_path)
    assert drill.ok, drill.text()
    assert drill.orders > 300
