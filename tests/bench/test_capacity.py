"""The capacity model: what it is fitted to comes out of it again, and more work needs more."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import capacity
from bench.capacity import Cost
from bench.growth import AXES, Point, columnar, order_lines, points, restocks
from schemas.codec import decode
from schemas.partitions import order_partition, product_partition

NAMES = ("kafka", "mariadb", "redis", "worker-1", "sink-mysql", "sink-redis", "clients")
AMOUNTS = st.floats(0.1, 500)


@given(AMOUNTS, AMOUNTS, st.integers(2, 100))
def test_the_fit_gives_back_what_it_was_made_of(per_order: float, per_line: float, lines: int) -> None:
    true = Cost(per_order, per_line)
    found = capacity.fit(true.of(1), true.of(lines) / lines, lines)
    assert (found.per_order, found.per_line) == (pytest.approx(per_order, abs=1e-6), pytest.approx(per_line, abs=1e-6))


@given(AMOUNTS, AMOUNTS, st.integers(2, 100))
def test_no_cost_is_below_nothing(single: float, many: float, lines: int) -> None:
    found = capacity.fit(single, many, lines)
    assert found.per_order >= 0
    assert found.per_line >= 0
    assert found.of(1) == pytest.approx(single)


def whole_path() -> dict[str, Any]:
    single = dict(zip(NAMES, (40.0, 20.0, 8.0, 50.0, 10.0, 12.0, 20.0), strict=True))
    real = {name: us / 4 for name, us in single.items()}
    return {"single_lines": {"cpu_us_per_line": single}, "real_file": {"cpu_us_per_line": real, "lines_per_order": 20.0}}


def test_twice_the_orders_need_twice_the_cores_and_the_dearest_thread_is_full_first() -> None:
    cost = capacity.costs(whole_path())
    one, two = capacity.needs(cost, 50_000, 3), capacity.needs(cost, 100_000, 3)
    assert two["all"] == pytest.approx(2 * one["all"])
    assert one["all"] == pytest.approx(sum(50_000 * c.of(3) / 1e6 / capacity.BUSY for c in cost.values()))
    assert two["partitions"] >= two["workers"] >= two["worker"]
    full = capacity.ceilings(cost, 1)
    assert full[0] == ("worker", pytest.approx(capacity.BUSY * 1e6 / 50))
    assert [rate for _, rate in full] == sorted(rate for _, rate in full)


def test_the_slope_is_that_of_the_line() -> None:
    assert capacity.slope([(x, 5 + 3 * x) for x in (1, 2, 10)]) == pytest.approx(3)
    assert capacity.slope([(1, 2)]) == capacity.slope([]) == 0


def test_the_page_has_every_axis_and_target() -> None:
    measured = {"per_s": 1, "worker_us": 2.0, "kafka_us": 3.0, "mb_before": 4, "peak_mb": 5, "recovery_s": 6.0, "orders": 7}
    found = {
        "machine": {"cores": 2, "cpu": "x", "memory_gb": 1, "load_before": 0.5},
        "whole_path": whole_path(),
        "points": [{"axis": axis, "value": value, **measured} for axis, values in AXES.items() for value in values],
    }
    text = capacity.page(found)
    assert all(f"| {axis.replace('_', ' ')} | orders |" in text for axis in AXES)
    assert "1,000,000/s, 3 lines" in text
    del found["whole_path"]
    assert "Not measured yet" in capacity.page(found)
    assert "1,000,000/s" not in capacity.page(found)


def test_the_points_are_those_asked_for() -> None:
    assert {(p.axis, p.value) for p in points(("workers", "partitions"), 16)} == {
        *(("partitions", n) for n in (4, 8, 16)),
        *(("workers", n) for n in (1, 2, 3)),
    }
    assert len(points((), 10**9)) == sum(map(len, AXES.values()))


def test_what_is_sent_is_every_line_on_its_product_s_partition_and_the_order_with_its_first() -> None:
    point = Point("lines", products=50, partitions=4, lines=3)
    records = [(home, decode(value).value) for home, value in columnar(order_lines(point, 400, 3, 3), 4)]
    lines = [(home, *line) for home, v in records for line in zip(v["order_id"], v["line"], v["product_id"], v["line_count"], strict=True)]
    assert len(lines) == len({line[1:3] for line in lines}) == 1_200
    assert all(home == product_partition(product, 4) and many == 3 for home, _, _, product, many in lines)
    assert all(order_partition(order, 4) == home for home, order, line, _, _ in lines if line == 1)
    assert sum(len(decode(value).value["product_id"]) for _, value in restocks(50, 4)) == 50
