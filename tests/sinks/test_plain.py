"""Rows made of bytes by the compiled part are those of the pure source; and what is not plain it leaves alone."""

import datetime

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas import codec
from schemas.outcomes import MAX_ORDER_ID, MAX_TIME
from schemas.shards import shard_of
from sinks import alarms, batch, plain, redis_sink, rows, sql
from sinks.rows import Record
from tests.schemas.test_compiled import needs_compiled
from tests.support.outputs import INTS, LEVELS, LONGS, OUTCOMES, level, outcome, records

pytestmark = needs_compiled

TEXTS = st.one_of(st.sampled_from(["85123A", "17850 ", "a-b_c.d", "~!", "é", "O'Hara", '"', "\\", "\x7f", "\x00", "x" * 64, "x" * 65, ""]), st.text(max_size=9))
TIMES = st.one_of(st.integers(0, MAX_TIME), st.sampled_from([-1, 0, 951_782_399_999, 951_782_400_000, 4_107_542_400_000, MAX_TIME, MAX_TIME + 1]))
NUMBERS = st.one_of(LONGS, st.integers(0, 2_000), st.sampled_from([-(2**63), 2**63 - 1, -1, 0]))
LINE_STATUSES = st.sampled_from(["HELD", "HELD", "REFUSED", "RELEASED", "SHIPPED", "RETURNED"])


@st.composite
def any_outcomes(draw):
    """Outcomes of which many are plain, and the others nearly."""
    count = draw(st.integers(0, 4))
    made = outcome(draw(st.integers(1, MAX_ORDER_ID)), draw(st.integers(1, 2)), [draw(TEXTS) if draw(st.booleans()) else "A" for _ in range(count)])
    made["status"] = draw(st.sampled_from(["CONFIRMED", "REJECTED", "PAYMENT_FAILED", "EXPIRED", "CANCELLED", "SHIPPED", "RETURNED"]))
    made["change"] = draw(st.sampled_from(["DECIDED", "DECIDED", "AMENDED", "SHIPPED", "RETURNED", "IMPORTED"]))
    for line in made["lines"]:
        line |= {"status": draw(LINE_STATUSES), "quantity": draw(NUMBERS), "unit_price": draw(NUMBERS), "returned": draw(NUMBERS)}
    if draw(st.booleans()) and made["lines"]:
        made["lines"][-1]["line"] = draw(INTS)
    other = {"user_id": TEXTS, "currency": TEXTS, "refusal": TEXTS, "amount": NUMBERS, "charged": NUMBERS, "refunded": NUMBERS, "attempt": INTS}
    other |= {"placed_at": TIMES, "decided_at": TIMES, "changed_at": TIMES, "line_count": st.integers(0, 5), "version": INTS}
    for name in draw(st.lists(st.sampled_from(sorted(other)), max_size=2)):
        made[name] = draw(other[name])
    return made


@st.composite
def any_levels(draw):
    other = {"product_id": TEXTS, "updated_at": TIMES, "version": LONGS, "tracked": st.booleans(), "frozen": st.booleans()}
    other |= dict.fromkeys(("available", "reserved", "shipped", "received", "written_off", "returned"), NUMBERS)
    names = draw(st.lists(st.sampled_from(sorted(other)), max_size=3))
    return level(version=draw(st.integers(1, 9))) | {name: draw(other[name]) for name in names}


def long_way(stream: str, data: bytes):
    """Whether a record is as every store can take it, and no promise is broken; with its fields."""
    try:
        name, value = rows.read(Record(stream, stream, 0, 0, b"", data))
    except rows.UnstorableError:
        return None
    return value if not list(alarms.of_level(value) if name == rows.LEVEL else alarms.of_outcome(value)) else None


def same_order(found, value) -> None:
    assert dict(found) == value
    assert (found.order_id, found.version, found.user_id, found.placed_at) == tuple(value[name] for name in ("order_id", "version", "user_id", "placed_at"))
    assert found.lines == len(found["lines"])
    assert found.sql() == sql._order(value)
    assert found.lines_sql() == list(sql._lines([value], 0, 1))
    assert [found.lines_sql(shard, 3) for shard in range(3)] == [list(sql._lines([value], shard, 3)) for shard in range(3)]
    assert found.packed() == redis_sink.packed_order(value)


def same_product(found, value) -> None:
    assert dict(found) == value
    assert (found.product_id, found.version) == (value["product_id"], value["version"])
    assert found.sql() == sql._product(value)
    assert found.packed() == redis_sink.packed_product(value)


@settings(max_examples=500)
@given(any_outcomes())
def test_a_plain_outcome_is_the_rows_of_the_long_way(value):
    data = codec.encode("OrderOutcome", value)
    if (found := plain.order(data)) is not None:
        assert long_way(OUTCOMES, data) == value
        same_order(found, value)


@settings(max_examples=500)
@given(any_levels())
def test_a_plain_level_is_the_row_of_the_long_way(value):
    data = codec.encode("StockLevel", value)
    if (found := plain.product(data)) is not None:
        assert long_way(LEVELS, data) == value
        same_product(found, value)


