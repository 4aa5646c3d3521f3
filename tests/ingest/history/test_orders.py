"""What a map makes of rows, and rows of orders: each field, each fault with its row, whole orders or none."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import ConfigError
from ingest.history.fields import Field, FieldError
from ingest.history.mapping import Map, parse_map
from ingest.history.orders import Counts, Orders, Piece, imported
from streams.domain import order as saga
from tests.ingest.history.maps import MAP, MONEY, row

PLACED = 1_291_191_960_000  # 2010-12-01 08:26 UTC, 09:26 in Berlin


def _map(text: str = MAP, *, decided: bool = True) -> Map:
    return parse_map(text, decided=decided)


def _pieces(mapped: Map, *rows: dict[str, Any], decided: bool = True) -> tuple[list[Piece], Counts]:
    counts = Counts()
    return list(Orders(mapped, counts, decided=decided).pieces(rows)), counts


# -- fields ----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("field", "found", "ms"),
    [
        (Field("at"), "2010-12-01T08:26:00", PLACED),
        (Field("at"), "2010-12-01T09:26:00+01:00", PLACED),
        (Field("at", time="s"), "1291191960", PLACED),
        (Field("at", time="s"), 1291191960.5, PLACED + 500),
        (Field("at", time="ms"), PLACED, PLACED),
        (Field("at", time="%m/%d/%Y %H:%M"), "12/1/2010 8:26", PLACED),
        (Field("at"), datetime(2010, 12, 1, 8, 26), PLACED),
        (Field("at"), datetime(2010, 12, 1, 8, 26, tzinfo=UTC), PLACED),
        (Field("at"), date(1970, 1, 2), 86_400_000),
    ],
)
def test_a_time_is_read_as_the_map_says(field: Field, found: Any, ms: int) -> None:
    assert field.ms({"at": found}) == ms


@pytest.mark.parametrize(
    ("digits", "found", "minor"),
    [(2, "2.55", 255), (2, 2.55, 255), (2, "0.005", 1), (2, Decimal("1.10"), 110), (0, "255", 255), (0, 250, 250), (3, "1.234", 1234)],
)
def test_money_becomes_minor_units(digits: int, found: Any, minor: int) -> None:
    assert Field("price", digits=digits).money({"price": found}) == minor


@pytest.mark.parametrize(
    ("field", "found", "asked"),
    [
        (Field("x"), "", "text"),
        (Field("x"), None, "number"),
        (Field("x"), "two", "number"),
        (Field("x"), "1.5", "number"),
        (Field("x"), "nan", "number"),
        (Field("x", digits=2), "1,50", "money"),
        (Field("x"), "yesterday", "ms"),
        (Field("x", time="s"), "99999999999", "ms"),
        (Field("x", values={"a": "b"}), "c", "text"),
        (Field("x"), "\udc80", "text"),
    ],
)
def test_a_value_that_does_not_fit_is_told_with_its_column(field: Field, found: Any, asked: str) -> None:
    with pytest.raises(FieldError, match="column x"):
        getattr(field, asked)({"x": found})


# -- maps ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("source = ", "sauce = "), "sauce"),
        (('"old-shop"', '"old shop"'), "source is 'old shop'"),
        (('id = "order"', ""), "order.id is missing"),
        (('id = "order"', 'id = "order"\ncolour = "red"'), "order.colour is no field"),
        (('id = "order"', "id = 7"), "order.id is 7"),
        (('id = "order"', "id = { value = 'x', column = 'y' }"), "order.id needs either"),
        (('money = "major"', 'money = "gold"'), "line.price.money"),
        (('zone = "Europe/Berlin"', 'zone = "Europe/Atlantis"'), "order.placed_at.zone"),
        (("status = ", "# "), "order.status is missing"),
        (("[order]", "[order"), "it is no TOML"),
        (('matches = "GIFT.*"', 'matches = "("'), "[[skip]]"),
    ],
)
def test_a_map_that_cannot_be_used_is_told_why(change: tuple[str, str], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        _map(MAP.replace(*change))
    assert said in str(error.value)


# -- orders ----------------------------------------------------------------------------------------------------------------


def test_rows_next_to_each_other_are_one_order() -> None:
    pieces, counts = _pieces(_map(), row(), row(sku="cup", units=1, price="10"), row("A2", state="back"), row("A3", sku="GIFT1"), row("A3", state="void"))
    orders = [piece.order for piece in pieces if piece.order]
    assert [(order.header.external_id, len(order.lines)) for order in orders] == [("A1", 2), ("A2", 1), ("A3", 1)]
    assert (counts.rows, counts.orders, counts.lines, counts.skipped, counts.dead_letters) == (5, 3, 4, 1, 0)
    assert [piece.last_row for piece in pieces] == [2, 4, 5]
    first = imported(orders[0], 7, "old-shop", 5, "backfill")
    assert (first["status"], first["charged"], first["refunded"], first["placed_at"], first["decided_at"]) == ("SHIPPED", 1500, 0, PLACED, PLACED)
    assert [(line["line"], line["product_id"], line["unit_price"], line["status"]) for line in first["lines"]] == [
        (1, "tea", 250, "SHIPPED"),
        (2, "cup", 1000, "SHIPPED"),
    ]
    second = imported(orders[1], 8, "old-shop", 5, "backfill")
    assert (second["status"], second["charged"], second["refunded"], second["lines"][0]["returned"]) == ("RETURNED", 500, 500, 2)


@pytest.mark.parametrize("state", ["sent", "open", "void", "back", "none"])
@pytest.mark.parametrize("returned", ["", "1", "2"])
def test_what_is_taken_is_possible_for_the_orders_agent(state: str, returned: str) -> None:
    pieces, _ = _pieces(_map(), row(state=state, returned=returned), row(sku="cup", state=state))
    for order in (piece.order for piece in pieces if piece.order):
        assert saga.check_import(saga.import_of(imported(order, 7, "old-shop", 5, "backfill"))) is None
    assert bool(pieces[0].order) == (returned == "" or state in {"sent", "open", "back"})


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        ([row(units="0")], "quantity"),
        ([row(units="-2")], "quantity"),
        ([row(price="-1")], "unit_price"),
        ([row(placed="2010-12-01")], "column placed"),
        ([row(state="lost")], "column state"),
        ([row(sku="x" * 65)], "product_id"),
        ([row(customer="u" * 65)], "user_id"),
        ([row(order="")], "column order is empty"),
        ([row(returned="3")], "3 of 2 came back"),
        ([row(state="void", returned="1")], "came back"),
        ([row(), row(customer="bob")], "another user_id than row 2"),
        ([row(), row(sku="cup", units="many")], "row 3 of order 'A1'"),
        ([row() for _ in range(1001)], "1,001 lines"),
        ([{**row(), "(more columns)": ["x"]}], "more columns"),
    ],
)
def test_an_order_that_cannot_be_taken_is_dead_with_all_its_rows(rows: list[dict[str, Any]], said: str) -> None:
    pieces, counts = _pieces(_map(), row("A0"), *rows, row("A9"))
    dead = [letter for piece in pieces for letter in piece.dead]
    assert [letter.row for letter in dead] == list(range(2, 2 + len(rows)))
    assert said in dead[0].detail
    assert json.loads(dead[0].raw) == json.loads(json.dumps(rows[0]))
    assert (counts.orders, counts.dead_letters) == (2, len(rows))
    assert counts.errors[0] == f"row 2: {dead[0].detail}"


def test_the_first_row_says_when() -> None:
    pieces, counts = _pieces(_map(), row(), row(sku="cup", placed="01.12.2010 09:27"))
    assert pieces[0].order
    assert (counts.orders, pieces[0].order.header.placed_at) == (1, PLACED)


def test_rows_of_an_order_that_stand_apart_are_not_a_second_order() -> None:
    pieces, counts = _pieces(_map(), row("A1"), row("A2"), row("A1"))
    assert (counts.orders, counts.dead_letters) == (2, 1)
    assert "stand apart" in pieces[2].dead[0].detail


def test_money_may_be_said_by_the_source() -> None:
    mapped = _map(MAP.replace("[line]", MONEY + "[line]"))
    pieces, _ = _pieces(mapped, row(charged="1234", refunded="34"))
    assert pieces[0].order
    value = imported(pieces[0].order, 7, "old-shop", 5, "backfill")
    assert (value["charged"], value["refunded"]) == (1234, 34)


def test_a_number_may_stay_the_order_id() -> None:
    mapped = _map(MAP.replace('id = "order"', 'id = { column = "order", keep = true }'))
    pieces, counts = _pieces(mapped, row("536365"), row("C536366"), row("0"))
    assert pieces[0].order
    assert pieces[0].order.header.order_id == 536365
    assert counts.dead_letters == 2


@given(st.lists(st.tuples(st.sampled_from(("A", "B", "C", "")), st.sampled_from(("1", "0", "x", "GIFT"))), max_size=30))
def test_every_row_is_a_line_or_left_out_or_dead(said: list[tuple[str, str]]) -> None:
    rows = [row(order, "GIFT" if units == "GIFT" else "tea", units) for order, units in said]
    pieces, counts = _pieces(_map(), *rows)
    assert counts.rows == len(rows) == counts.lines + counts.skipped + counts.dead_letters
    assert [piece.last_row for piece in pieces] == sorted({piece.last_row for piece in pieces})
    again, _ = _pieces(_map(), *rows)
    assert again == pieces
