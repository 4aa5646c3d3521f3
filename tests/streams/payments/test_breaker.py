"""The circuit opens when many different requests in a row were not answered, and one at a time finds out whether it may close."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from streams.payments.breaker import FIRST_PAUSE, LONGEST_PAUSE, LOOK_AGAIN, Breaker, State


def opened(now: float = 100.0) -> Breaker:
    breaker = Breaker(3)
    for key in "abc":
        assert breaker.admit(now) == 0
        breaker.failed(key, now)
    return breaker


def test_it_opens_after_so_many_different_requests() -> None:
    assert opened().state is State.OPEN


def test_one_request_that_is_never_answered_does_not_open_it() -> None:
    breaker = Breaker(3)
    for _ in range(100):
        breaker.failed("silent", 0.0)
    assert breaker.admit(0.0) == 0


def test_an_answer_between_them_starts_the_count_again() -> None:
    breaker = Breaker(3)
    for key in "abcdefgh":
        breaker.failed(key, 0.0)
        breaker.answered()
    assert breaker.state is State.CLOSED


def test_while_it_is_open_everybody_is_told_how_long_to_wait() -> None:
    breaker = opened(100.0)
    assert breaker.admit(100.25) == FIRST_PAUSE - 0.25


def test_then_one_asks_and_the_others_wait_for_what_comes_of_it() -> None:
    breaker = opened(100.0)
    assert breaker.admit(100.0 + FIRST_PAUSE) == 0
    assert breaker.admit(100.0 + FIRST_PAUSE) == LOOK_AGAIN
    breaker.answered()
    assert (breaker.admit(101.0), breaker.state) == (0, State.CLOSED)


def test_each_try_in_vain_doubles_the_pause_up_to_a_bound() -> None:
    breaker, now, pauses = opened(100.0), 100.0, []
    for _ in range(6):
        now += breaker.admit(now)
        assert breaker.admit(now) == 0
        breaker.failed("d", now)
        pauses.append(breaker.admit(now))
    assert pauses == [2.0, 4.0, 8.0, LONGEST_PAUSE, LONGEST_PAUSE, LONGEST_PAUSE]


def test_who_was_to_try_and_did_not_leaves_the_try_to_the_next() -> None:
    breaker = opened(100.0)
    assert breaker.admit(200.0) == 0
    breaker.withdrawn(200.0)
    assert breaker.admit(200.0) == 0


@given(st.lists(st.tuples(st.sampled_from(["fail", "answer", "withdraw", "wait"]), st.sampled_from("abcde"))))
def test_whatever_happens_somebody_may_ask_again_within_the_longest_pause(steps: list[tuple[str, str]]) -> None:
    breaker, now = Breaker(2), 0.0
    for step, key in steps:
        now += LONGEST_PAUSE / 3
        if step == "wait" or breaker.admit(now):
            continue
        {"fail": lambda: breaker.failed(key, now), "answer": breaker.answered, "withdraw": lambda: breaker.withdrawn(now)}[step]()  # noqa: B023
    assert breaker.admit(now + LONGEST_PAUSE) == 0
