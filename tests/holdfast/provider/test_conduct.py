"""How the provider misbehaves."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from holdfast.provider.conduct import Conduct, Delays, Mode, Reply, conduct
from holdfast.provider.ledger import Entry
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN

DELAYS = Delays(5.0, 60.0)


def done(token: str = "tok", at: int = 10_000) -> Entry:
    return Entry(key="k", kind="charge", order_id="7", attempt=1, amount=30, currency="GBP", result="paid", at=at, token=token)


def shares(mode: Mode, token: str = "tok") -> Counter[Conduct]:
    dice = Random(1)
    return Counter(conduct(mode, token, dice) for _ in range(4_000))


def test_a_provider_that_is_well_tells_the_truth() -> None:
    assert shares(Mode()) == {Conduct(True, Reply.TRUTH): 4_000}


def test_one_that_is_down_does_nothing() -> None:
    assert shares(Mode(down=True, drop_rate=1.0)) == {Conduct(False, Reply.FAILURE): 4_000}


@pytest.mark.parametrize(("mode", "reply"), [(Mode(fail_rate=0.5), Reply.FAILURE), (Mode(drop_rate=0.5), Reply.NOTHING)])
def test_half_of_what_fails_was_carried_out(mode: Mode, reply: Reply) -> None:
    seen = shares(mode)
    for carries_out in (True, False):
        assert seen[Conduct(carries_out, reply)] == pytest.approx(1_000, abs=120)


def test_both_rates_together() -> None:
    seen = shares(Mode(fail_rate=0.25, drop_rate=0.75))
    assert {each.reply for each in seen} == {Reply.FAILURE, Reply.NOTHING}


def test_lies_by_rate_and_by_token() -> None:
    assert shares(Mode(lie_rate=0.5))[Conduct(True, Reply.TRUTH, True)] == pytest.approx(2_000, abs=150)
    assert shares(Mode(), TWICE_TOKEN) == {Conduct(True, Reply.TRUTH, True): 4_000}


@pytest.mark.parametrize(
    ("token", "mode", "now", "due"),
    [
        ("tok", Mode(), 10_000, 0.0),
        (SLOW_TOKEN, Mode(), 10_000, 5.0),
        (SLOW_TOKEN, Mode(), 14_000, 1.0),
        (SLOW_TOKEN, Mode(), 99_000, 0.0),
        (SILENT_TOKEN, Mode(), 10_000, 60.0),
        ("tok", Mode(slow_s=8.0), 11_000, 7.0),
        (SLOW_TOKEN, Mode(slow_s=1.0), 10_000, 5.0),
    ],
)
def test_an_answer_is_due_so_long_after_the_money_moved(token: str, mode: Mode, now: int, due: float) -> None:
    assert DELAYS.due_in(mode, done(token), now) == due


@pytest.mark.parametrize(
    "mode",
    [
        Mode(fail_rate=1.1),
        Mode(drop_rate=-0.1),
        Mode(lie_rate=2.0),
        Mode(fail_rate=0.6, drop_rate=0.6),
        Mode(slow_s=-1.0),
        Mode(slow_s=1e9),
        Mode(fail_rate=float("nan")),
    ],
)
def test_a_mode_that_cannot_be_had_says_why(mode: Mode) -> None:
    assert "give" in (mode.fault() or "")
    assert Mode(slow_s=1.0, fail_rate=0.5, drop_rate=0.5, lie_rate=1.0).fault() is None
