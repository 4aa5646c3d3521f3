"""What is not certain waits in the row, one request after the other; whatever the provider says and when, no money is lost."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.codec import decode, encode
from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import REVERSAL, Answer, Payment, Pending, Request, answered, contradiction, from_row, is_request, record, settle, to_row, wait

CHARGE = Request(PaymentKind.CHARGE, 7, 1, 0, 30, "GBP", "tok", "ann")
PAID, REFUNDED = Answer(PaymentResult.PAID), Answer(PaymentResult.REFUNDED)
NO = Answer(PaymentResult.DECLINED, "card expired")


def refund(amount: int, sequence: int = 1, attempt: int = 1) -> Request:
    return CHARGE._replace(kind=PaymentKind.REFUND, sequence=sequence, amount=amount, attempt=attempt)


def waiting(*requests: Request, row: Payment | None = None) -> Payment:
    for item, request in enumerate(requests):
        row = wait(row, Pending(request, 1_000, 5, item))
    assert row is not None
    return row


def test_what_waits_is_not_answered_and_what_is_answered_does_not_wait() -> None:
    assert answered(waiting(CHARGE), CHARGE) is None
    assert answered(waiting(refund(10), row=record(None, CHARGE, PAID)), CHARGE) == PAID


def test_a_refund_waits_for_its_charge_and_is_not_refused_meanwhile() -> None:
    row = waiting(CHARGE)
    assert answered(row, refund(30)) is None
    waiting(refund(30), row=row)
    assert row.first_pending() == Pending(CHARGE, 1_000, 5, 0)
    assert settle(row, CHARGE, PAID, doubtful=False) == [(CHARGE, PAID)]
    assert row.first_pending() == Pending(refund(30), 1_000, 5, 0)


def test_a_refund_of_a_charge_that_is_declined_is_declined_with_it_unasked() -> None:
    row = waiting(CHARGE, refund(30))
    said = settle(row, CHARGE, NO, doubtful=False)
    assert said == [(CHARGE, NO), (refund(30), Answer(PaymentResult.DECLINED, "attempt 1 has 0 left, not 30"))]
    assert not row.pending


def test_refunds_that_together_are_too_much_are_given_one_after_the_other() -> None:
    row = waiting(refund(20), refund(20, 2), refund(10, 3), row=record(None, CHARGE, PAID))
    said = settle(row, refund(20), REFUNDED, doubtful=False)
    assert [(request.sequence, answer.result) for request, answer in said] == [(1, PaymentResult.REFUNDED), (2, PaymentResult.DECLINED)]
    first = row.first_pending()
    assert first is not None
    assert first.request.sequence == 3


def test_an_order_is_charged_successfully_once() -> None:
    row = waiting(CHARGE, CHARGE._replace(attempt=2))
    said = settle(row, CHARGE, PAID, doubtful=False)
    assert said == [(CHARGE, PAID), (CHARGE._replace(attempt=2), Answer(PaymentResult.DECLINED, "attempt 1 was paid"))]
    assert answered(row, CHARGE._replace(attempt=3)) == Answer(PaymentResult.DECLINED, "attempt 1 was paid")


def test_the_next_attempt_is_asked_when_the_one_before_was_declined() -> None:
    row = waiting(CHARGE, CHARGE._replace(attempt=2))
    assert settle(row, CHARGE, NO, doubtful=False) == [(CHARGE, NO)]
    assert answered(row, CHARGE._replace(attempt=2)) is None
    assert list(row.pending) == [(2, 0)]


def test_a_repeat_of_what_waits_does_not_wait_twice() -> None:
    row = waiting(CHARGE)
    assert wait(row, Pending(CHARGE, 9_000, 8, 3)).pending == {(1, 0): Pending(CHARGE, 1_000, 5, 0)}


# -- a decline that may not be the whole truth -------------------------------------------------------------------------------


def test_a_decline_after_an_ask_that_nobody_answered_is_followed_by_a_reversal_before_all_else() -> None:
    row = waiting(CHARGE, refund(30), CHARGE._replace(attempt=2))
    assert settle(row, CHARGE, NO, doubtful=True) == [(CHARGE, NO)]
    assert list(row.pending) == [(1, REVERSAL), (1, 1), (2, 0)]
    first = row.first_pending()
    assert first is not None
    assert (first.request, first.since, first.offset) == (CHARGE._replace(kind=PaymentKind.REFUND, sequence=REVERSAL), 1_000, 5)


@pytest.mark.parametrize("answer", [REFUNDED, NO, NO._replace(moved_nothing=True)])
def test_a_reversal_answers_nobody_and_lets_the_others_go_on(answer: Answer) -> None:
    row = waiting(CHARGE, refund(30))
    settle(row, CHARGE, NO, doubtful=True)
    reversal = CHARGE._replace(kind=PaymentKind.REFUND, sequence=REVERSAL)
    assert [request for request, _ in settle(row, reversal, answer, doubtful=True)] == [refund(30)]
    assert not row.pending
    assert row.refunds == {}
    assert answered(row, CHARGE) == NO


@pytest.mark.parametrize(("answer", "doubtful"), [(PAID, True), (PAID, False), (NO, False)])
def test_no_other_answer_needs_one(answer: Answer, doubtful: bool) -> None:
    row = waiting(CHARGE)
    settle(row, CHARGE, answer, doubtful=doubtful)
    assert not row.pending


# -- what nobody can have asked ----------------------------------------------------------------------------------------------

CONTRADICTIONS: dict[str, tuple[Payment | None, Request, str]] = {
    "a refund of no attempt": (None, refund(30), "attempt 1, which was never charged"),
    "a refund of another attempt": (record(None, CHARGE, PAID), refund(30, attempt=2), "attempt 2, which was never charged"),
    "another amount than before": (record(None, CHARGE, PAID), CHARGE._replace(amount=31), "asked for 30 before, and now for 31"),
    "another amount than what waits": (waiting(CHARGE), CHARGE._replace(amount=29), "asked for 30 before, and now for 29"),
    "a refund of another amount": (record(record(None, CHARGE, PAID), refund(10), REFUNDED), refund(11), "asked for 10 before, and now for 11"),
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_contradictions(case: str) -> None:
    row, request, why = CONTRADICTIONS[case]
    assert why in (contradiction(row, request) or "")


@pytest.mark.parametrize("row", [None, waiting(CHARGE), record(None, CHARGE, PAID), record(None, CHARGE, NO)])
def test_the_charge_itself_never_contradicts_its_row(row: Payment | None) -> None:
    assert contradiction(row, CHARGE) is None
    assert row is None or contradiction(row, refund(30)) is None


@pytest.mark.parametrize(
    ("kind", "sequence", "expected"),
    [*((0, 0, True), (1, 1, True), (1, 9, True), (0, 1, False), (1, 0, False), (1, -1, False)), *((2, 0, True), (2, 1, False), (3, 0, False))],
)
def test_what_a_request_is(kind: int, sequence: int, expected: bool) -> None:
    assert is_request(kind, sequence) is expected


# -- the changelog -----------------------------------------------------------------------------------------------------------


def test_a_row_with_pending_requests_comes_back() -> None:
    row = waiting(refund(10), refund(5, 2), CHARGE._replace(attempt=2, payment_token="tok_ä"), row=record(None, CHARGE, PAID))
    settle(row, refund(10), REFUNDED, doubtful=True)
    assert to_row(row)["unanswered"] == 2
    again = from_row(decode(encode("PaymentRow", to_row(row))).value)
    assert again == row
    assert list(again.pending) == list(row.pending)


# -- whatever happens --------------------------------------------------------------------------------------------------------


class Bank:
    """A provider that may lose its answers and, when it is asked again, say the opposite. Money moves once per key."""

    def __init__(self, says: Sequence[PaymentResult]) -> None:
        self.says = iter(says)
        self.done: dict[tuple[int, int], PaymentResult] = {}

    def ask(self, request: Request, lies: bool) -> Answer:
        first = request.key not in self.done
        if request.kind == PaymentKind.CHARGE:
            result = self.done.setdefault(request.key, next(self.says, PaymentResult.PAID))
        elif self.taken(request.attempt) >= request.amount or not first:
            result = self.done.setdefault(request.key, PaymentResult.REFUNDED)
        else:
            return Answer(PaymentResult.DECLINED, "nothing there", moved_nothing=True)
        return Answer(PaymentResult.DECLINED, "no") if lies and not first and request.sequence == 0 else Answer(result)

    def taken(self, attempt: int) -> int:
        charge = 30 if self.done.get((attempt, 0)) is PaymentResult.PAID else 0
        back = {REVERSAL: 30, 1: 10, 2: 20}
        return charge - sum(back[s] for (a, s), result in self.done.items() if a == attempt and s and result is PaymentResult.REFUNDED)


requests = st.sampled_from([CHARGE, refund(10), refund(20, 2), CHARGE._replace(attempt=2), refund(10, attempt=2)])
asks = st.sampled_from(["answered", "lost", "lost, then a lie"])


@settings(max_examples=300, deadline=None)
@given(st.lists(requests, max_size=8), st.lists(asks, max_size=12), st.lists(st.sampled_from([PaymentResult.PAID, PaymentResult.DECLINED]), max_size=2))
def test_every_request_is_answered_and_what_is_kept_is_what_was_taken(came: list[Request], fates: list[str], says: list[PaymentResult]) -> None:
    """Asked as the stage does: a request that comes while others are pending waits behind them; answers may get lost."""
    row, bank, said, fate = Payment(7), Bank(says), dict[tuple[int, int], Answer](), iter(fates)
    taken = set()
    for number, request in enumerate(came):
        if contradiction(row, request) is not None:
            continue
        taken.add(request.key)
        answer = answered(row, request)
        if answer is None:
            wait(row, Pending(request, 0, number, 0))
        else:
            assert said.setdefault(request.key, answer) == answer or answer.result is PaymentResult.DECLINED
        if number % 2:
            _ask(row, bank, said, next(fate, "answered"))
    while row.pending:
        row = from_row(decode(encode("PaymentRow", to_row(row))).value)
        _ask(row, bank, said, next(fate, "answered"))
    assert taken == set(said)
    assert sum(charge.result is PaymentResult.PAID for charge in row.charges.values()) <= 1
    for attempt in row.charges:
        assert row.kept(attempt) == bank.taken(attempt), "the row and the provider differ about the money"


def _ask(row: Payment, bank: Bank, said: dict[tuple[int, int], Answer], fate: str) -> None:
    first = row.first_pending()
    if first is None:
        return
    if fate != "answered":
        bank.ask(first.request, lies=False)
    answer = bank.ask(first.request, lies=fate == "lost, then a lie")
    for request, each in settle(row, first.request, answer, doubtful=fate != "answered"):
        # What is declined without asking, and a declined refund, are not remembered: asked again, they are answered again.
        before = said.get(request.key, NO)
        assert before.result is PaymentResult.DECLINED, "answered twice"
        assert request.key not in said or request.sequence or each.result is PaymentResult.DECLINED, "answered otherwise than before"
        said[request.key] = each
