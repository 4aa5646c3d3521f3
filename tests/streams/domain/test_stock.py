"""A product's holds and commands, one table for each; the identity over random sequences."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.codec import decode, encode
from schemas.outcomes import MAX_QUANTITY, MAX_TIME, Refusal
from schemas.outcomes import StockCommandKind as Kind
from streams.domain import stock
from streams.domain.product import Product
from streams.domain.stock import REMEMBERED_COMMANDS, REMEMBERED_MOVES

NOW = 100_000
NUMBERS = ("available", "reserved", "shipped", "received", "written_off", "returned")


def product(**fields: Any) -> Product:
    """5 available, 3 reserved, 2 shipped, all of it received long ago."""
    return Product(**{"product_id": "p", "available": 5, "reserved": 3, "shipped": 2, "received": 10, **fields})


def command(kind: Kind, quantity: int = 0, as_of: int = 0, command_id: str = "c") -> stock.Command:
    mine = kind >= Kind.RELEASE
    return stock.Command(kind, "" if mine else command_id, 7 if mine else 0, 1 if mine else 0, "p", quantity, as_of)


def numbers(row: Product) -> dict[str, int]:
    return {name: getattr(row, name) for name in NUMBERS}


def identity(row: Product) -> bool:
    return row.available + row.reserved + row.shipped == row.received - row.written_off + row.returned and min(row.available, row.reserved) >= 0


# The product, what is asked, the answer, the changes.
SERVICE = {"tracked": False}
COMMANDS: dict[str, tuple[dict[str, Any], stock.Command, Refusal, dict[str, int] | None]] = {
    "restock": ({}, command(Kind.RESTOCK, 4), Refusal.NONE, {"received": 4, "available": 4}),
    "found": ({}, command(Kind.FOUND, 4), Refusal.NONE, {"received": 4, "available": 4}),
    "write off": ({}, command(Kind.WRITE_OFF, 5), Refusal.NONE, {"written_off": 5, "available": -5}),
    "write off what is not there": ({}, command(Kind.WRITE_OFF, 6), Refusal.INSUFFICIENT_STOCK, None),
    "count agrees": ({}, command(Kind.COUNT, 8, NOW), Refusal.NONE, {}),
    "count finds": ({}, command(Kind.COUNT, 10, NOW), Refusal.NONE, {"received": 2, "available": 2}),
    "count misses": ({}, command(Kind.COUNT, 3, NOW), Refusal.NONE, {"written_off": 5, "available": -5}),
    "count below reserved": ({}, command(Kind.COUNT, 2, NOW), Refusal.COUNT_BELOW_RESERVED, {"written_off": 5, "available": -5}),
    "count below reserved, none left": (
        {"available": 0, "received": 5},
        command(Kind.COUNT, 2, NOW),
        Refusal.COUNT_BELOW_RESERVED,
        {},
    ),
    "count of the past": ({"moves": [(50, 4), (60, -1)]}, command(Kind.COUNT, 4, 55), Refusal.NONE, {"written_off": 5, "available": -5}),
    "count at the time of a move is after it": ({"moves": [(50, 4), (60, -1)]}, command(Kind.COUNT, 8, 60), Refusal.NONE, {}),
    "count from before the first move": ({"moves": [(50, 4)]}, command(Kind.COUNT, 4, 10), Refusal.NONE, {}),
    "count of the future is one of now": ({}, command(Kind.COUNT, 8, NOW + 5), Refusal.NONE, {}),
    "count older than what is remembered": (
        {"moves": [(n, 1) for n in range(50, 50 + REMEMBERED_MOVES)]},
        command(Kind.COUNT, 8, 49),
        Refusal.COUNT_TOO_OLD,
        None,
    ),
    "count as old as what is remembered": (
        {"moves": [(n, 1) for n in range(50, 50 + REMEMBERED_MOVES)], "available": 20, "received": 25},
        command(Kind.COUNT, 8, 50),
        Refusal.NONE,
        {},
    ),
    "count older than the last count": ({"moves": [(50, 0), (60, 1)]}, command(Kind.COUNT, 7, 49), Refusal.COUNT_TOO_OLD, None),
    "count of a service leaves its orders out": (SERVICE, command(Kind.COUNT, 5, NOW), Refusal.NONE, {}),
    "freeze": ({}, command(Kind.FREEZE), Refusal.NONE, {}),
    "unfreeze": ({"frozen": True}, command(Kind.UNFREEZE), Refusal.NONE, {}),
    "untrack": ({"reserved": 0, "received": 7}, command(Kind.UNTRACK), Refusal.NONE, {}),
    "untrack what is reserved": ({}, command(Kind.UNTRACK), Refusal.ALREADY_DECIDED, None),
    "track what is reserved": (SERVICE, command(Kind.TRACK), Refusal.ALREADY_DECIDED, None),
    "release": ({}, command(Kind.RELEASE, 3), Refusal.NONE, {"reserved": -3, "available": 3}),
    "release a service": (SERVICE, command(Kind.RELEASE, 3), Refusal.NONE, {"reserved": -3, "written_off": 3}),
    "ship": ({}, command(Kind.SHIP, 3), Refusal.NONE, {"reserved": -3, "shipped": 3}),
    "ship a service": (SERVICE, command(Kind.SHIP, 3), Refusal.NONE, {"reserved": -3, "shipped": 3}),
    "return": ({}, command(Kind.RETURN, 2), Refusal.NONE, {"returned": 2, "available": 2}),
    "return a service": (SERVICE, command(Kind.RETURN, 2), Refusal.NONE, {"returned": 2, "written_off": 2}),
    "ship when frozen": ({"frozen": True}, command(Kind.SHIP, 1), Refusal.NONE, {"reserved": -1, "shipped": 1}),
}


@pytest.mark.parametrize("case", COMMANDS)
def test_command(case: str) -> None:
    fields, asked, refusal, changes = COMMANDS[case]
    row = product(**fields)
    before = numbers(row)
    assert identity(row)
    assert stock.carry_out(row, asked, NOW) is refusal
    assert numbers(row) == {name: units + (changes or {}).get(name, 0) for name, units in before.items()}
    assert row.version == (0 if changes is None else 1)
    assert row.recent_commands == ([asked.command_id] if asked.command_id and changes is not None else [])
    assert identity(row)


SAGAS = [command(Kind.RELEASE, 4), command(Kind.SHIP, 4), command(Kind.RETURN, 3)]


@pytest.mark.parametrize("asked", SAGAS, ids=lambda asked: asked.kind.name)
def test_more_than_an_order_can_have_is_a_bug(asked: stock.Command) -> None:
    with pytest.raises(AssertionError, match="of p"):
        stock.carry_out(product(), asked, NOW)


HOLDS: dict[str, tuple[dict[str, Any], int, Refusal]] = {
    "some": ({}, 1, Refusal.NONE),
    "all": ({}, 5, Refusal.NONE),
    "one too many": ({}, 6, Refusal.INSUFFICIENT_STOCK),
    "of none": ({"available": 0, "received": 5}, 1, Refusal.INSUFFICIENT_STOCK),
    "of a frozen product": ({"frozen": True}, 1, Refusal.PRODUCT_FROZEN),
    "too many of a frozen product": ({"frozen": True}, 6, Refusal.PRODUCT_FROZEN),
    "of a service": (SERVICE, 1_000, Refusal.NONE),
    "of a frozen service": ({**SERVICE, "frozen": True}, 1, Refusal.PRODUCT_FROZEN),
}


@pytest.mark.parametrize("case", HOLDS)
def test_hold(case: str) -> None:
    fields, quantity, refusal = HOLDS[case]
    row = product(**fields)
    assert stock.decide_hold(row, quantity) is refusal
    if refusal is Refusal.NONE:
        stock.evolve_hold(row, quantity)
        assert (row.reserved, row.version) == (3 + quantity, 1)
        assert row.available == (5 - quantity if row.tracked else 5)
    assert identity(row)


def test_a_hold_that_was_not_decided_is_a_bug() -> None:
    with pytest.raises(AssertionError, match="oversold"):
        stock.evolve_hold(product(), 6)


def test_settings_are_set() -> None:
    row = product(reserved=0, received=7)
    for kind, tracked, frozen in ((Kind.FREEZE, True, True), (Kind.UNTRACK, False, True), (Kind.UNFREEZE, False, False), (Kind.TRACK, True, False)):
        assert stock.carry_out(row, command(kind, command_id=kind.name), NOW) is Refusal.NONE
        assert (row.tracked, row.frozen) == (tracked, frozen)


def test_a_repeat_is_not_answered() -> None:
    row = product()
    assert stock.carry_out(row, command(Kind.RESTOCK, 1), NOW) is Refusal.NONE
    assert stock.carry_out(row, command(Kind.RESTOCK, 1), NOW) is None
    assert stock.carry_out(row, command(Kind.WRITE_OFF, 1), NOW) is None
    assert (row.available, row.version) == (6, 1)


def test_a_refused_command_may_be_sent_again() -> None:
    row = product()
    assert stock.carry_out(row, command(Kind.WRITE_OFF, 6), NOW) is Refusal.INSUFFICIENT_STOCK
    assert stock.carry_out(row, command(Kind.RESTOCK, 1, command_id="more"), NOW) is Refusal.NONE
    assert stock.carry_out(row, command(Kind.WRITE_OFF, 6), NOW) is Refusal.NONE


def test_the_last_64_commands_are_remembered() -> None:
    row = product()
    for n in range(REMEMBERED_COMMANDS + 1):
        stock.carry_out(row, command(Kind.RESTOCK, 1, command_id=str(n)), NOW)
    assert len(row.recent_commands) == REMEMBERED_COMMANDS
    assert stock.carry_out(row, command(Kind.RESTOCK, 1, command_id="1"), NOW) is None
    assert stock.carry_out(row, command(Kind.RESTOCK, 1, command_id="0"), NOW) is Refusal.NONE


MOVES: dict[str, tuple[list[tuple[int, int]], stock.Command, list[tuple[int, int]]]] = {
    "a release moves nothing": ([(1, 8)], command(Kind.RELEASE, 1), [(1, 8)]),
    "a ship": ([(1, 8)], command(Kind.SHIP, 1), [(1, 8), (NOW, -1)]),
    "a return": ([(1, 8)], command(Kind.RETURN, 1), [(1, 8), (NOW, 1)]),
    "at the same time": ([(1, 7), (NOW, 1)], command(Kind.SHIP, 3), [(1, 7), (NOW, -2)]),
    "there and back at the same time": ([(1, 7), (NOW, 1)], command(Kind.SHIP, 1), [(1, 7)]),
    "there and back in a full memory": (
        [*((n, 1) for n in range(1, REMEMBERED_MOVES)), (NOW, 1)],
        command(Kind.SHIP, 1),
        [*((n, 1) for n in range(1, REMEMBERED_MOVES)), (NOW, 0)],
    ),
    "after a count at the same time": ([(NOW, 0)], command(Kind.SHIP, 3), [(NOW, 0), (NOW, -3)]),
    "by a clock that lags": ([(NOW + 9, 8)], command(Kind.RESTOCK, 3), [(NOW + 9, 11)]),
    "one too many": ([(n, 1) for n in range(REMEMBERED_MOVES)], command(Kind.SHIP, 1), [*((n, 1) for n in range(1, REMEMBERED_MOVES)), (NOW, -1)]),
    "a freeze moves nothing": ([], command(Kind.FREEZE), []),
    "a count settles what was before": ([(1, 5), (3, 3)], command(Kind.COUNT, 5, 2), [(2, 0), (3, 3)]),
}


@pytest.mark.parametrize("case", MOVES)
def test_moves_of_the_shelf(case: str) -> None:
    moves, asked, after = MOVES[case]
    row = product(moves=list(moves))
    assert stock.carry_out(row, asked, NOW) is Refusal.NONE
    assert row.moves == after


def test_a_service_has_no_shelf_to_move() -> None:
    row = product(tracked=False)
    for kind in (Kind.RELEASE, Kind.SHIP, Kind.RETURN):
        stock.carry_out(row, command(kind, 1), NOW)
    assert row.moves == []


@pytest.mark.parametrize(("first", "second", "available"), [(10, 12, 3), (12, 10, 3), (10, 10, 3)])
def test_a_gap_is_found_once_however_often_it_is_counted(first: int, second: int, available: int) -> None:
    """8 by the books, 6 on the shelf, counted twice; whichever count is told first."""
    row = product()
    stock.carry_out(row, command(Kind.COUNT, 6, first, "one"), NOW)
    stock.carry_out(row, command(Kind.COUNT, 6, second, "two"), NOW + 1)
    assert row.available == available


@st.composite
def shelf_days(draw: st.DrawFn) -> tuple[list[tuple[int, int, int]], int]:
    """A few commands (time, kind, units), and when somebody counts."""
    times = draw(st.lists(st.integers(1, 50), max_size=REMEMBERED_MOVES - 1))
    kinds = st.sampled_from((Kind.RESTOCK, Kind.WRITE_OFF, Kind.SHIP, Kind.RETURN, Kind.RELEASE))
    return [(at, draw(kinds), draw(st.integers(1, 2))) for at in sorted(times)], draw(st.integers(0, 60))


@given(shelf_days(), st.integers(0, 30))
def test_a_count_of_the_past_equals_one_told_at_once(day: tuple[list[tuple[int, int, int]], int], counted: int) -> None:
    """The shelf by the books at T, from a plain record of the day, is what a late count is compared with."""
    events, at = day
    row, shelf_at = product(available=100, reserved=50, shipped=50, received=200), 150
    for when, kind, units in events:
        stock.carry_out(row, command(Kind(kind), units, command_id=f"{when} {row.version}"), when)
        if when <= at:
            shelf_at = row.available + row.reserved
    before = numbers(row)
    stock.carry_out(row, command(Kind.COUNT, counted, max(at, 1)), 100)
    if at >= 1:
        lost = min(shelf_at - counted, before["available"])
        assert row.available == before["available"] - lost
    assert identity(row)


IMPOSSIBLE: list[tuple[tuple[int, str, str, int, int, int], str | None]] = [
    ((Kind.RESTOCK, "c", "p", 1, 0, 0), None),
    ((Kind.RESTOCK, "c" * 128, "p" * 64, MAX_QUANTITY, 0, 0), None),
    ((Kind.COUNT, "c", "p", 0, 1, 0), None),
    ((Kind.COUNT, "c", "p", 0, MAX_TIME, 0), None),
    ((Kind.FREEZE, "c", "p", 0, 0, 0), None),
    ((Kind.RELEASE, "", "p", 1, 0, 7), None),
    ((8, "c", "p", 1, 0, 0), "unknown kind 8"),
    ((99, "c", "p", 1, 0, 0), "unknown kind 99"),
    ((Kind.RESTOCK, "c", "", 1, 0, 0), "not 0 characters"),
    ((Kind.RESTOCK, "c", "p" * 65, 1, 0, 0), "not 65 characters"),
    ((Kind.RESTOCK, "c", "a\0b", 1, 0, 0), "no zero byte"),
    ((Kind.RESTOCK, "c", "p", 0, 0, 0), "RESTOCK takes 1 to"),
    ((Kind.WRITE_OFF, "c", "p", MAX_QUANTITY + 1, 0, 0), "WRITE_OFF takes 1 to"),
    ((Kind.COUNT, "c", "p", -1, 1, 0), "COUNT takes 0 to"),
    ((Kind.COUNT, "c", "p", 1, 0, 0), "time of the count"),
    ((Kind.COUNT, "c", "p", 1, MAX_TIME + 1, 0), "time of the count"),
    ((Kind.UNTRACK, "c", "p", 1, 0, 0), "carries no quantity"),
    ((Kind.RESTOCK, "", "p", 1, 0, 0), "1 to 128 characters, not 0"),
    ((Kind.RESTOCK, "c" * 129, "p", 1, 0, 0), "not 129"),
    ((Kind.SHIP, "", "p", 1, 0, 0), "needs the order's ID"),
    ((Kind.RETURN, "", "p", 0, 0, 7), "RETURN takes 1 to"),
]


@pytest.mark.parametrize(("fields", "says"), IMPOSSIBLE)
def test_impossible_commands(fields: tuple[int, str, str, int, int, int], says: str | None) -> None:
    detail = stock.check_command(*fields)
    assert detail is None if says is None else says in str(detail)


def test_a_row_comes_back_from_the_changelog() -> None:
    row = product(moves=[(1, 2), (3, -4)], recent_commands=["a"], frozen=True, tracked=False, version=9, written_off=1, returned=1)
    assert stock.from_row(decode(encode("ProductRow", stock.to_row(row))).value) == row


def test_a_level_is_the_row_without_its_memory() -> None:
    row = product(moves=[(1, 2)], recent_commands=["a"])
    level = stock.level(row, NOW)
    assert decode(encode("StockLevel", level)).value == level
    assert level == {"product_id": "p", **numbers(row), "version": 0, "tracked": True, "frozen": False, "updated_at": NOW}


def test_a_written_row_does_not_change_with_the_product() -> None:
    row = product()
    written = stock.to_row(row)
    stock.carry_out(row, command(Kind.RESTOCK, 1), NOW)
    assert (written["recent_commands"], written["moved_at"], written["available"]) == ([], [], 5)
