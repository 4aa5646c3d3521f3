"""A record that breaks a promise raises the alarm of that promise; right ones raise none (tests/support/flow.py asks that of all random traffic)."""

from __future__ import annotations

from typing import Any

import pytest

from sinks import batch
from sinks.alarms import of_level, of_outcome
from tests.support.outputs import level, outcome, records

LEVEL = {"product_id": "p", "available": 3, "reserved": 2, "shipped": 5, "received": 12, "written_off": 3, "returned": 1, "version": 9}
HELD = {"line": 1, "status": "HELD"}
LOST = {"line": 2, "status": "RELEASED"}
ORDER = {
    **{"order_id": 7, "version": 1, "change": "DECIDED", "status": "CONFIRMED", "amount": 100, "charged": 100, "refunded": 0, "line_count": 1},
    "lines": [HELD],
}


def test_a_right_record_raises_none() -> None:
    assert list(of_level(LEVEL)) == []
    assert list(of_outcome(ORDER)) == []
    assert batch.fold(records([level("p", 1), outcome(1)])).alarms == []


@pytest.mark.parametrize("name", ["available", "reserved", "shipped", "received", "written_off", "returned"])
def test_less_than_nothing_is_an_alarm(name: str) -> None:
    found = list(of_level({**LEVEL, name: -1}))
    assert {alarm.promise for alarm in found} == {"I1"}
    assert f"{name} is -1" in found[0].text


@pytest.mark.parametrize("name", ["available", "reserved", "shipped", "received", "written_off", "returned"])
def test_a_unit_too_many_is_an_alarm(name: str) -> None:
    (alarm,) = of_level({**LEVEL, name: LEVEL[name] + 1})
    assert alarm.promise == "I1"


@pytest.mark.parametrize(
    ("promise", "changed"),
    [
        ("I2", {"version": 2}),
        ("I2", {"change": "AMENDED"}),
        ("I3", {"line_count": 2}),
        ("I3", {"lines": [HELD, LOST], "line_count": 2}),
        ("I3", {"status": "REJECTED", "charged": 0}),
        ("I3", {"status": "CANCELLED", "lines": [{"line": 1, "status": "SHIPPED"}]}),
        ("I7", {"refunded": 101}),
        ("I7", {"charged": 101}),
        ("I7", {"charged": -1}),
        ("I7", {"refunded": -1}),
    ],
)
def test_an_outcome_that_breaks_a_promise(promise: str, changed: dict[str, Any]) -> None:
    found = list(of_outcome({**ORDER, **changed}))
    assert {alarm.promise for alarm in found} == {promise}
    assert all("order 7" in alarm.text for alarm in found)


def test_of_an_imported_order_nothing_is_asked() -> None:
    assert list(of_outcome({**ORDER, "change": "IMPORTED", "charged": 500})) == []


def test_a_later_record_of_the_batch_hides_no_alarm() -> None:
    wrong, right = {**level("p", 1), "available": -1}, level("p", 2)
    assert {alarm.promise for alarm in batch.fold(records([wrong, right])).alarms} == {"I1"}
