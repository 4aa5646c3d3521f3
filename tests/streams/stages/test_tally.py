"""What the orders stage decided is counted when it is committed, and only then."""

from __future__ import annotations

import pytest
from prometheus_client import REGISTRY

from schemas.outcomes import Refusal
from streams.stages.tally import Tally

FIGURES = {
    "lines": ("holdfast_lines_answered_total", {"refusal": "HELD"}),
    "few": ("holdfast_lines_answered_total", {"refusal": "INSUFFICIENT_STOCK"}),
    "frozen": ("holdfast_commands_refused_total", {"refusal": "PRODUCT_FROZEN"}),
    "confirmed": ("holdfast_orders_decided_total", {"status": "CONFIRMED", "refusal": "NONE"}),
    "rejected": ("holdfast_orders_decided_total", {"status": "REJECTED", "refusal": "INSUFFICIENT_STOCK"}),
}


def figures() -> dict[str, float]:
    return {name: REGISTRY.get_sample_value(figure, labels) or 0.0 for name, (figure, labels) in FIGURES.items()}


@pytest.mark.parametrize("times", [1, 2])
def test_it_counts_once_and_when_told(times: int) -> None:
    tally, before = Tally(), figures()
    tally.answered(bytes((0, 0, Refusal.INSUFFICIENT_STOCK)))
    tally.moved(bytes((0, Refusal.PRODUCT_FROZEN)))
    tally.decided({"status": "CONFIRMED", "refusal": ""})
    tally.decided({"status": "REJECTED", "refusal": "INSUFFICIENT_STOCK"})
    assert figures() == before
    for _ in range(times):
        tally.count()
    assert {name: count - before[name] for name, count in figures().items()} == {"lines": 2.0, "few": 1.0, "frozen": 1.0, "confirmed": 1.0, "rejected": 1.0}
