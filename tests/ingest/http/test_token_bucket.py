"""Token buckets: what one gateway gives out, and what several give out together."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.seams import Limit
from ingest.http.token_bucket import Bucket, policy_of, state_of, unsure

limits = st.builds(Limit, st.floats(0.01, 1_000), st.integers(1, 2_000))
gaps = st.floats(0, 20)
LITTLE = 1e-3


@given(limits, st.lists(st.tuples(gaps, st.integers(1, 5)), max_size=60))
def test_a_bucket_gives_its_burst_and_what_comes_in_the_time(limit: Limit, asked: list[tuple[float, int]]) -> None:
    bucket, now, given_out, largest = Bucket.full(limit, 0.0), 0.0, 0, 0
    for gap, cost in asked:
        now += gap
        bucket.refill(now)
        if bucket.wait_s(cost) == 0.0:
            bucket.take(cost)
            given_out, largest = given_out + cost, max(largest, cost)
    # What is larger than the burst is let through by a full bucket and paid for afterwards.
    assert given_out <= limit.burst + limit.rate * now + max(0, largest - limit.burst) + LITTLE


@given(limits, st.integers(1, 5_000), st.integers(1, 5_000))
def test_who_waits_as_long_as_told_gets_in_and_not_before(limit: Limit, taken: int, cost: int) -> None:
    bucket = Bucket.full(limit, 0.0)
    bucket.take(taken)
    wait_s = bucket.wait_s(cost)
    bucket.refill(wait_s * 0.9)
    assert bucket.wait_s(cost) == pytest.approx(wait_s * 0.1, rel=0.01, abs=LITTLE / limit.rate)
    bucket.refill(wait_s * (1 + 1e-9))
    assert bucket.wait_s(cost) == 0.0


class Together:
    """Gateways with buckets of their own and the bucket they share; answers of the shared one may be late."""

    def __init__(self, limit: Limit, gateways: int) -> None:
        self.shared = Bucket.full(limit, 0.0)
        self.own = [Bucket.full(limit, 0.0) for _ in range(gateways)]
        self.answers: list[float | None] = [None] * gateways
        self.now = 0.0
        self.given_out = 0

    def report(self, n: int) -> None:
        if self.answers[n] is None:
            self.shared.refill(self.now)
            self.shared.take(self.own[n].report())
            self.answers[n] = self.shared.tokens

    def hear(self, n: int) -> None:
        if self.answers[n] is not None:
            self.own[n].reported(self.answers[n])
            self.answers[n] = None

    def ask(self, n: int) -> bool:
        own = self.own[n]
        own.refill(self.now)
        while not own.wait_s(1) and own.is_unsure(1):
            self.report(n)
            self.hear(n)
        if own.wait_s(1):
            return False
        own.take(1)
        self.given_out += 1
        if own.is_due():
            self.report(n)
        return True


steps = st.lists(st.tuples(st.sampled_from(["ask", "ask", "ask", "hear", "wait"]), st.integers(0, 2), st.floats(0, 3), st.integers(1, 30)), max_size=80)


@given(st.builds(Limit, st.floats(0.01, 20), st.integers(1, 60)), steps)
def test_gateways_together_give_little_more_than_one_would(limit: Limit, done: list[tuple[str, int, float, int]]) -> None:
    together = Together(limit, 3)
    for step, n, seconds, times in done:
        if step == "wait":
            together.now += seconds
        elif step == "hear":
            together.hear(n)
        else:
            for _ in range(times):
                together.ask(n)
    assert together.given_out <= limit.burst + limit.rate * together.now + 3 * unsure(limit) + LITTLE


def test_a_gateway_that_asks_steadily_hears_of_the_others() -> None:
    """Each takes what one bucket gives in a second: together they get that, not twice that."""
    limit = Limit(100, 200)
    together = Together(limit, 2)
    for tick in range(6_000):
        together.now = tick / 100
        for n in (0, 1):
            together.ask(n)
            together.hear(n)
    assert together.given_out <= 200 + 100 * 60 + 2 * unsure(limit)
    assert together.given_out >= 100 * 60


def test_without_the_shared_bucket_each_gives_out_its_own() -> None:
    own = Bucket.full(Limit(1, 5), 0.0)
    for _ in range(5):
        assert own.wait_s(1) == 0.0
        own.take(1)
        own.report()
        own.reported(None)
    assert own.wait_s(1) == 1.0


def test_an_answer_does_not_hide_what_was_taken_meanwhile() -> None:
    own = Bucket.full(Limit(1, 10), 0.0)
    own.take(1)
    own.report()
    own.take(1)
    own.reported(3.0)
    assert own.tokens == 2.0


@given(limits, st.integers(0, 5_000), gaps)
def test_headers_are_structured_fields(limit: Limit, taken: int, later: float) -> None:
    bucket = Bucket.full(limit, 0.0)
    bucket.take(taken)
    bucket.refill(later)
    policy = re.fullmatch(r'"key";q=(\d+);w=(\d+)', policy_of("key", limit))
    state = re.fullmatch(r'"key";r=(\d+);t=(\d+)', state_of("key", bucket))
    assert policy
    assert state
    assert int(policy[1]) == limit.burst
    assert int(policy[2]) >= 1
    assert int(state[1]) <= limit.burst
    bucket.refill(later + int(state[2]))
    assert bucket.tokens >= limit.burst - LITTLE
