"""What a changelog says, with strays among its rows or without. Pure: records are given as key, value and offset."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas import codec
from schemas.partitions import partition_of
from schemas.topics import DEAD_LETTERS, POSITIONS_KEY, STOCK_STATE
from streams.config import StreamSettings
from streams.payments.sandbox import Sandbox
from streams.runtime.changelog import Changelog
from streams.runtime.clients import MisconfiguredError
from streams.runtime.opening import Owned, Recovery
from streams.runtime.records import BrokenRowError, Place, StageKind
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK
from tests.support.examples import example

ORDERS, PAYMENTS = orders_kind(1_000), payments_kind(Sandbox())
HERE = Place(partition_of(b"7", 8), 8)
HEAD = {kind.name: codec.encode(kind.changelog.records[0], example(kind.changelog.records[0]))[: codec.HEADER_BYTES] for kind in (STOCK, ORDERS, PAYMENTS)}
POSITIONS = codec.encode("TaskPositions", example("TaskPositions"))
GARBAGE = {
    "no record at all": b"garbage",
    "empty": b"",
    "a schema nobody knows": b"\x00\x00\x0f\xff\xff" + b"x" * 30,
    "a record of another topic": codec.encode("OrderLine", example("OrderLine")),
    "positions": POSITIONS,
}


def row(version: int = 1, product_id: str = "7") -> bytes:
    return codec.encode("ProductRow", {**example("ProductRow"), "product_id": product_id, "version": version})


def fold(kind: StageKind, *records: tuple[bytes, bytes | None], suspects: tuple[bytes, ...] = ()) -> Changelog:
    changelog = Changelog(kind, HERE, suspects)
    for offset, (key, value) in enumerate(records):
        changelog.take(key, value, offset)
    changelog.settle(f"{kind.name}.{HERE.partition}")
    return changelog


def test_the_last_row_of_a_key_stands_and_the_positions_are_apart() -> None:
    changelog = fold(STOCK, (b"7", row(1)), (POSITIONS_KEY, POSITIONS), (b"8", row(1, "8")), (b"7", row(2)))
    assert changelog.rows == {b"7": row(2), b"8": row(1, "8")}
    assert changelog.positions == POSITIONS
    assert changelog.strays == {}


def test_a_tombstone_takes_a_row_away_where_the_stage_deletes_rows() -> None:
    value = codec.encode("OrderRow", example("OrderRow"))
    changelog = fold(ORDERS, (b"7", value), (b"7", None), (b"9", None))
    assert changelog.rows == changelog.strays == {}


def positions(rows_schema: int) -> bytes:
    return codec.encode("TaskPositions", {"topic": ["orders", "stock.state"], "offset": [9, rows_schema], "partitions": [8, 8], "topic_id": ["a", "b"]})


def test_rows_of_a_later_version_are_no_strays_but_a_reason_to_start_that_one() -> None:
    """An earlier version that took the last row it knows for the true one would sell a product twice."""
    ours, later = positions(codec.schema_ids()["ProductRow"][-1]), positions(999)
    with pytest.raises(MisconfiguredError, match="later version"):
        fold(STOCK, (b"7", row(1)), (POSITIONS_KEY, ours), (b"7", b"\x00\x00\x00\x03\xe7x"), (POSITIONS_KEY, later))


def test_rows_of_this_version_and_of_those_before_are_known() -> None:
    ours = codec.schema_ids()["ProductRow"][-1]
    assert fold(STOCK, (b"7", row(1)), (POSITIONS_KEY, positions(ours))).rows == {b"7": row(1)}
    assert fold(STOCK, (b"7", row(1)), (POSITIONS_KEY, POSITIONS)).rows == {b"7": row(1)}


def test_a_row_that_was_deleted_stays_deleted_in_spite_of_a_stray_record() -> None:
    value = codec.encode("OrderRow", example("OrderRow"))
    changelog = fold(ORDERS, (b"7", value), (b"7", None), (b"7", b"garbage"))
    assert changelog.rows == {}
    assert changelog.strays[b"7"].stands is None


@pytest.mark.parametrize("kind", [STOCK, PAYMENTS], ids=["stock", "payments"])
def test_a_tombstone_is_a_stray_where_the_stage_deletes_none(kind: StageKind) -> None:
    name = kind.changelog.records[0]
    value = codec.encode(name, example(name))
    changelog = fold(kind, (b"7", value), (b"7", None), (b"9", None))
    assert changelog.rows == {b"7": value}
    assert [(s.key, s.offset, s.stands) for s in changelog.strays.values()] == [(b"7", 1, value)]


@pytest.mark.parametrize("value", GARBAGE.values(), ids=list(GARBAGE))
def test_a_row_stands_in_spite_of_a_stray_record_behind_it(value: bytes) -> None:
    changelog = fold(STOCK, (b"7", row(1)), (b"7", row(2)), (b"7", value))
    assert changelog.rows == {b"7": row(2)}
    (stray,) = changelog.strays.values()
    assert (stray.key, stray.offset, stray.value, stray.stands) == (b"7", 2, value, row(2))


@pytest.mark.parametrize("value", GARBAGE.values(), ids=list(GARBAGE))
def test_a_stray_record_that_a_row_followed_is_over(value: bytes) -> None:
    changelog = fold(STOCK, (b"7", row(1)), (b"7", value), (b"7", row(2)))
    assert changelog.rows == {b"7": row(2)}
    assert changelog.strays == {}


@pytest.mark.parametrize("value", [b"garbage", row(), None], ids=["garbage", "a row", "tombstone"])
def test_the_positions_stand_in_spite_of_a_stray_record_behind_them(value: bytes | None) -> None:
    changelog = fold(STOCK, (POSITIONS_KEY, POSITIONS), (POSITIONS_KEY, value))
    assert changelog.positions == POSITIONS
    assert list(changelog.strays) == [POSITIONS_KEY]


@pytest.mark.parametrize("value", [POSITIONS[:-1], POSITIONS + b"x"], ids=["cut", "longer"])
def test_positions_with_a_broken_body_are_noticed_at_once(value: bytes) -> None:
    assert fold(STOCK, (POSITIONS_KEY, POSITIONS), (POSITIONS_KEY, value)).positions == POSITIONS


def test_of_a_suspect_every_record_is_decoded() -> None:
    broken = HEAD["stock"] + b"\xff"
    assert fold(STOCK, (b"7", row(2)), (b"7", broken)).rows == {b"7": broken}
    changelog = fold(STOCK, (b"7", row(2)), (b"7", broken), suspects=(b"7",))
    assert changelog.rows == {b"7": row(2)}
    assert changelog.strays[b"7"].value == broken


@pytest.mark.parametrize("value", GARBAGE.values(), ids=list(GARBAGE))
@pytest.mark.parametrize("kind", [STOCK, ORDERS, PAYMENTS], ids=["stock", "orders", "payments"])
def test_where_nothing_is_left_to_stand_people_must_look(kind: StageKind, value: bytes) -> None:
    with pytest.raises(MisconfiguredError) as refused:
        fold(kind, (POSITIONS_KEY, POSITIONS), (b"7", value))
    words = [kind.changelog.name, f"partition {HERE.partition}", "offset 1", "b'7'", "tombstone"]
    assert [word for word in words if word not in str(refused.value)] == []


def test_positions_of_which_none_is_left_are_refused() -> None:
    with pytest.raises(MisconfiguredError, match="positions"):
        fold(STOCK, (b"7", row()), (POSITIONS_KEY, b"garbage"))


@pytest.mark.parametrize("key", [b"", b"\xff\xfe", b"a\0b", b"x" * 65])
def test_a_key_that_no_product_has_is_a_stray_and_no_reason_to_stop(key: bytes) -> None:
    for value in (b"garbage", row()):
        changelog = fold(STOCK, (key, value))
        assert changelog.rows == {}
        assert changelog.strays[key].stands is None


@pytest.mark.parametrize("key", [b"", b"abc", b"-7", b"007", b"7" * 20, b"\xb2"])
def test_a_key_that_no_order_has_is_a_stray_and_no_reason_to_stop(key: bytes) -> None:
    for value in (b"garbage", codec.encode("OrderRow", example("OrderRow"))):
        changelog = fold(ORDERS, (key, value))
        assert changelog.rows == {}
        assert changelog.strays[key].stands is None


def test_a_key_of_another_partition_is_no_reason_to_stop() -> None:
    stranger = next(b"%d" % n for n in range(1_000) if partition_of(b"%d" % n, 8) != HERE.partition)
    assert fold(STOCK, (stranger, b"garbage")).strays[stranger].stands is None


RECORDS = st.lists(st.tuples(st.sampled_from([b"7", b"70", b"71"]), st.sampled_from([row(1), row(2), b"garbage", b"", POSITIONS])), max_size=12)


@given(RECORDS)
def test_strays_change_no_row(records: list[tuple[bytes, bytes]]) -> None:
    rows = {key: value for key, value in records if value[: codec.HEADER_BYTES] == HEAD["stock"]}
    keys = {key for key, _ in records}
    changelog = fold(STOCK, *[(key, row(9)) for key in keys], *records)
    assert changelog.rows == {key: rows.get(key, row(9)) for key in keys}
    assert set(changelog.strays) == {key for key, value in dict(records).items() if value[: codec.HEADER_BYTES] != HEAD["stock"]}


# -- the stage made of it --------------------------------------------------------------------------------------------------


def recovery(kind: StageKind, *records: tuple[bytes, bytes | None]) -> Recovery:
    """A recovery that has folded these records."""
    found = Recovery(Owned(f"{kind.name}.{HERE.partition}", kind, HERE, StreamSettings()))
    found._changelog = fold(kind, *records)
    return found


def test_the_row_that_stands_is_written_over_the_stray_one_and_that_is_a_dead_letter() -> None:
    over, letter = recovery(STOCK, (b"7", row(2)), (b"7", b"garbage")).mending(now=99)
    assert over == (STOCK_STATE, HERE.partition, b"7", row(2))
    assert (letter.topic, letter.partition) == (DEAD_LETTERS, HERE.partition)
    said = codec.decode(letter.value).value
    assert (said["stage"], said["topic"], said["offset"], said["reason"], said["value"], said["died_at"]) == (
        "stock",
        "stock.state",
        1,
        "NOT_CONFLUENT",
        b"garbage",
        99,
    )


def test_a_stray_key_is_deleted() -> None:
    over, letter = recovery(ORDERS, (b"abc", b"garbage")).mending(now=99)
    assert (over.key, over.value) == (b"abc", None)
    assert codec.decode(letter.value).value["key"] == b"abc"


def test_the_row_that_stands_is_written_though_the_stage_has_taken_it() -> None:
    value = codec.encode("OrderRow", {**example("OrderRow"), "order_id": 7, "status": 1})
    found = recovery(ORDERS, (b"7", value), (b"7", b"garbage"))
    ORDERS.new(HERE).restore(found._changelog.rows)
    assert found.mending(now=99)[0].value == value


def test_a_stray_record_on_the_positions_is_only_a_dead_letter() -> None:
    (letter,) = recovery(STOCK, (POSITIONS_KEY, POSITIONS), (POSITIONS_KEY, b"garbage")).mending(now=99)
    assert letter.topic is DEAD_LETTERS


@pytest.mark.parametrize("kind", [STOCK, ORDERS, PAYMENTS], ids=["stock", "orders", "payments"])
@pytest.mark.parametrize("body", [b"", b"\xff", b"\x02", b"\x02\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff"], ids=["empty", "one byte", "short", "long"])
def test_a_row_with_a_broken_body_is_found_at_the_latest_when_it_is_touched(kind: StageKind, body: bytes) -> None:
    with pytest.raises(BrokenRowError) as broken:
        touch(kind, HEAD[kind.name] + body)
    assert broken.value.key == b"7"


def touch(kind: StageKind, value: bytes) -> None:
    stage = kind.new(HERE)
    stage.restore({b"7": value})
    stage.rows.find("7" if kind is STOCK else 7)


def test_who_is_broken_though_it_decodes_was_written_by_nobody_we_know() -> None:
    found = recovery(STOCK)
    found.suspect(BrokenRowError(b"7", "first"))
    with pytest.raises(MisconfiguredError, match="start the version that did"):
        found.suspect(BrokenRowError(b"7", "again"))
