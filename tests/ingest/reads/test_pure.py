"""What reads do without a store: cursors, documents, the breaker, gathering, joining lines."""

import asyncio
from collections import Counter
from datetime import datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.http.errors import Problem
from ingest.http.reads import LIMIT, ids_of, matches, number_of
from ingest.order_ids import compose
from ingest.reads import documents
from ingest.reads.breaker import Breaker
from ingest.reads.cursors import cursor_of, place_of
from ingest.reads.fields import ORDER_FIELDS, PRODUCT_FIELDS, datetime_of, fields_of_row, ms_of, order_of_values, stock_of_values, values_of
from ingest.reads.gather import Gather
from ingest.reads.tables import are_whole, joined
from schemas import views
from schemas.outcomes import MAX_ORDER_ID, MAX_TIME
from tests.support.outputs import level, outcome

PLACES = st.tuples(st.integers(0, MAX_TIME), st.integers(1, MAX_ORDER_ID))
NOW = 1_291_200_010_000


# -- cursors -------------------------------------------------------------------------------------------------------------


@given(st.text(max_size=64), PLACES)
def test_a_cursor_says_its_place_to_its_user_alone(user, place):
    cursor = cursor_of(user, place)
    assert place_of(user, cursor) == place
    with pytest.raises(ValueError, match="no cursor"):
        place_of(user + "x", cursor)


@given(st.integers(0, 31), st.sampled_from("ABCxyz019-_=.%é"))
def test_a_cursor_that_was_changed_is_none(at, character):
    cursor = cursor_of("u1", (NOW, 12345))
    changed = cursor[:at] + character + cursor[at + 1 :]
    if changed != cursor:
        with pytest.raises(ValueError, match="no cursor"):
            place_of("u1", changed)


@given(st.text(max_size=50))
def test_any_text_is_no_cursor(text):
    with pytest.raises(ValueError, match="no cursor"):
        place_of("u1", text)


# -- documents and fields ------------------------------------------------------------------------------------------------


def stored(values):
    """What Redis gives back of what is written there."""
    return [x.decode() if isinstance(x, bytes) else str(x) for x in values]


def test_a_hash_and_what_fills_it_are_the_same():
    product, order = level("A", 3, frozen=True), outcome(7, 2, ["A", "B"]) | {"order_id": "7"}
    order = {name: order[name] for name in ORDER_FIELDS}
    assert stock_of_values(stored(values_of(PRODUCT_FIELDS, product))) == product
    assert order_of_values(stored(values_of(ORDER_FIELDS, order))) == order


@pytest.mark.parametrize("place", range(len(PRODUCT_FIELDS)))
def test_a_hash_that_is_not_whole_is_none(place):
    values = stored(values_of(PRODUCT_FIELDS, level("A")))
    assert stock_of_values([*values[:place], None, *values[place + 1 :]]) is None


def test_a_hash_that_makes_no_sense_is_none():
    values = stored(values_of(ORDER_FIELDS, outcome(7)))
    assert order_of_values([*values[:-1], "[{"]) is None
    assert order_of_values(["7", "u", "CONFIRMED", "", "x", *values[5:]]) is None


def test_documents_have_the_members_that_are_documented():
    fields = {name: outcome(7, 2)[name] for name in ORDER_FIELDS} | {"order_id": "7"}
    order = documents.order_document(fields, NOW)
    assert order.keys() == {field.name for field in msgspec.structs.fields(documents.OrderView)}
    assert msgspec.convert(order, documents.OrderView).version == 2
    assert (order["status"], order["lines"][0]["status"], order["age_ms"]) == ("confirmed", "shipped", NOW - fields["changed_at"])
    assert fields["lines"][0]["status"] == "SHIPPED"
    product = documents.product_document(level("A"), NOW)
    assert product.keys() == {field.name for field in msgspec.structs.fields(documents.ProductView)}
    assert product["age_ms"] == NOW - level("A")["updated_at"]


def test_an_accepted_order_is_as_old_as_its_id():
    order = documents.accepted_document(compose(1_800_000_000_000, 1, 2), "u1", 1_800_000_000_250)
    assert (order["status"], order["version"], order["age_ms"], order["lines"]) == ("accepted", 0, 250, [])
    msgspec.convert(order, documents.OrderView)


def test_nothing_is_younger_than_now():
    assert documents.age_ms(NOW + 5, NOW) == 0


@given(st.integers(0, MAX_TIME))
def test_times_go_to_mysql_and_back(ms):
    assert ms_of(datetime_of(ms)) == ms


# -- rows of an order ----------------------------------------------------------------------------------------------------


def order_row(order_id, version, lines=2, status="CONFIRMED"):
    at = datetime(2026, 1, 1)
    return (order_id, "u1", status, "", version, "GBP", 1, 1, 0, 1, lines, at, at, at)


def line_row(order_id, version, line):
    return (order_id, version, line, f"P{line}", 1, 1, "HELD", "", 0)


