"""The clock of an order begins when it is due: what is sent earlier would be answered before it was asked."""

from __future__ import annotations

import pytest

from bench.latency import TICK_SECONDS, paced, percentiles


class Clock:
    """Time that passes only where it is waited for."""

    def __init__(self) -> None:
        self.now = 50.0

    def __call__(self) -> float:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += seconds


@pytest.mark.parametrize("rate", [1, 100, 249, 250, 251, 8_000])
def test_no_order_is_sent_before_it_is_due_and_each_is_due_by_the_rate(rate: int) -> None:
    clock, count = Clock(), 40
    sent = [(i, due, clock.now) for i, due in paced(rate, count, clock, clock.wait)]
    assert [(i, due) for i, due, _ in sent] == [(i, 50.0 + i / rate) for i in range(count)]
    assert all(due <= at <= due + TICK_SECONDS for _, due, at in sent)


def test_orders_that_a_stall_held_up_are_sent_at_once_and_keep_the_moment_they_were_due() -> None:
    clock = Clock()
    sent = []
    for i, due in paced(100, 200, clock, clock.wait):
        sent.append((due, clock.now))
        if i == 50:
            clock.wait(1.0)
    assert [at for _, at in sent[51:150]] == [sent[51][1]] * 99
    assert [due for due, _ in sent] == [50.0 + i / 100 for i in range(200)]


def test_percentiles_are_in_ms() -> None:
    assert percentiles([i / 1000 for i in range(1, 1001)]) == {"p50": 501.0, "p99": 991.0, "p99_9": 1000.0, "max": 1000.0}
