"""What may happen to an order later: shipped, returned, said again, contradicted; and products of a kind."""

import pytest

from tests.flow.shop import A, B, C, levels
from tests.support.flow import Flow


def test_ship_whole_and_return_whole(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 3))
    flow.settle()
    flow.command("SHIP", 1)
    flow.settle()
    assert levels(flow)[:2] == [(8, 0, 2), (7, 0, 3)]
    flow.command("RETURN", 1)
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED", "SHIPPED SHIPPED", "RETURNED RETURNED", "AMENDED RETURNED"]
    assert levels(flow)[:2] == [(10, 0, 2), (10, 0, 3)]
    assert flow.kept(1) == 0
    flow.assert_clean()


def test_ship_in_parts_and_return_in_parts(flow: Flow) -> None:
    flow.order(1, (A, 4), (B, 1))
    flow.settle()
    for act in (("SHIP", 1, 1), ("RETURN", 1, 1, 3), ("SHIP", 1, 2), ("RETURN", 1, 1), ("RETURN", 1, 2)):
        flow.command(*act)
        flow.settle()
    words = [word for word in flow.history(1) if not word.startswith("AMENDED")]
    assert words == ["DECIDED CONFIRMED", "SHIPPED CONFIRMED", "RETURNED CONFIRMED", "SHIPPED SHIPPED", "RETURNED SHIPPED", "RETURNED RETURNED"]
    assert flow.outcomes(1)[-1]["refunded"] == 500
    assert levels(flow)[:2] == [(10, 0, 4), (10, 0, 1)]
    flow.assert_clean()


def test_commands_that_make_no_sense_are_refused_with_their_reason(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 1))
    flow.order(2, (C, 7))
    flow.settle()
    for act in (("RETURN", 1), ("SHIP", 1, 3), ("SHIP", 2), ("RETURN", 2), ("SHIP", 77), ("SHIP", 1, 1), ("SHIP", 1, 1), ("RETURN", 1, 1, 3), ("RETURN", 1, 2)):
        flow.command(*act)
        flow.settle()
    assert sorted(flow.refusals()) == [
        ("RETURN", 1, "NOT_SHIPPED"),
        ("RETURN", 1, "NOT_SHIPPED"),
        ("RETURN", 1, "RETURN_EXCEEDS_SHIPPED"),
        ("RETURN", 2, "NOT_SHIPPED"),
        ("SHIP", 1, "ALREADY_SHIPPED"),
        ("SHIP", 1, "UNKNOWN_LINE"),
        ("SHIP", 2, "NOT_CONFIRMED"),
        ("SHIP", 77, "UNKNOWN_ORDER"),
    ]
    flow.assert_clean()


def test_commands_said_twice_are_carried_out_once(flow: Flow) -> None:
    flow.order(1, (A, 4))
    flow.settle()
    for _ in range(2):
        flow.command("SHIP", 1, command_id="parcel")
        flow.command("RETURN", 1, 1, 1, command_id="back")
        flow.stock("RESTOCK", B, 5, command_id="receipt")
    flow.settle()
    assert flow.level(A) == (7, 0, 4)
    assert flow.level(B) == (15, 0, 0)
    assert flow.outcomes(1)[-1]["refunded"] == 100
    assert flow.refusals() == []
    flow.assert_clean()


@pytest.mark.parametrize("when", ["at once", "after it was decided", "after it was shipped"])
def test_lines_sent_twice_are_held_once(flow: Flow, when: str) -> None:
    lines = flow.order(1, (A, 2), (B, 3))
    if when != "at once":
        flow.settle()
    if when == "after it was shipped":
        flow.command("SHIP", 1)
        flow.settle()
    for line in lines:
        flow.send_line(line)
    flow.settle()
    assert [word for word in flow.history(1) if word.startswith("DECIDED")] == ["DECIDED CONFIRMED"]
    shipped = when == "after it was shipped"
    assert levels(flow)[:2] == [(8, 0, 2) if shipped else (8, 2, 0), (7, 0, 3) if shipped else (7, 3, 0)]
    assert flow.dead() == []
    flow.assert_clean()


def test_a_duplicate_that_finds_no_stock_changes_nothing(flow: Flow) -> None:
    lines = flow.order(1, (C, 1))
    flow.settle()
    flow.send_line(lines[0])
    flow.settle()
    assert flow.history(1) == ["DECIDED CONFIRMED"]
    flow.assert_clean()


def test_two_different_orders_under_one_id(flow: Flow) -> None:
    flow.order(1, (A, 2), (B, 3), user_id="ann")
    flow.order(1, (A, 1), (C, 1), user_id="bob")
    flow.settle()
    (decided,) = [word for word in flow.history(1) if word.startswith("DECIDED")]
    assert decided == "DECIDED CONFIRMED"
    assert set(flow.dead()) == {"CONFLICTING_ORDER"}
    reserved = sum(flow.level(product_id)[1] for product_id in (A, B, C))
    assert reserved in (5, 2)
    flow.assert_clean()


def test_an_untracked_product_is_made_to_order(flow: Flow) -> None:
    flow.stock("UNTRACK", "POST")
    flow.run()
    flow.order(1, (A, 1), ("POST", 1_000))
    flow.order(2, (C, 9), ("POST", 5))
    flow.settle()
    flow.command("SHIP", 1)
    flow.settle()
    flow.command("RETURN", 1, 2, 10)
    flow.settle()
    assert flow.history(1)[0] == "DECIDED CONFIRMED"
    assert flow.history(2)[0] == "DECIDED REJECTED"
    assert flow.level("POST") == (0, 0, 1_000)
    flow.assert_clean()


def test_a_frozen_product_refuses_and_keeps_its_holds(flow: Flow) -> None:
    flow.order(1, (A, 2))
    flow.settle()
    flow.stock("FREEZE", A)
    flow.run()
    flow.order(2, (A, 1), (B, 1))
    flow.settle()
    flow.command("SHIP", 1)
    flow.stock("UNFREEZE", A)
    flow.run()
    flow.order(3, (A, 1))
    flow.settle()
    assert [flow.history(n)[0] for n in (1, 2, 3)] == ["DECIDED CONFIRMED", "DECIDED REJECTED", "DECIDED CONFIRMED"]
    assert flow.outcomes(2)[0]["refusal"] == "PRODUCT_FROZEN"
    assert flow.level(A) == (7, 1, 2)
    flow.assert_clean()


def test_counts_and_write_offs(flow: Flow) -> None:
    flow.order(1, (A, 4))
    flow.settle()
    flow.stock("COUNT", A, 7, as_of=flow.now)
    flow.stock("COUNT", B, 12, as_of=flow.now)
    flow.stock("WRITE_OFF", C, 5)
    flow.stock("FOUND", C, 5)
    flow.settle()
    assert levels(flow) == [(3, 4, 0), (12, 0, 0), (6, 0, 0)]
    flow.assert_clean()