@settings(max_examples=500)
@given(st.sampled_from(["OrderOutcome", "StockLevel"]), st.data())
def test_bytes_changed_cut_or_added_are_plain_only_where_the_long_way_reads_the_same(name, data):
    sound = bytearray(codec.encode(name, outcome(7, 1, ["A", "B"]) if name == "OrderOutcome" else level()))
    for _ in range(data.draw(st.integers(1, 3))):
        sound[data.draw(st.integers(0, len(sound) - 1))] = data.draw(st.one_of(st.integers(0, 255), st.sampled_from([0, 1, 2, 0x7F, 0x80, 0xFF])))
    cut = data.draw(st.one_of(st.just(len(sound)), st.integers(0, len(sound))))
    changed = bytes(sound[:cut]) + data.draw(st.binary(max_size=2))
    if name == "OrderOutcome" and (order := plain.order(changed)) is not None:
        same_order(order, long_way(OUTCOMES, changed))
    elif name == "StockLevel" and (product := plain.product(changed)) is not None:
        same_product(product, long_way(LEVELS, changed))


SOUND = [
    outcome(283726776524341249, 1, ["85123A"]),
    outcome(1, 2, ["A", "B", "x" * 64], change="SHIPPED", status="SHIPPED"),
    outcome(MAX_ORDER_ID, 1, [], status="REJECTED", refusal="INSUFFICIENT_STOCK", line_count=3),
    outcome(3, 3, [str(n) for n in range(1_000)], change="RETURNED"),
    {**outcome(4), "change": "IMPORTED", "version": 9, "charged": -(2**63)},
]


@pytest.mark.parametrize("value", SOUND, ids=lambda value: value["change"] + str(value["line_count"]))
def test_what_comes_every_day_is_plain(value):
    found = plain.order(codec.encode("OrderOutcome", value))
    assert found is not None
    same_order(found, value)


def test_levels_that_come_every_day_are_plain():
    for value in (level(), level("x" * 64, 2**31, available=2**50, received=2**50 + 2**31), level(tracked=False, frozen=True)):
        found = plain.product(codec.encode("StockLevel", value))
        assert found is not None
        same_product(found, value)


@pytest.mark.parametrize(
    "other",
    [
        {"user_id": "O'Hara"},
        {"user_id": "é"},
        {"user_id": ""},
        {"user_id": "x" * 65},
        {"currency": "NINECHARS"},
        {"refusal": "x" * 33},
        {"placed_at": -1},
        {"changed_at": MAX_TIME + 1},
        {"change": "SHIPPED"},
        {"version": 2},
        {"refunded": -1},
        {"refunded": 10**9},
        {"charged": 10**9},
        {"line_count": 2},
        {"status": "REJECTED"},
        {"lines": outcome(1, 1, ["A"] * 1_001)["lines"], "line_count": 1_001},
        {"lines": outcome(1, 1, "BA")["lines"][::-1], "line_count": 2},
        {"lines": outcome(1, 1, ["A\\"])["lines"]},
        {"lines": [{**outcome()["lines"][0], "status": "RELEASED"}]},
        {"lines": [{**outcome()["lines"][0], "refusal": "x" * 33}]},
    ],
    ids=lambda other: next(iter(other)),
)
def test_an_outcome_with_anything_unusual_goes_the_long_way(other):
    assert plain.order(codec.encode("OrderOutcome", outcome() | other)) is None


@pytest.mark.parametrize(
    "other",
    [{"product_id": "'"}, {"product_id": ""}, {"updated_at": -1}, {"available": 99}, {"reserved": -1, "received": 99}],
    ids=lambda other: next(iter(other)),
)
def test_a_level_with_anything_unusual_goes_the_long_way(other):
    assert plain.product(codec.encode("StockLevel", level() | other)) is None


def test_a_record_of_another_name_is_not_plain_whatever_its_topic():
    assert plain.order(codec.encode("StockLevel", level())) is None
    assert plain.product(codec.encode("OrderOutcome", outcome())) is None
    assert plain.order(b"") is plain.product(b"\x00") is None
    (record,) = records([level()])
    assert [reason.reason for _, reason in batch.fold([record._replace(stream=OUTCOMES)]).unstorable] == ["WRONG_RECORD"]


def test_a_batch_holds_plain_records_as_they_are_and_the_others_decoded():
    folded = batch.fold(records([level("A"), level("é"), outcome(1), outcome(2, user_id="O'Hara")]))
    assert [type(x) for x in (*folded.products.values(), *folded.orders.values())] == [plain.Product, dict, plain.Order, dict]
    assert folded.lines == 2


@given(st.integers(0, MAX_TIME))
def test_times_are_those_of_the_calendar(ms):
    found = plain.product(codec.encode("StockLevel", level(updated_at=ms)))
    assert found is not None
    then = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(milliseconds=ms)
    assert found.sql().endswith(f"'{then:%Y-%m-%d %H:%M:%S}.{ms % 1000:03d}')")


def test_a_hash_of_any_length_is_packed_as_it_is_read():
    for products in (["A"], ["A", "B", "C"], [str(n) for n in range(700)]):
        value = outcome(5, 1, products)
        found = plain.order(codec.encode("OrderOutcome", value))
        assert found is not None
        *_, lines = msgspec.msgpack.decode(found.packed())
        assert msgspec.json.decode(lines) == value["lines"]


def test_a_line_is_in_the_shard_of_its_product():
    value = outcome(5, 1, [f"P{n}" for n in range(30)])
    found = plain.order(codec.encode("OrderOutcome", value))
    assert found is not None
    for shard in range(4):
        assert len(found.lines_sql(shard, 4)) == sum(shard_of(line["product_id"], 4) == shard for line in value["lines"])
