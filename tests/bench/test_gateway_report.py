"""Figures and table of the gateway's bench, and what its load generator takes for a whole answer."""

from __future__ import annotations

from typing import Any

import pytest

from bench.gateway import Shape, Wish, jobs, summed
from bench.gateway_report import figures, table
from bench.http_load import Tally, whole_of


def measured(part: str, number: int, per_s: float, orders_per_s: float | None = None, p99: float = 5.0, right: bool = True) -> dict[str, Any]:
    numbers = {"per_s": per_s, "orders_per_s": orders_per_s, "ms": {"p50": 1.0, "p99": p99}, "right": right, "statuses": {"202": 9}}
    return {"part": part, "round": number, **numbers, "client_cores": 0.3, "cores": {"gateway": 0.9, "bare": 0.8, "kafka": 0.2}}


ROUNDS = [
    *(measured("bare", n, rate) for n, rate in enumerate((100.0, 200.0, 100.0), 1)),
    *(measured("single", n, rate) for n, rate in enumerate((70.0, 120.0, 90.0), 1)),
    measured("batch", 1, 900, 90_000),
    measured("steady", 1, 1_000, p99=20.0),
    measured("steady", 2, 1_000, p99=40.0),
    measured("steady", 3, 1_000, p99=1_000.0, right=False),
]


def test_a_ratio_is_of_one_round_and_wrong_rounds_do_not_count() -> None:
    found = figures(ROUNDS)
    assert (found["single_vs_bare"], found["batch_orders_per_s"], found["steady_p99_ms"]) == (0.7, 90_000, 30.0)
    assert found["reads_per_s"] is None
    assert found["keyed_vs_bare"] is None


def test_the_table_names_what_was_wrong() -> None:
    said = table(ROUNDS)
    assert "| batch | 90,000 | 0% | 1.0 | 5.0 | 0.90 | 0.30 | 0.20 | - | - | right |" in said
    assert "WRONG in 1 of 3 rounds: {'202': 9}" in said
    assert "| bare | 100 | 100% | 1.0 | 5.0 | 0.80 |" in said
    assert "| single_vs_bare | 0.7 | at least 0.6 |" in said


@pytest.mark.parametrize(
    ("answer", "whole"),
    [
        (b"HTTP/1.1 202 Accepted\r\ncontent-le", 0),
        (b"HTTP/1.1 202 Accepted\r\ncontent-length: 12\r\nx: y\r\n\r\nhello", 51 + 12),
        (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", -1),
        (b"HTTP/1.1 200 OK\r\nx: y\r\n\r\ncontent-length: 5\r\n", -1),
    ],
)
def test_how_long_an_answer_is(answer: bytes, whole: int) -> None:
    assert whole_of(answer) == whole


def test_a_batch_is_right_only_if_each_of_its_orders_was_accepted() -> None:
    shape = Shape(["x"], "200", 8, word="accepted")
    ten = [Tally({"200": 10}, 1_000, [1_000] * 10)]
    assert (summed(ten, shape, 2.0)["right"], summed(ten, shape, 2.0)["orders_per_s"]) == (True, 500.0)
    assert not summed([Tally({"200": 10}, 999, [1_000] * 10)], shape, 2.0)["right"]
    assert not summed([Tally({"200": 9, "503": 1}, 900, [1_000] * 10)], shape, 2.0)["right"]
    assert not summed([Tally()], shape, 2.0)["right"]


def test_the_schedules_of_clients_lie_between_each_other_and_their_keys_never_meet() -> None:
    wish = Wish(1, 10.0, 2.0, 8, 16, 2, 1_000)
    first, second = jobs(Shape(["a", "b", "c"], "202", 8, rate=1_000, keyed=True), 80, wish, 50.0)
    assert (first.begin, second.begin, first.rate, second.rate) == (50.0, 50.001, 500.0, 500.0)
    assert first.begin + first.warm_s == pytest.approx(second.begin + second.warm_s)
    assert (first.requests, second.requests, first.connections) == (["a", "c"], ["b"], 4)
    assert abs(first.counts - second.counts) >= 10**8
