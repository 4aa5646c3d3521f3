"""The sandbox provider: repeatable, by token and by rate."""

from __future__ import annotations

import pytest

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Pending, Request
from streams.payments import Provider
from streams.payments.sandbox import DECLINED_TOKEN, SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN, Sandbox


def charge(order_id: int, token: str = "tok") -> Request:
    return Request(PaymentKind.CHARGE, order_id, 1, 0, 30, "GBP", token, "ann")


def declined(rate: float, orders: range) -> list[int]:
    provider: Provider = Sandbox(rate)
    answers = provider.ask([charge(order_id) for order_id in orders])
    return [order_id for order_id, answer in zip(orders, answers, strict=True) if answer and answer.result is PaymentResult.DECLINED]


def test_the_token_declines_with_a_reason() -> None:
    paid, no = Sandbox().ask([charge(1), charge(1, DECLINED_TOKEN)])
    assert paid is not None
    assert no is not None
    assert (paid.result, paid.reason) == (PaymentResult.PAID, "")
    assert no.result is PaymentResult.DECLINED
    assert no.reason


@pytest.mark.parametrize("rate", [0.0, 0.1, 0.5, 1.0])
def test_the_rate_is_the_share_of_orders_declined(rate: float) -> None:
    assert len(declined(rate, range(1, 10_001))) == pytest.approx(rate * 10_000, abs=150)


def test_the_rate_holds_for_ids_of_the_generator_too() -> None:
    """Generated IDs differ in their middle bits, not in the last."""
    assert len(declined(0.1, range(2**50, 2**50 + 10_000 * 2**22, 2**22))) == pytest.approx(1_000, abs=150)


def test_the_same_orders_are_declined_for_ever() -> None:
    """Pinned: another Python, another process, another day decline the same orders."""
    assert declined(0.1, range(1, 60)) == PINNED
    assert set(declined(0.1, range(1, 1_000))) <= set(declined(0.2, range(1, 1_000)))


PINNED = [3, 33, 34, 42, 43, 44, 54]


def test_refunds_succeed() -> None:
    [answer] = Sandbox(1.0).ask([charge(1, DECLINED_TOKEN)._replace(kind=PaymentKind.REFUND, sequence=1)])
    assert answer is not None
    assert answer.result is PaymentResult.REFUNDED


LATE = (SLOW_TOKEN, SILENT_TOKEN, TWICE_TOKEN)


@pytest.mark.parametrize("token", LATE)
def test_a_late_token_s_charge_is_not_certain_at_once_but_its_refund_is(token: str) -> None:
    assert Sandbox().ask([charge(1, token)]) == [None]
    assert Sandbox().ask([charge(1, token)._replace(kind=PaymentKind.REFUND, sequence=1)]) == [Answer(PaymentResult.REFUNDED)]


def test_the_desk_answers_in_the_order_of_the_times() -> None:
    desk = Sandbox(slow_ms=50, silent_ms=100).desk()
    desk.leave([Pending(charge(n, token), 1_000, n, 0) for n, token in enumerate((SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN), 1)])
    assert [h.request.order_id for h in desk.collect(1_000)] == [3, 3]
    assert desk.collect(1_049) == []
    assert [h.request.order_id for h in desk.collect(1_100)] == [2, 1]
    assert not desk.is_asking()


def test_the_second_answer_to_a_charge_is_another_one() -> None:
    desk = Sandbox().desk()
    desk.leave([Pending(charge(1, TWICE_TOKEN), 0, 0, 0)])
    assert [h.answer.result for h in desk.collect(0)] == [PaymentResult.PAID, PaymentResult.DECLINED]


def test_a_desk_that_is_closed_has_nothing() -> None:
    desk = Sandbox().desk()
    desk.leave([Pending(charge(1, SLOW_TOKEN), 0, 0, 0)])
    desk.close()
    assert not desk.is_due(10**15)


@pytest.mark.parametrize("rate", [-0.1, 1.1, float("nan")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"from 0\.0 to 1\.0"):
        Sandbox(rate)
