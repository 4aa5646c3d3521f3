"""What batches waited for is counted between the moments that were asked for, each step by itself."""

import json

from bench.waits import STEPS, waits


def _noted(stage: str, records: int, start: float, *took: float) -> str:
    at = [start]
    for seconds in took:
        at.append(at[-1] + seconds)
    return json.dumps([stage, records, *at])


LINES = [
    _noted("stock", 9, 99.0, 1, 1, 1, 1, 1, 1, 1),  # before
    _noted("stock", 10, 100.0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007),
    _noted("stock", 30, 101.0, 0.011, 0.012, 0.013, 0.014, 0.015, 0.016, 0.017),
    _noted("orders", 1, 102.0, 0, 0, 0, 0, 0, 0.25, 0),
    _noted("orders", 2, 102.0, 0.1, 0.1),  # was never taken
    json.dumps(["gc", 0, 103.0, 103.02]),
    json.dumps(["gc", 1, 111.0, 112.0]),  # after
]


def test_each_stage_has_the_percentiles_of_each_step_in_ms() -> None:
    stages = waits(LINES, 100.0, 110.0)["stages"]
    assert (stages["stock"]["batches"], stages["stock"]["records_p50"]) == (2, 30)
    assert [stages["stock"]["ms"][step]["max"] for step in STEPS] == [11, 12, 13, 14, 15, 16, 17]
    assert stages["orders"] == {
        "batches": 1,
        "records_p50": 1,
        "ms": {step: dict.fromkeys(("p50", "p99", "max"), 250.0 if step == "commit" else 0) for step in STEPS},
    }


def test_collections_are_counted_apart() -> None:
    assert waits(LINES, 100.0, 110.0)["python_collections"] == {"count": 1, "p50": 20, "p99": 20, "max": 20}
    assert waits([], 0, 1) == {"stages": {}, "python_collections": {"count": 0}}
