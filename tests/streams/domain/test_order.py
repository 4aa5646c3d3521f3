"""The saga's finer points: duplicates, conflicts, invalid lines, partial ships and returns, money, command IDs."""

from __future__ import annotations

import pytest

from schemas.codec import decode, encode
from schemas.outcomes import MAX_COMMAND_ID_LENGTH, MAX_ORDER_ID, LineStatus, OrderCommandKind, OutcomeChange, PaymentKind, PaymentResult, Refusal
from streams.domain import order as saga
from streams.domain.order_state import REMEMBERED_COMMANDS
from tests.streams.domain.events import NOW, ORDER, TIME_UP, TIMEOUT, Saga, cancel, declined, give_back, line, paid, refund, refused, ship

CONFIRMED = (line(1), line(2), paid())
SHIPPED = (*CONFIRMED, ship(command_id="all"))
RELEASE_1, RELEASE_2 = "RELEASE:1x1", "RELEASE:2x2"

# After these events, this one leads to that.
CASES = {
    "lines in any order": ((line(2),), line(1), "PAYING CHARGE:1.0=30"),
    "one line, nothing to pay": ((), line(1, of=1, unit_price=0), "CONFIRMED DECIDED"),
    "two lines of one product are two holds": ((line(1),), line(2, product_id="p1"), "PAYING CHARGE:1.0=30"),
    "the same line again, before the rest": ((line(1),), line(1), f"RESERVING {RELEASE_1}"),
    "the same line again, refused": ((line(1),), refused(1), "RESERVING"),
    "the same line with another quantity": ((line(1),), line(1, quantity=9), "RESERVING RELEASE:1x9 DEAD:CONFLICTING_ORDER"),
    "the same line with another price": ((line(1),), line(1, unit_price=9), f"RESERVING {RELEASE_1} DEAD:CONFLICTING_ORDER"),
    "the same line of another product": ((line(1),), line(1, product_id="x"), f"RESERVING {RELEASE_1} DEAD:CONFLICTING_ORDER"),
    "another user's line": ((line(1),), line(2, user_id="bob"), f"RESERVING {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "a line in another currency": ((line(1),), line(2, currency="EUR"), f"RESERVING {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "a line with another token": ((line(1),), line(2, payment_token="x"), f"RESERVING {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "a line of another number of lines": ((line(1),), line(2, of=3), f"RESERVING {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "placed at another time is no conflict": ((line(1),), line(2, placed_at=6), "PAYING CHARGE:1.0=30"),
    "another user's refusal": ((line(1),), refused(2, user_id="bob"), "RESERVING DEAD:CONFLICTING_ORDER"),
    "another user's line, once confirmed": (CONFIRMED, line(2, user_id="bob"), f"CONFIRMED {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "another user's refusal, once confirmed": (CONFIRMED, refused(2, user_id="bob"), "CONFIRMED DEAD:CONFLICTING_ORDER"),
    "another user's line, once rejected": ((refused(1),), line(2, user_id="bob"), f"REJECTED {RELEASE_2} DEAD:CONFLICTING_ORDER"),
    "another user's refusal, once rejected": ((refused(1),), refused(2, user_id="bob"), "REJECTED DEAD:CONFLICTING_ORDER"),
    "an invalid line rejects": ((line(1),), refused(2, refusal=Refusal.INVALID_PRICE), f"REJECTED {RELEASE_1} DECIDED"),
    "an invalid line rejects, whoever's": ((line(1),), refused(2, refusal=Refusal.INVALID_USER, user_id=""), f"REJECTED {RELEASE_1} DECIDED"),
    "an invalid line under a known number": ((line(1),), refused(1, refusal=Refusal.INVALID_QUANTITY), f"REJECTED {RELEASE_1} DECIDED"),
    "an invalid line while paying": ((line(1), line(2)), refused(2, refusal=Refusal.UNKNOWN_CURRENCY, currency="XXX"), "PAYING"),
    "an invalid line, once rejected": ((refused(1),), refused(2, refusal=Refusal.INVALID_TOKEN, payment_token="x"), "REJECTED"),
    "a line number no order has": ((), refused(2_000, refusal=Refusal.INVALID_LINE), "REJECTED DECIDED"),
    "a line number no order has, later": ((refused(1),), refused(2_000, refusal=Refusal.INVALID_LINE), "REJECTED"),
    "the refused line again, held now": ((refused(2), line(1)), line(2), f"REJECTED {RELEASE_2}"),
    "the refused line again, refused": ((refused(2), line(1)), refused(2), "REJECTED"),
    "the late line again": ((refused(2), line(1)), line(1), f"REJECTED {RELEASE_1}"),
    "the early cancel again": ((cancel(),), cancel(), "CANCEL_PENDING"),
    "the early cancels are all refused": ((cancel("a"), cancel("b")), TIME_UP, "UNKNOWN NO:UNKNOWN_ORDER NO:UNKNOWN_ORDER"),
    "the order comes after the cancel is forgotten": ((cancel(), TIME_UP), line(1), "RESERVING"),
    "the cancel again, once it has won": ((line(1), cancel()), cancel(), "CANCELLED"),
    "the cancel again, after it waited": ((cancel(), line(1)), cancel(), "CANCELLED"),
    "another cancel": ((line(1), cancel()), cancel("other"), "CANCELLED NO:ALREADY_DECIDED"),
    "paid after the cancel": ((line(1), line(2), cancel()), paid(), "CANCELLED REFUND:1.1=30 AMENDED"),
    "paid after the cancel, again": ((line(1), line(2), cancel(), paid()), paid(), "CANCELLED"),
    "declined after the cancel": ((line(1), line(2), cancel()), declined(), "CANCELLED"),
    "paid after expiry": ((line(1), line(2), TIME_UP), paid(), "EXPIRED REFUND:1.1=30 AMENDED"),
    "given back after expiry": ((line(1), line(2), TIME_UP, paid()), refund(), "EXPIRED AMENDED"),
    "given back, said twice": ((line(1), line(2), TIME_UP, paid(), refund()), refund(), "EXPIRED"),
    "not given back": ((line(1), line(2), TIME_UP, paid()), refund(PaymentResult.DECLINED), "EXPIRED DEAD:REFUND_DECLINED"),
    "cancelled after payment": (CONFIRMED, cancel(), "CONFIRMED NO:ALREADY_DECIDED"),
    "another attempt is paid while paying": ((line(1), line(2)), paid(attempt=2), "PAYING REFUND:2.1=30"),
    "another attempt is declined while paying": ((line(1), line(2)), declined(attempt=2), "PAYING"),
    "another attempt is paid, once confirmed": (CONFIRMED, paid(attempt=2), "CONFIRMED REFUND:2.1=30"),
    "another attempt is paid, once given back": ((line(1), line(2), TIME_UP, paid()), paid(attempt=2), "EXPIRED REFUND:2.1=30"),
    "another attempt's refund": ((line(1), line(2), TIME_UP, paid()), refund(attempt=2), "EXPIRED"),
    "money before it is asked for uses up the attempt": ((line(1), paid()), line(2), "PAYING CHARGE:2.0=30"),
    "that money again": ((line(1), paid(), line(2)), paid(), "PAYING REFUND:1.1=30"),
    "ship one line": (CONFIRMED, ship(1), "CONFIRMED SHIP:1x1 SHIPPED"),
    "ship the last line": ((*CONFIRMED, ship(1)), ship(2), "SHIPPED SHIP:2x2 SHIPPED"),
    "ship what is left": ((*CONFIRMED, ship(1)), ship(), "SHIPPED SHIP:2x2 SHIPPED"),
    "ship a line again": ((*CONFIRMED, ship(1)), ship(1, command_id="again"), "CONFIRMED NO:ALREADY_SHIPPED"),
    "ship with the same ID": ((*CONFIRMED, ship(1)), ship(1), "CONFIRMED"),
    "ship a line the order does not have": (CONFIRMED, ship(3), "CONFIRMED NO:UNKNOWN_LINE"),
    "ship such a line, once shipped": (SHIPPED, ship(3), "SHIPPED NO:UNKNOWN_LINE"),
    "return an unshipped line": ((*CONFIRMED, ship(1)), give_back(2), "CONFIRMED NO:NOT_SHIPPED"),
    "return before the rest is shipped": ((*CONFIRMED, ship(1)), give_back(), "CONFIRMED RETURN:1x1 REFUND:1.1=10 RETURNED"),
    "ship the rest after a return": ((*CONFIRMED, ship(1), give_back(1)), ship(2), "SHIPPED SHIP:2x2 SHIPPED"),
    "ship a returned line": ((*CONFIRMED, ship(1), give_back(1)), ship(1, command_id="x"), "CONFIRMED NO:ALREADY_SHIPPED"),
    "return some units": (SHIPPED, give_back(2, 1), "SHIPPED RETURN:2x1 REFUND:1.1=10 RETURNED"),
    "return the other unit": ((*SHIPPED, give_back(2, 1)), give_back(2), "SHIPPED RETURN:2x1 REFUND:1.2=10 RETURNED"),
    "return the rest": ((*SHIPPED, give_back(2, 1)), give_back(), "RETURNED RETURN:1x1 RETURN:2x1 REFUND:1.2=20 RETURNED"),
    "return more than is left": ((*SHIPPED, give_back(2, 1)), give_back(2, 2), "SHIPPED NO:RETURN_EXCEEDS_SHIPPED"),
    "return a line that is back": ((*SHIPPED, give_back(2)), give_back(2, command_id="x"), "SHIPPED NO:RETURN_EXCEEDS_SHIPPED"),
    "return with the same ID": ((*SHIPPED, give_back(2, 1)), give_back(2, 1), "SHIPPED"),
    "return a line the order does not have": (SHIPPED, give_back(3), "SHIPPED NO:UNKNOWN_LINE"),
    "return what cost nothing": ((line(1, of=1, unit_price=0), ship()), give_back(), "RETURNED RETURN:1x1 RETURNED"),
    "a refused command is decided anew": ((line(1), line(2), ship(), paid()), ship(), "SHIPPED SHIP:1x1 SHIP:2x2 SHIPPED"),
}


@pytest.mark.parametrize("case", CASES)
def test_case(case: str) -> None:
    events, event, expected = CASES[case]
    assert Saga(*events).hear(event) == expected


def test_a_deadline_that_is_early_is_nothing() -> None:
    order, _ = saga.decide(None, line(1), NOW, TIMEOUT)
    assert order is not None
    assert saga.due(order) == NOW + TIMEOUT
    again, effects = saga.decide(order, TIME_UP, NOW + TIMEOUT - 1, TIMEOUT)
    assert (again, effects) == (order, [])
    assert again.status.name == "RESERVING"


def test_the_deadline_counts_from_the_first_event_to_the_decision() -> None:
    order, _ = saga.decide(None, cancel(), NOW, TIMEOUT)
    assert order is not None
    assert saga.due(order) == NOW + TIMEOUT
    saga.decide(order, line(1), NOW + 10, TIMEOUT)
    assert saga.due(order) == 0


def test_refunds_of_a_whole_return_equal_the_charge() -> None:
    order = Saga(*SHIPPED, give_back(2, 1), give_back(1), give_back(2, 1, "last")).order
    assert order is not None
    assert (order.status.name, order.refund_asked, order.charged, order.open_refunds) == ("RETURNED", 30, 30, [1, 2, 3])


def test_answers_to_refunds_may_come_in_any_order_and_twice() -> None:
    order = Saga(*SHIPPED, give_back(1), give_back(2), *[refund(amount=a, sequence=s) for a, s in ((20, 2), (20, 2), (10, 1), (10, 1))])
    assert [outcome["refunded"] for outcome in order.outcomes[-2:]] == [20, 30]
    assert len(order.outcomes) == 6


def test_the_last_64_commands_are_remembered() -> None:
    quantity = REMEMBERED_COMMANDS + 2
    order = Saga(line(1, of=1, quantity=quantity), paid(quantity * 10), ship())
    for n in range(REMEMBERED_COMMANDS + 1):
        order.hear(give_back(1, 1, f"r{n}"))
    assert order.hear(give_back(1, 1, "r1")) == "SHIPPED"
    assert order.hear(give_back(1, 1, "r0")).startswith("RETURNED RETURN:1x1")


def test_the_outcome_of_a_confirmed_order() -> None:
    [outcome] = Saga(line(2), line(1), paid()).outcomes
    assert decode(encode("OrderOutcome", outcome)).value == outcome
    assert outcome | {"lines": []} == {
        **{"order_id": ORDER, "version": 1, "change": "DECIDED", "status": "CONFIRMED", "refusal": "", "user_id": "ann", "currency": "GBP"},
        **{"amount": 30, "charged": 30, "refunded": 0, "attempt": 1, "line_count": 2, "lines": []},
        **{"placed_at": 5, "decided_at": NOW, "changed_at": NOW},
    }
    assert [(one["line"], one["product_id"], one["quantity"], one["status"], one["refusal"], one["returned"]) for one in outcome["lines"]] == [
        (1, "p1", 1, "HELD", "", 0),
        (2, "p2", 2, "HELD", "", 0),
    ]


def test_the_outcomes_of_a_rejected_order() -> None:
    first, second = Saga(refused(2), line(1)).outcomes
    assert (first["status"], first["refusal"], first["attempt"], first["charged"]) == ("REJECTED", "INSUFFICIENT_STOCK", 0, 0)
    assert [(one["line"], one["status"], one["refusal"]) for one in second["lines"]] == [(1, "RELEASED", ""), (2, "REFUSED", "INSUFFICIENT_STOCK")]
    assert (second["version"], second["change"], second["decided_at"]) == (2, "AMENDED", NOW)


def test_numbers_of_an_invalid_line_count_nothing() -> None:
    """Whatever a producer writes into a long, the outcome must be encodable."""
    huge = 2**62
    [outcome] = Saga(refused(1, refusal=Refusal.INVALID_QUANTITY, quantity=huge, unit_price=huge)).outcomes
    assert outcome["amount"] == 0
    assert decode(encode("OrderOutcome", outcome)).value["lines"][0]["quantity"] == huge


def test_the_largest_order_has_an_outcome() -> None:
    order = Saga(*(line(n, of=1_000, quantity=10**6, unit_price=10**9) for n in range(1, 1_001)), paid(10**18))
    assert encode("OrderOutcome", order.outcomes[0])
    assert order.outcomes[0]["amount"] == order.outcomes[0]["charged"] == 10**18


def test_a_lines_number_that_no_order_has_is_not_shown() -> None:
    [outcome] = Saga(refused(2_000, refusal=Refusal.INVALID_LINE)).outcomes
    assert (outcome["lines"], outcome["refusal"]) == ([], "INVALID_LINE")


def test_a_refused_command_names_what_was_asked() -> None:
    answer = saga.refused(give_back(3, 2, "r"), Refusal.UNKNOWN_LINE, NOW)
    assert decode(encode("OrderCommandRefused", answer)).value == answer
    assert (answer["kind"], answer["line"], answer["quantity"], answer["refusal"]) == ("RETURN", 3, 2, "UNKNOWN_LINE")


def test_to_decide_twice_is_a_bug() -> None:
    order = Saga(*CONFIRMED).order
    assert order is not None
    with pytest.raises(AssertionError, match="DECIDED at version 1"):
        saga.publish(order, OutcomeChange.DECIDED, NOW)


def test_to_amend_before_the_decision_is_a_bug() -> None:
    order = Saga(line(1)).order
    assert order is not None
    with pytest.raises(AssertionError, match="AMENDED at version 0"):
        saga.publish(order, OutcomeChange.AMENDED, NOW)


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ((0, "c", 1, 0, 0), None),
        ((1, "c", MAX_ORDER_ID, 5, 0), None),
        ((2, "c" * MAX_COMMAND_ID_LENGTH, 1, 5, 3), None),
        ((2, "c", 1, 0, 0), None),
        ((3, "c", 1, 0, 0), "kind 3"),
        ((0, "", 1, 0, 0), "128 characters, not 0"),
        ((0, "c" * 129, 1, 0, 0), "not 129"),
        ((0, "c", 0, 0, 0), "order ID is over 0, not 0"),
        ((1, "c", 1, -1, 0), "line number"),
        ((1, "c", 1, 1, -1), "quantity"),
        ((0, "c", 1, 1, 0), "CANCEL is for the whole order"),
        ((2, "c", 1, 0, 3), "must name their line"),
    ],
)
def test_impossible_commands(fields: tuple[int, str, int, int, int], says: str | None) -> None:
    detail = saga.check_order_command(*fields)
    assert detail is None if says is None else says in str(detail)


@pytest.mark.parametrize("events", [(cancel(),), (line(1),), CONFIRMED, (*SHIPPED, give_back(2, 1)), (refused(2), line(1))])
def test_a_row_comes_back_from_the_changelog(events: tuple[saga.Event, ...]) -> None:
    order = Saga(*events).order
    assert order is not None
    again = saga.from_row(decode(encode("OrderRow", saga.to_row(order))).value)
    assert again == order
    assert all(isinstance(known.status, LineStatus) for known in again.lines.values())


def test_a_row_from_before_a_field_was_there_is_not_changed_by_reading() -> None:
    order = Saga(line(1)).order
    assert order is not None
    row = saga.to_row(order)
    order.lines[1].status = LineStatus.RELEASED
    order.recent_commands.append("later")
    assert saga.from_row(row).lines[1].status is LineStatus.HELD
    assert row["recent_commands"] == []


def test_kinds_come_as_enums_or_as_the_numbers_of_a_column() -> None:
    """Columnar records carry codes as bytes: ints, not enums."""
    plain = saga.OrderCommand(int(OrderCommandKind.CANCEL), "c", ORDER, 0, 0, "")
    assert Saga(line(1)).hear(plain).startswith("CANCELLED")
    answer = paid()._replace(kind=int(PaymentKind.CHARGE), result=int(PaymentResult.PAID))
    assert Saga(line(1), line(2)).hear(answer) == "CONFIRMED DECIDED"
