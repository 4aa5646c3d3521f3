"""How an order is decided: through all three stages, audited at its end."""

from schemas import topics
from streams.payments.sandbox import DECLINED_TOKEN
from tests.flow.shop import UNTOUCHED, A, B, C, header, levels
from tests.support.flow import TIMEOUT, Flow


def test_all_lines_held_and_paid_is_confirmed(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 3), (C, 1))
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert levels(flow) == [(8, 2, 0), (7, 3, 0), (0, 1, 0)]
    assert flow.kept(1) == 600
    flow.assert_clean()


def test_one_line_refused_rejects_and_releases_all(flow: Flow) -> None:
    flow.order(1, (A, 2), (C, 2), (B, 3))
    flow.settle()
    assert flow.history(1)[0] == "DECIDED REJECTED"
    assert set(flow.history(1)[1:]) <= {"AMENDED REJECTED"}
    assert [(line["line"], line["status"]) for line in flow.outcomes(1)[-1]["lines"]] == [(1, "RELEASED"), (2, "REFUSED"), (3, "RELEASED")]
    assert levels(flow) == UNTOUCHED
    assert flow.kept(1) == 0
    flow.assert_clean()


def test_the_last_unit_goes_to_one_of_two(flow: Flow) -> None:
    for order_id in (1, 2):
        flow.order(order_id, (A, 1), (C, 1))
    flow.settle()
    assert sorted(flow.history(order_id)[0] for order_id in (1, 2)) == ["DECIDED CONFIRMED", "DECIDED REJECTED"]
    assert levels(flow) == [(9, 1, 0), (10, 0, 0), (0, 1, 0)]
    flow.assert_clean()


def test_two_lines_of_one_product_are_two_holds(flow: Flow) -> None:
    flow.order(1, (A, 4), (A, 6))
    flow.settle()
    flow.command("SHIP", 1, line=2)
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED", "SHIPPED CONFIRMED"]
    assert flow.level(A) == (0, 4, 6)
    flow.assert_clean()


def test_declined_releases_all(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 3), payment_token=DECLINED_TOKEN)
    flow.settle()
    assert flow.history(1) == ["DECIDED PAYMENT_FAILED"]
    assert flow.outcomes(1)[0]["refusal"] == "PAYMENT_DECLINED"
    assert levels(flow) == UNTOUCHED
    flow.assert_clean()


def test_a_free_order_is_confirmed_without_a_charge(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 1), unit_price=0)
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    assert flow.said(topics.PAYMENT_REQUESTS, "PaymentRequests") == []
    flow.assert_clean()


def test_an_order_with_a_line_that_never_comes_expires(flow: Flow) -> None:
    first, _ = flow.order(9, (A, 1), (B, 1))  # ID 9 is complete; ID 1 lacks its second line
    flow.send_line({**first, "order_id": 1})
    flow.run()
    flow.wait(TIMEOUT - 1_000)
    flow.run()
    assert flow.history(1) == []
    flow.settle()
    assert flow.history(1) == ["DECIDED EXPIRED"]
    assert flow.level(A) == (9, 1, 0)
    flow.assert_clean()


def test_the_line_that_comes_after_the_deadline_is_released(flow: Flow) -> None:
    for n, product_id in ((1, A), (2, B)):
        flow.send_line({"order_id": 1, "line": n, "line_count": 2, "product_id": product_id, "quantity": 1, **header(flow)})
        flow.settle()
    assert flow.history(1) == ["DECIDED EXPIRED", "AMENDED EXPIRED"]
    assert levels(flow) == UNTOUCHED
    flow.assert_clean()


def test_a_cancel_before_the_first_line(flow: Flow) -> None:
    flow.command("CANCEL", 1)
    flow.run()
    flow.order(1, (A, 2), (C, 2))
    flow.settle()
    assert flow.history(1)[0] == "DECIDED CANCELLED"
    assert levels(flow) == UNTOUCHED
    flow.assert_clean()


def test_a_cancel_of_an_order_that_never_comes_is_refused_at_the_deadline(flow: Flow) -> None:
    flow.command("CANCEL", 1)
    flow.command("CANCEL", 1)
    flow.run()
    assert flow.refusals() == []
    flow.settle()
    assert flow.refusals() == [("CANCEL", 1, "UNKNOWN_ORDER")] * 2
    assert flow.history(1) == []
    flow.assert_clean()


def test_an_order_that_comes_after_its_cancel_was_forgotten_is_decided_anew(flow: Flow) -> None:
    flow.command("CANCEL", 1)
    flow.settle()
    flow.order(1, (A, 1))
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    flow.assert_clean()


def test_a_cancel_after_the_first_line_releases_it_and_what_comes_later(flow: Flow) -> None:
    first, second = ({"order_id": 1, "line": n, "line_count": 2, "product_id": product_id, "quantity": n, **header(flow)} for n, product_id in ((1, A), (2, B)))
    flow.send_line(first)
    flow.run()
    assert flow.level(A) == (9, 1, 0)
    flow.command("CANCEL", 1)
    flow.run()
    assert flow.level(A) == (10, 0, 0)
    flow.send_line(second)
    flow.settle()
    assert flow.history(1) == ["DECIDED CANCELLED", "AMENDED CANCELLED"]
    assert levels(flow) == UNTOUCHED
    flow.assert_clean()


def test_a_cancel_while_paying_wins_and_the_money_goes_back(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 3))
    flow.run("stock", "orders")
    flow.command("CANCEL", 1)
    flow.run("orders")
    assert flow.history(1) == ["DECIDED CANCELLED"]
    flow.settle()
    assert flow.history(1) == ["DECIDED CANCELLED", "AMENDED CANCELLED", "AMENDED CANCELLED"]
    assert flow.outcomes(1)[-1]["charged"] == flow.outcomes(1)[-1]["refunded"] == 500
    assert flow.kept(1) == 0
    assert levels(flow) == UNTOUCHED
    flow.assert_clean()


def test_an_order_that_expires_while_paying_keeps_no_money(flow: Flow) -> None:
    flow.order(1, (A, 2))
    flow.run("stock", "orders")
    flow.wait()
    flow.run("orders")
    flow.settle()
    assert flow.history(1)[0] == "DECIDED EXPIRED"
    assert flow.kept(1) == 0
    assert flow.level(A) == (10, 0, 0)
    flow.assert_clean()


def test_a_cancel_of_a_declined_payment_needs_no_refund(flow: Flow) -> None:
    flow.order(1, (A, 2), payment_token=DECLINED_TOKEN)
    flow.run("stock", "orders")
    flow.command("CANCEL", 1)
    flow.run("orders")
    flow.settle()
    assert flow.history(1) == ["DECIDED CANCELLED"]
    flow.assert_clean()


def test_a_cancel_after_the_decision_is_refused(flow: Flow) -> None:
    flow.order(1, (A, 2))
    flow.order(2, (C, 5))
    flow.settle()
    flow.command("CANCEL", 1)
    flow.command("CANCEL", 2)
    flow.settle()
    assert sorted(flow.refusals()) == [("CANCEL", 1, "ALREADY_DECIDED"), ("CANCEL", 2, "ALREADY_DECIDED")]
    flow.assert_clean()
