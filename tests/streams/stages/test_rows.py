"""Rows that stay bytes until they are touched behave like rows."""

import pytest

from streams.runtime.records import BrokenRowError
from streams.stages.rows import Rows


def _rows(**cold: str) -> tuple[Rows[str, str], list[bytes]]:
    decoded: list[bytes] = []

    def decode(value: bytes) -> str:
        decoded.append(value)
        return value.decode()

    rows: Rows[str, str] = Rows(str.encode, bytes.decode, decode)
    rows.recover({key.encode(): value.encode() for key, value in cold.items()})
    return rows, decoded


def test_a_recovered_row_is_decoded_at_the_first_touch_and_only_then() -> None:
    rows, decoded = _rows(a="1", b="2")
    assert decoded == []
    assert (rows.find("a"), rows.find("a"), rows.find("z")) == ("1", "1", None)
    assert decoded == [b"1"]


def test_all_keys_are_counted_touched_or_not() -> None:
    rows, _ = _rows(a="1", b="2")
    rows.find("a")
    rows["c"] = "3"
    assert sorted(rows.keys_all()) == ["a", "b", "c"]
    assert rows.count_all() == 3


def test_a_deleted_row_does_not_come_back_from_the_changelog() -> None:
    rows, _ = _rows(a="1")
    rows.find("a")
    del rows["a"]
    assert rows.find("a") is None
    assert rows.count_all() == 0


def test_a_changed_row_is_the_changed_one() -> None:
    rows, _ = _rows(a="1")
    rows.find("a")
    rows["a"] = "2"
    assert rows.find("a") == "2"


def test_rows_are_checked_a_few_at_a_time_and_stay_as_they_are() -> None:
    rows, decoded = _rows(a="1", b="2", c="3")
    rows.find("a")
    decoded.clear()
    for _ in range(4):
        rows.check_some(1)
    assert sorted(decoded) == [b"2", b"3"]
    assert rows.count_all() == 3
    assert rows.find("b") == "2"


def test_a_broken_row_is_found_by_the_check_before_anybody_touches_it() -> None:
    rows, _ = _rows(a="1")
    rows.recover({b"a": b"1", b"b": b"\xff"})
    with pytest.raises(BrokenRowError) as broken:
        rows.check_some()
    assert broken.value.key == b"b"


def test_rows_touched_long_ago_become_bytes_again_and_stay_what_they_are() -> None:
    rows, decoded = _rows()
    for n in range(7):
        rows[f"k{n}"] = str(n)
    rows.cool(6, str.encode)
    assert list(rows) == [f"k{n}" for n in range(7)]
    rows.cool(3, str.encode)
    assert list(rows) == ["k4", "k5", "k6"]
    assert rows.count_all() == 7
    assert rows.find("k1") == "1"
    assert decoded == [b"1"]
    assert list(rows) == ["k4", "k5", "k6", "k1"]


def test_a_row_becomes_the_bytes_that_were_written_of_it_last() -> None:
    rows, _ = _rows()
    encoded: list[str] = []

    def encode(row: str) -> bytes:
        encoded.append(row)
        return row.encode()

    rows["a"] = "1"
    assert rows.written("a", encode) == b"1"
    rows["a"] = "2"
    assert rows.written("a", encode) == b"2"
    rows["b"] = "3"
    rows.cool(0, encode)
    assert encoded == ["1", "2", "3"]
    assert (rows.find("a"), rows.find("b")) == ("2", "3")


def test_of_a_row_that_is_gone_nothing_is_left() -> None:
    rows, _ = _rows()
    rows["a"] = "1"
    rows.written("a", str.encode)
    del rows["a"]
    assert rows.written("a", str.encode) is None
    rows["a"] = "2"  # another one under its key, of which nothing was written yet
    rows.cool(0, str.encode)
    assert rows.find("a") == "2"
