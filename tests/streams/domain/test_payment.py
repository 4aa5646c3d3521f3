"""The same request gets the same answer; no more money goes back than came."""

from __future__ import annotations

import pytest

from schemas.codec import decode, encode
from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Payment, Request, answered, from_row, record, to_row

CHARGE = Request(PaymentKind.CHARGE, 7, 1, 0, 30, "GBP", "tok", "ann")
PAID, REFUNDED = Answer(PaymentResult.PAID), Answer(PaymentResult.REFUNDED)
NO = Answer(PaymentResult.DECLINED, "card expired")


def refund(amount: int, sequence: int = 1, attempt: int = 1) -> Request:
    return CHARGE._replace(kind=PaymentKind.REFUND, sequence=sequence, amount=amount, attempt=attempt)


def paid(*refunds: Request) -> Payment:
    row = record(None, CHARGE, PAID)
    for request in refunds:
        row = record(row, request, REFUNDED)
    return row


LEFT = "attempt 1 has {} left, not {}"
CASES: dict[str, tuple[Payment | None, Request, Answer | None]] = {
    "a first charge is asked": (None, CHARGE, None),
    "a charge that was paid": (paid(), CHARGE, PAID),
    "a charge that was declined": (record(None, CHARGE, NO), CHARGE, NO),
    "a charge that was given back": (paid(refund(30)), CHARGE, PAID),
    "another attempt is asked": (record(None, CHARGE, NO), CHARGE._replace(attempt=2), None),
    "a refund is asked": (paid(), refund(30), None),
    "a refund that was given": (paid(refund(10)), refund(10), REFUNDED),
    "another refund is asked": (paid(refund(10)), refund(20, 2), None),
    "a refund of nothing paid": (None, refund(30), Answer(PaymentResult.DECLINED, LEFT.format(0, 30))),
    "a refund of a declined charge": (record(None, CHARGE, NO), refund(30), Answer(PaymentResult.DECLINED, LEFT.format(0, 30))),
    "a refund of more than was paid": (paid(), refund(31), Answer(PaymentResult.DECLINED, LEFT.format(30, 31))),
    "a refund of more than is left": (paid(refund(10)), refund(21, 2), Answer(PaymentResult.DECLINED, LEFT.format(20, 21))),
    "a refund of nothing": (paid(), refund(0), Answer(PaymentResult.DECLINED, LEFT.format(30, 0))),
    "a refund below nothing": (paid(), refund(-5), Answer(PaymentResult.DECLINED, LEFT.format(30, -5))),
    "a refund of an attempt that was not": (paid(), refund(30, attempt=2), Answer(PaymentResult.DECLINED, "attempt 2 has 0 left, not 30")),
    "the same number, another attempt": (
        record(paid(refund(30)), CHARGE._replace(attempt=2), PAID),
        refund(30, attempt=2),
        None,
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_answered(case: str) -> None:
    row, request, expected = CASES[case]
    assert answered(row, request) == expected


def test_the_first_answer_stands() -> None:
    row = record(record(None, CHARGE, PAID), CHARGE, NO)
    assert answered(row, CHARGE) == PAID


def test_a_declined_refund_may_be_asked_again() -> None:
    row = record(paid(), refund(30), NO)
    assert answered(row, refund(30)) is None
    assert row.kept(1) == 30


def test_to_give_back_more_than_was_paid_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="more than it paid"):
        paid(refund(20, 1), refund(20, 2))


@pytest.mark.parametrize("row", [Payment(7), paid(), record(None, CHARGE, NO), paid(refund(10), refund(20, 2))])
def test_a_row_comes_back_from_the_changelog(row: Payment) -> None:
    assert from_row(decode(encode("PaymentRow", to_row(row))).value) == row
