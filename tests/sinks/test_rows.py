"""What a record becomes, and why some become nothing."""

import pytest
from hypothesis import given

from schemas import codec
from schemas.outcomes import MAX_TIME
from sinks.rows import Record, UnstorableError, datetime_text, order_values, product_values, read
from tests.support.outputs import LEVELS, OUTCOMES, TIMES, encoded, level, outcome, refused_command


def record(topic: str, value: bytes | None) -> Record:
    return Record(topic, f"prefix.{topic}", 0, 5, b"key", value)


def lines_of(*numbers: int) -> list[dict]:
    return [{**outcome()["lines"][0], "line": n} for n in numbers]


GOOD = codec.encode("OrderOutcome", outcome())
LONG = "x" * 65


@pytest.mark.parametrize(
    ("topic", "value", "reason", "said"),
    [
        (OUTCOMES, None, "NOT_CONFLUENT", "0 bytes"),
        (OUTCOMES, b"", "NOT_CONFLUENT", "0 bytes"),
        (OUTCOMES, b"{}garbage", "NOT_CONFLUENT", "do not start with 0x00"),
        (OUTCOMES, b"\0\0\0\x27\x0fabc", "UNKNOWN_SCHEMA", "9999"),
        (OUTCOMES, GOOD[:-3], "UNDECODABLE", "OrderOutcome"),
        (OUTCOMES, GOOD + b"x", "UNDECODABLE", "left over"),
        (OUTCOMES, codec.encode("StockLevel", level()), "WRONG_RECORD", "StockLevel"),
        (LEVELS, GOOD, "WRONG_RECORD", "OrderOutcome"),
        (LEVELS, level(""), "INVALID_PRODUCT", "0 characters"),
        (LEVELS, level(LONG), "INVALID_PRODUCT", "65 characters"),
        (LEVELS, level(updated_at=-1), "INVALID_TIME", "updated_at is -1"),
        (OUTCOMES, outcome(user_id=""), "INVALID_USER", "0 characters"),
        (OUTCOMES, outcome(user_id=LONG), "INVALID_USER", "65 characters"),
        (OUTCOMES, outcome(currency="POUNDSTERLING"), "UNKNOWN_CURRENCY", "POUNDSTE"),
        (OUTCOMES, outcome(placed_at=MAX_TIME + 1), "INVALID_TIME", "placed_at"),
        (OUTCOMES, outcome(decided_at=-1), "INVALID_TIME", "decided_at"),
        (OUTCOMES, outcome(changed_at=2**63 - 1), "INVALID_TIME", "changed_at"),
        (OUTCOMES, outcome(refusal="N" * 33), "UNDECODABLE", "33 characters"),
        (OUTCOMES, outcome(products=["A", LONG]), "INVALID_PRODUCT", "line 2"),
        (OUTCOMES, outcome(products=["A", ""]), "INVALID_PRODUCT", "line 2"),
        (OUTCOMES, outcome(lines=[{**lines_of(1)[0], "refusal": "N" * 33}]), "UNDECODABLE", "33 characters"),
        (OUTCOMES, outcome(lines=lines_of(1, 2, 1)), "INVALID_LINE", "3 lines with 2 numbers"),
        (OUTCOMES, outcome(lines=lines_of(*range(1001))), "INVALID_LINE", "1001 lines"),
    ],
)
def test_what_no_store_can_take_is_named(topic, value, reason, said):
    with pytest.raises(UnstorableError, match=said) as caught:
        read(record(topic, encoded(value)[2] if isinstance(value, dict) else value))
    assert caught.value.reason == reason


def test_a_bad_order_is_named_by_its_id():
    with pytest.raises(UnstorableError) as caught:
        read(record(OUTCOMES, encoded(outcome(77, user_id=""))[2]))
    assert caught.value.order_id == 77


@pytest.mark.parametrize(
    ("topic", "value", "name"),
    [(LEVELS, level("\U0001f9f8" * 64), "StockLevel"), (OUTCOMES, outcome(), "OrderOutcome"), (OUTCOMES, refused_command(), "OrderCommandRefused")],
)
def test_good_records_come_back_whole(topic, value, name):
    assert read(record(topic, encoded(value)[2])) == (name, value)


def test_a_refusal_of_a_newer_program_is_stored():
    assert read(record(OUTCOMES, encoded(outcome(refusal="TOO_HEAVY"))[2]))[1]["refusal"] == "TOO_HEAVY"


def test_rows_have_the_order_of_the_columns():
    assert product_values(level("A", 2)) == ["A", 100, 2, 0, 102, 0, 0, 2, True, False, 1_291_200_000_002]
    header = [9, "17850", "CONFIRMED", "", 1, "GBP", 250, 250, 0, 1, 1]
    assert order_values(outcome(9)) == [*header, 1_291_200_000_009, 1_291_200_000_050, 1_291_200_000_051]


@pytest.mark.parametrize(
    ("ms", "text"),
    [
        (0, "1970-01-01 00:00:00.000"),
        (1, "1970-01-01 00:00:00.001"),
        (1_291_200_000_999, "2010-12-01 10:40:00.999"),
        (2**31 * 1000, "2038-01-19 03:14:08.000"),
        (MAX_TIME, "2100-01-01 00:00:00.000"),
    ],
)
def test_times_are_utc_to_the_millisecond(ms, text):
    assert datetime_text(ms) == text


@given(TIMES, TIMES)
def test_times_sort_as_their_texts(a, b):
    assert (datetime_text(a) < datetime_text(b)) == (a < b)
