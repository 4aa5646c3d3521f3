"""Which lines no order may contain, and in which order the checks are made."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.currencies import CURRENCIES
from schemas.outcomes import MAX_TIME, Refusal
from streams.domain.order_line import PlainLine, check_line, clip, presentable

GOOD = PlainLine(1, 1, 1, "85123A", 6, 255, "GBP", "17850", "tok_1", 1_291_191_960_000)
LIMITS: list[dict[str, Any]] = [
    {},
    {"order_id": 2**63 - 1},
    {"line": 1_000, "line_count": 1_000},
    {"product_id": "p" * 64, "user_id": "u" * 64, "payment_token": "t" * 255},
    {"payment_token": ""},
    {"quantity": 1_000_000_000, "unit_price": 1_000_000},
    {"quantity": 1, "unit_price": 1_000_000_000},
    {"unit_price": 0},
    {"placed_at": 0},
    {"placed_at": MAX_TIME},
    {"product_id": "päckchen 7"},
]
BAD: list[tuple[Refusal, dict[str, Any]]] = [
    (Refusal.INVALID_ORDER_ID, {"order_id": 0}),
    (Refusal.INVALID_ORDER_ID, {"order_id": -1}),
    (Refusal.INVALID_ORDER_ID, {"order_id": 2**63}),
    (Refusal.INVALID_PRODUCT, {"product_id": ""}),
    (Refusal.INVALID_PRODUCT, {"product_id": "p" * 65}),
    (Refusal.INVALID_PRODUCT, {"product_id": "a\0b"}),
    (Refusal.INVALID_USER, {"user_id": ""}),
    (Refusal.INVALID_USER, {"user_id": "u" * 65}),
    (Refusal.INVALID_LINE, {"line": 0}),
    (Refusal.INVALID_LINE, {"line": 2}),
    (Refusal.INVALID_LINE, {"line_count": 0}),
    (Refusal.INVALID_LINE, {"line_count": 1_001}),
    (Refusal.INVALID_QUANTITY, {"quantity": 0}),
    (Refusal.INVALID_QUANTITY, {"quantity": -1}),
    (Refusal.INVALID_QUANTITY, {"quantity": 1_000_000_001, "unit_price": 0}),
    (Refusal.INVALID_PRICE, {"unit_price": -1}),
    (Refusal.INVALID_PRICE, {"unit_price": 1_000_000_001, "quantity": 1}),
    (Refusal.INVALID_PRICE, {"quantity": 1_000_000_000, "unit_price": 1_000_001}),
    (Refusal.UNKNOWN_CURRENCY, {"currency": "gbp"}),
    (Refusal.UNKNOWN_CURRENCY, {"currency": ""}),
    (Refusal.UNKNOWN_CURRENCY, {"currency": "XXX"}),
    (Refusal.INVALID_TOKEN, {"payment_token": "t" * 256}),
    (Refusal.INVALID_TIME, {"placed_at": -1}),
    (Refusal.INVALID_TIME, {"placed_at": MAX_TIME + 1}),
]


@pytest.mark.parametrize("fields", LIMITS)
def test_a_line_at_the_limits_is_valid(fields: dict[str, Any]) -> None:
    assert check_line(*GOOD._replace(**fields)) is Refusal.NONE


@pytest.mark.parametrize(("refusal", "fields"), BAD)
def test_a_line_beyond_them_is_not(refusal: Refusal, fields: dict[str, Any]) -> None:
    assert check_line(*GOOD._replace(**fields)) is refusal


@given(st.sets(st.integers(0, len(BAD) - 1), min_size=1))
def test_of_several_faults_the_first_in_the_enum_is_the_answer(faults: set[int]) -> None:
    fields: dict[str, Any] = {}
    for _, bad in sorted((BAD[n] for n in faults), key=lambda fault: -fault[0]):
        fields |= {name: value for name, value in bad.items() if len(bad) == 1}
    named = [refusal for refusal, bad in (BAD[n] for n in faults) if len(bad) == 1]
    expected = min(named, default=Refusal.NONE)
    assert check_line(*GOOD._replace(**fields)) is expected


TEXT = st.text(max_size=300)


@given(
    st.builds(
        PlainLine,
        *(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**31), 2**31 - 1), TEXT),
        *(st.integers(-(2**63), 2**63 - 1), st.integers(-(2**63), 2**63 - 1), st.one_of(TEXT, st.sampled_from(sorted(CURRENCIES)))),
        *(TEXT, TEXT, st.integers(-(2**63), 2**63 - 1)),
    )
)
def test_every_line_has_an_answer_and_can_be_shown(line: PlainLine) -> None:
    refusal = check_line(*line)
    assert refusal is Refusal.NONE or refusal.is_invalid_line
    shown = presentable(line)
    assert len(shown.product_id) <= 64 >= len(shown.user_id)
    assert len(shown.payment_token) <= 255
    assert len(shown.currency) == 3
    assert 0 <= shown.placed_at <= MAX_TIME
    assert "\0" not in shown.product_id + shown.user_id + shown.payment_token


def test_a_valid_line_is_shown_as_it_is() -> None:
    assert presentable(GOOD) == GOOD


@pytest.mark.parametrize(("text", "length", "clipped"), [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("", 3, ""), ("a\0b", 3, "a\N{REPLACEMENT CHARACTER}b")])
def test_clip(text: str, length: int, clipped: str) -> None:
    assert clip(text, length) == clipped
