"""A provider that takes its time: what becomes of the order meanwhile, and of the money afterwards, through all three stages."""

from __future__ import annotations

import pytest

from schemas import codec, topics
from schemas.partitions import order_partition
from streams.payments.sandbox import SILENT_TOKEN, SLOW_TOKEN, TWICE_TOKEN, Sandbox
from tests.flow.shop import A
from tests.support.flow import SOUND, TIMEOUT, Flow
from tests.support.stages import requests

SLOW, SILENT = 5_000, TIMEOUT + 5_000


def shop(seed: int = 0) -> Flow:
    flow = Flow(seed, provider=Sandbox(slow_ms=SLOW, silent_ms=SILENT))
    flow.stock("RESTOCK", A, 1_000)
    flow.run()
    return flow


def at_rest(flow: Flow) -> None:
    flow.settle()
    flow.wait(SILENT)
    flow.run()
    flow.assert_clean()


def test_a_slow_payment_confirms_the_order_when_it_comes() -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=SLOW_TOKEN)
    flow.run()
    assert flow.history(1) == []
    flow.wait(SLOW)
    flow.run()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    at_rest(flow)


def test_orders_behind_a_slow_payment_do_not_wait_for_it() -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=SLOW_TOKEN)
    flow.run()
    for order_id in range(2, 8):
        flow.order(order_id, (A, 1))
    flow.run()
    assert [flow.history(order_id) for order_id in range(2, 8)] == [["DECIDED CONFIRMED"]] * 6
    at_rest(flow)


def test_an_order_cancelled_while_its_payment_is_pending_gets_its_money_back() -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=SLOW_TOKEN)
    flow.run()
    flow.command("CANCEL", 1)
    flow.run()
    assert flow.history(1) == ["DECIDED CANCELLED"]
    assert flow.level(A) == (1_000, 0, 0)
    flow.wait(SLOW)
    flow.run()
    assert flow.history(1) == ["DECIDED CANCELLED", "AMENDED CANCELLED", "AMENDED CANCELLED"]
    last = flow.outcomes(1)[-1]
    assert (last["charged"], last["refunded"], last["attempt"]) == (200, 200, 1)
    assert flow.kept(1) == 0
    at_rest(flow)


def test_a_silent_payment_expires_the_order_and_what_it_took_after_all_goes_back() -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=SILENT_TOKEN)
    flow.settle()
    assert flow.history(1) == ["DECIDED EXPIRED"]
    flow.wait(SILENT)
    flow.run()
    assert flow.outcomes(1)[-1]["refunded"] == 200
    assert flow.kept(1) == 0
    at_rest(flow)


def test_an_answer_said_twice_decides_once() -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=TWICE_TOKEN)
    flow.run()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert flow.kept(1) == 200
    at_rest(flow)


@pytest.mark.parametrize("token", [SLOW_TOKEN, "tok_ok"])
def test_requests_that_the_orders_stage_never_sent_move_no_money(token: str) -> None:
    flow = shop()
    flow.order(1, (A, 2), payment_token=token)
    flow.run()
    home = order_partition(1, flow.partitions)
    mine = {"order_id": 1, "payment_token": token, "amount": 200}
    bad = [{**mine, "kind": 7}, {**mine, "attempt": 0}, {**mine, "kind": 1, "sequence": 1, "attempt": 2}, {**mine, "amount": 201}]
    for item in bad:
        flow.garbage(topics.PAYMENT_REQUESTS, codec.encode("PaymentRequests", requests(item)), home)
    flow.garbage(topics.PAYMENT_REQUESTS, codec.encode("PaymentRequests", requests(mine)), (home + 1) % flow.partitions)
    flow.garbage(topics.PAYMENT_REQUESTS, codec.encode("PaymentRequests", {**requests(mine), "amount": []}), home)
    flow.run()
    flow.wait(SLOW)
    flow.run()
    assert flow.dead() == ["FOREIGN_RECORD"] * 3 + ["INVALID_COMMAND"] * 2 + ["UNEQUAL_COLUMNS"]
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert flow.kept(1) == 200
    at_rest(flow)


@pytest.mark.parametrize("seed", range(25))
def test_late_payments_among_others_however_the_tasks_fare(seed: int) -> None:
    flow = shop(seed)
    flow.fates, flow.weights = SOUND, (6.0, 2.0, 2.0, 1.0)
    for order_id in range(1, 30):
        token = flow.rng.choice((SLOW_TOKEN, SILENT_TOKEN, TWICE_TOKEN, "tok_ok", "tok_declined"))
        flow.order(order_id, (A, 1), payment_token=token)
        if flow.rng.random() < 0.3:
            flow.command(flow.rng.choice(("CANCEL", "SHIP")), flow.rng.randrange(1, order_id + 1))
        for _ in range(flow.rng.randrange(4)):
            flow.step()
        flow.wait(flow.rng.choice((0, 10, SLOW, TIMEOUT)))
    at_rest(flow)
    assert len(flow.said(topics.PAYMENT_RESULTS, "PaymentResults")) > 0
