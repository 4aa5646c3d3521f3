"""What is said to a payment provider, and which of its answers are certain."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import REVERSAL, Answer, Request
from streams.payments import key_of
from streams.payments.contract import LONGEST_RETRY_AFTER, MOST_REASON, NoAnswer, body_of, path_of, read_answer

CHARGE = Request(PaymentKind.CHARGE, 2**62, 1, 0, 1275, "GBP", "tok_ok", "ann")
REFUND = CHARGE._replace(kind=PaymentKind.REFUND, sequence=3, amount=75)
REVERSE = REFUND._replace(sequence=REVERSAL)
KEY = f"{2**62}-1"


def test_the_key_names_one_request_for_ever() -> None:
    assert [key_of(request) for request in (CHARGE, REFUND, REVERSE)] == [f"{KEY}-0", f"{KEY}-3", f"{KEY}-reversal"]


def test_what_is_asked() -> None:
    order = {"order_id": str(2**62), "attempt": 1, "currency": "GBP"}
    assert (path_of(CHARGE), body_of(CHARGE)) == ("/charges", {**order, "amount": 1275, "token": "tok_ok", "user": "ann"})
    assert (path_of(REFUND), body_of(REFUND)) == ("/refunds", {**order, "amount": 75, "charge": f"{KEY}-0"})
    assert body_of(REVERSE)["charge"] == f"{KEY}-0"


def answer(request: Request, status: int, body: Any, **headers: str) -> Answer | NoAnswer:
    return read_answer(request, status, headers, body if isinstance(body, bytes) else json.dumps(body).encode())


NO = Answer(PaymentResult.DECLINED, "card expired")
CERTAIN: dict[str, tuple[Request, int, dict[str, str], Answer]] = {
    "paid": (CHARGE, 200, {"key": f"{KEY}-0", "result": "paid"}, Answer(PaymentResult.PAID)),
    "refunded": (REFUND, 200, {"key": f"{KEY}-3", "result": "refunded", "more": "is let pass"}, Answer(PaymentResult.REFUNDED)),
    "reversed": (REVERSE, 200, {"key": f"{KEY}-reversal", "result": "refunded"}, Answer(PaymentResult.REFUNDED)),
    "declined": (CHARGE, 402, {"key": f"{KEY}-0", "result": "declined", "reason": "card expired"}, NO),
    "refund declined": (REFUND, 402, {"key": f"{KEY}-3", "reason": "card expired"}, NO),
    "impossible": (REFUND, 422, {"key": f"{KEY}-3", "reason": "card expired"}, NO._replace(moved_nothing=True)),
    "declined without a word": (CHARGE, 402, {"key": f"{KEY}-0"}, NO._replace(reason="no reason given")),
}


@pytest.mark.parametrize("case", CERTAIN)
def test_certain(case: str) -> None:
    request, status, body, expected = CERTAIN[case]
    assert answer(request, status, body) == expected


UNCERTAIN: dict[str, tuple[Request, int, Any]] = {
    "no body": (CHARGE, 200, b""),
    "no JSON": (CHARGE, 200, b"<html>welcome</html>"),
    "cut short": (CHARGE, 200, b'{"key": "4611686018427387904-1-0", "result": "pa'),
    "no object": (CHARGE, 200, [f"{KEY}-0", "paid"]),
    "nested beyond reason": (CHARGE, 200, b"[" * 100_000),
    "no key": (CHARGE, 200, {"result": "paid"}),
    "another request's key": (CHARGE, 200, {"key": f"{KEY}-3", "result": "paid"}),
    "another request's decline": (CHARGE, 402, {"key": "1-1-0", "result": "declined"}),
    "a refund's word for a charge": (CHARGE, 200, {"key": f"{KEY}-0", "result": "refunded"}),
    "declined with status 200": (CHARGE, 200, {"key": f"{KEY}-0", "result": "declined"}),
    "no result": (CHARGE, 200, {"key": f"{KEY}-0"}),
    "longer than an answer is": (CHARGE, 200, json.dumps({"key": f"{KEY}-0", "result": "paid"}).encode().ljust(70_000)),
}


@pytest.mark.parametrize("case", UNCERTAIN)
def test_unclear(case: str) -> None:
    said = answer(*UNCERTAIN[case])
    assert isinstance(said, NoAnswer)
    assert said.was_sent
    assert said.is_unclear


@pytest.mark.parametrize("status", [100, 201, 202, 204, 301, 307, 400, 401, 403, 404, 408, 409, 425, 429, 500, 502, 503, 504])
def test_any_other_status_is_asked_again_whatever_it_says(status: int) -> None:
    said = answer(CHARGE, status, {"key": f"{KEY}-0", "result": "paid"})
    assert isinstance(said, NoAnswer)
    assert (said.was_sent, said.is_unclear) == (True, False)


@pytest.mark.parametrize(("given", "seconds"), [("2", 2.0), ("0", 0.0), ("999999999", LONGEST_RETRY_AFTER), ("-1", 0.0), ("Wed, 21 Oct 2026", 0.0), ("²", 0.0)])
def test_retry_after_is_kept_to_within_reason(given: str, seconds: float) -> None:
    said = answer(CHARGE, 503, {}, **{"Retry-After": given})
    assert isinstance(said, NoAnswer)
    assert said.retry_after == seconds


def test_a_reason_is_cut_and_cleaned() -> None:
    said = answer(CHARGE, 402, {"key": f"{KEY}-0", "reason": "a\nb\0" + "c" * 10_000})
    assert isinstance(said, Answer)
    assert said.reason.startswith("a b c")
    assert len(said.reason) <= MOST_REASON
    assert answer(CHARGE, 402, {"key": f"{KEY}-0", "reason": 7}) == NO._replace(reason="no reason given")


@given(st.integers(100, 599), st.binary(max_size=80))
def test_bytes_of_chance_are_never_certain(status: int, body: bytes) -> None:
    assert isinstance(read_answer(CHARGE, status, {}, body), NoAnswer)
