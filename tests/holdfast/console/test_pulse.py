"""Which products are hot, and how long answers take."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.console.pulse import LONGEST_MS, SHOWN_PRODUCTS, Latency, Pulse, latency_of
from schemas.codec import Decoded
from tests.support.outputs import level, outcome


def moved(product: str, version: int) -> Decoded:
    return Decoded("StockLevel", level(product, version), 1)


def decided(took_ms: int, change: str = "DECIDED") -> Decoded:
    return Decoded("OrderOutcome", outcome(placed_at=1_000, decided_at=1_000 + took_ms, change=change), 1)


def test_who_moves_most_is_first_and_cools_down() -> None:
    pulse = Pulse()
    for record in (moved("slow", 1), moved("hot", 1), moved("hot", 50), moved("slow", 2)):
        pulse.add(record)
    first = pulse.beat()["hottest"]
    assert [each["product_id"] for each in first] == ["hot", "slow"]
    assert first[0]["reserved"] == 50
    pulse.add(moved("slow", 200))
    assert [each["product_id"] for each in pulse.beat()["hottest"]] == ["slow", "hot"]


def test_only_so_many_are_shown() -> None:
    pulse = Pulse()
    for number in range(SHOWN_PRODUCTS * 2):
        pulse.add(moved(f"p{number}", 1))
    assert len(pulse.beat()["hottest"]) == SHOWN_PRODUCTS


def test_latency_is_of_the_last_interval_and_of_customers() -> None:
    pulse = Pulse()
    for record in (decided(10), decided(30), decided(20), decided(-1), decided(LONGEST_MS + 1), decided(9_999, "SHIPPED")):
        pulse.add(record)
    assert pulse.beat()["latency"] == {"orders": 3, "p50_ms": 20, "p99_ms": 30}
    assert pulse.beat()["latency"] == {"orders": 0, "p50_ms": None, "p99_ms": None}


@pytest.mark.parametrize(("taken", "expected"), [([], Latency(0, None, None)), ([7], Latency(1, 7, 7)), (list(range(1, 101)), Latency(100, 50, 99))])
def test_ranks(taken: list[int], expected: Latency) -> None:
    assert latency_of(taken) == expected


@given(st.lists(st.integers(0, 10_000), min_size=1))
def test_a_rank_is_a_value_with_as_many_below_as_it_says(taken: list[int]) -> None:
    found = latency_of(taken)
    assert found.p50_ms is not None
    assert sum(value <= found.p50_ms for value in taken) >= len(taken) / 2
    assert sum(value < found.p50_ms for value in taken) <= len(taken) / 2