def test_lines_join_their_orders_in_order():
    found = joined([order_row(1, 1), order_row(2, 1)], [line_row(2, 1, 2), line_row(1, 1, 1), line_row(2, 1, 1), line_row(3, 1, 1)])
    assert {order_id: [line["product_id"] for line in order["lines"]] for order_id, order in found.items()} == {1: ["P1"], 2: ["P1", "P2"]}
    assert found[1] == fields_of_row(views.ORDER_COLUMNS, order_row(1, 1)) | {"lines": found[1]["lines"]}


@pytest.mark.parametrize(
    ("order", "lines", "whole"),
    [
        (order_row(1, 2), [line_row(1, 2, 1), line_row(1, 2, 2)], True),
        (order_row(1, 2), [line_row(1, 2, 1), line_row(1, 3, 2)], False),
        (order_row(1, 2), [line_row(1, 1, 1), line_row(1, 1, 2)], False),
        (order_row(1, 2), [line_row(1, 2, 1)], False),
        (order_row(1, 2, status="CANCELLED"), [line_row(1, 2, 1)], True),
        (order_row(1, 2, status="EXPIRED"), [], True),
    ],
)
def test_an_order_is_whole_when_its_rows_are_of_one_version(order, lines, whole):
    assert are_whole(joined([order], lines), lines) is whole


# -- the breaker and gathering -------------------------------------------------------------------------------------------


def test_a_breaker_rests_and_comes_back():
    now = [0.0]
    breaker = Breaker(1.0, lambda: now[0])
    assert breaker.allows()
    breaker.failed()
    now[0] = 0.9
    assert not breaker.allows()
    now[0] = 1.0
    assert breaker.allows()
    breaker.failed()
    breaker.worked()
    assert breaker.allows()


class Fetches:
    """Counts what it is asked for; answers when it is let."""

    def __init__(self, error=None):
        self.flights, self.error, self.let = [], error, asyncio.Event()

    async def __call__(self, keys):
        self.flights.append(list(keys))
        await self.let.wait()
        if self.error:
            raise self.error
        return {key: f"<{key}>" for key in keys if key != "none"}


def test_a_storm_on_one_key_is_one_question():
    async def run():
        fetches = Fetches()
        gather = Gather(fetches, 4, 10)
        asked = [asyncio.ensure_future(gather.get("a")) for _ in range(100)]
        await asyncio.sleep(0)
        asked += [asyncio.ensure_future(gather.get("a")) for _ in range(100)]
        await asyncio.sleep(0.001)
        fetches.let.set()
        assert Counter(await asyncio.gather(*asked)) == {"<a>": 200}
        assert fetches.flights == [["a"]]
        assert await gather.get("none") is None
        await gather.close()

    asyncio.run(run())


def test_what_is_asked_meanwhile_goes_together_and_is_cut():
    async def run():
        fetches = Fetches()
        gather = Gather(fetches, 1, 3)
        asked = [asyncio.ensure_future(gather.get(key)) for key in "abcdefg"]
        await asyncio.sleep(0.001)
        assert fetches.flights == [["a", "b", "c"]]
        fetches.let.set()
        assert await asyncio.gather(*asked) == [f"<{key}>" for key in "abcdefg"]
        assert fetches.flights == [["a", "b", "c"], ["d", "e", "f"], ["g"]]

    asyncio.run(run())


def test_one_who_gives_up_takes_nothing_from_the_others():
    async def run():
        fetches = Fetches()
        gather = Gather(fetches, 1, 3)
        first, second = (asyncio.ensure_future(gather.get("a")) for _ in range(2))
        await asyncio.sleep(0.001)
        first.cancel()
        fetches.let.set()
        assert await second == "<a>"

    asyncio.run(run())


def test_an_error_is_everybodys_and_is_not_kept():
    async def run():
        fetches = Fetches(OSError("down"))
        gather = Gather(fetches, 1, 3)
        fetches.let.set()
        found = await asyncio.gather(*(gather.get("a") for _ in range(3)), return_exceptions=True)
        assert [str(error) for error in found] == ["down"] * 3
        fetches.error = None
        assert await gather.get("a") == "<a>"

    asyncio.run(run())


# -- the query -----------------------------------------------------------------------------------------------------------


def test_ids_are_taken_once_and_in_order():
    assert ids_of("b,a,b, c") == ["b", "a", " c"]


@pytest.mark.parametrize("text", ["", "a,,b", ",", "a\0", "x" * 65, ",".join(map(str, range(101)))])
def test_what_is_no_list_of_ids_is_refused(text):
    with pytest.raises(Problem, match="product IDs"):
        ids_of(text)


@pytest.mark.parametrize("text", ["0", "101", "-1", "1.0", "x", "", "٣", "9" * 5_000])
def test_a_limit_that_is_none_is_refused(text):
    with pytest.raises(Problem, match="whole number from 1 to 100"):
        number_of({"limit": text}, LIMIT)


@pytest.mark.parametrize(
    ("known", "same"),
    [('W/"7"', True), ('"7"', True), ("*", True), ('"1", W/"7"', True), ('W/"8"', False), ("7", False), ("", False), ('"17"', False)],
)
def test_if_none_match_compares_weakly(known, same):
    assert matches(known, 'W/"7"') is same
