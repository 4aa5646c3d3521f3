"""The audit's own decoding, hashing and tables, against Kafka's published vectors and the pipeline's codec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.audit import Log, Stores, wire
from holdfast.audit.murmur import murmur2, order_partition, product_partition
from holdfast.audit.stores import digest_of_lines
from holdfast.audit.table import MISSING
from schemas import codec, partitions, topics
from tests.support.examples import example

# Apache Kafka, clients/src/test/java/org/apache/kafka/common/utils/UtilsTest.java
VECTORS = {b"21": -973932308, b"foobar": -790332482, b"a-little-bit-long-string": -985981536, b"a-little-bit-longer-string": -1486304829, b"abc": 479470107}


@pytest.mark.parametrize(("data", "signed"), VECTORS.items())
def test_murmur2_is_kafkas(data: bytes, signed: int) -> None:
    assert murmur2(data) == signed % 2**32


@given(st.binary(max_size=40))
def test_two_murmurs_agree(data: bytes) -> None:
    assert murmur2(data) == partitions.murmur2(data)


@given(st.text(max_size=70), st.integers(-(2**63), 2**63 - 1), st.integers(1, 64))
def test_partitions_agree(product_id: str, order_id: int, count: int) -> None:
    assert order_partition(order_id, count) == partitions.order_partition(order_id, count)
    assert product_partition(product_id, count) == partitions.product_partition(product_id, count)


@pytest.mark.parametrize("name", sorted(codec.schema_ids()))
def test_every_record_is_decoded_as_the_codec_does(name: str) -> None:
    data = codec.encode(name, example(name))
    assert wire.decode(data) == tuple(codec.decode(data))


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (None, "no 0x00"),
        (b"", "no 0x00"),
        (b"\x00\x00\x00\x00", "no 0x00"),
        (b"\x01\x00\x00\x00\x65abc", "no 0x00"),
        (b"\x00\x00\x00\x00\x01abc", "schema ID 1 is not known"),
        (b"\x00\x00\x00\x00\x65\xff", "not a OrderLine"),
        (codec.encode("OrderLine", example("OrderLine")) + b"x", "bytes left over"),
        (codec.encode("OrderLines", {**example("OrderLines"), "line": []}), "different lengths"),
    ],
)
def test_anything_else_is_undecodable(data: bytes | None, why: str) -> None:
    with pytest.raises(wire.UndecodableError, match=why):
        wire.decode(data)


@given(st.binary(max_size=60))
def test_garbage_is_undecodable_or_a_record_but_never_a_crash(data: bytes) -> None:
    log = Log(1)
    log.add(topics.ORDERS, 0, 0, None, b"\x00\x00\x00\x00\x66" + data)
    log.add(topics.ORDER_STATE, 0, 0, topics.POSITIONS_KEY, data)
    assert len(log.bad) in (1, 2)


def test_items_are_found_by_partition_offset_and_index() -> None:
    log = Log(2)
    log.add(topics.ORDERS, 1, 7, None, codec.encode("OrderLines", example("OrderLines")))
    log.add(topics.ORDERS, 0, 7, None, codec.encode("OrderLine", example("OrderLine")))
    size = len(example("OrderLines")["line"])
    assert len(log.lines) == size + 1
    assert [tuple(log.lines.place(item)[1:]) for item in range(size + 1)] == [*((1, 7, index) for index in range(size)), (0, 7, 0)]
    assert log.lines.find(1, 7, size - 1) == size - 1
    assert log.lines.find(0, 7, 0) == size
    for nowhere in ((1, 7, size), (1, 7, -1), (1, 8, 0), (2, 7, 0)):
        assert log.lines.find(*nowhere) == MISSING
    assert log.lines["product_id"][size] == example("OrderLine")["product_id"]


def test_only_what_lies_before_the_first_look_is_settled() -> None:
    log = Log(1)
    for offset in (0, 1):
        log.add(topics.ORDERS, 0, offset, None, codec.encode("OrderLine", example("OrderLine")))
    assert log.lines.settled(1)
    log.in_flight({("orders", 0): 1})
    assert log.lines.settled(0)
    assert not log.lines.settled(1)


def test_a_tombstone_removes_a_row() -> None:
    log = Log(1)
    log.add(topics.ORDER_STATE, 0, 0, b"5", codec.encode("OrderRow", example("OrderRow")))
    assert b"5" in log.rows["order.state"]
    log.add(topics.ORDER_STATE, 0, 1, b"5", None)
    assert not log.rows["order.state"]


def test_the_digest_of_lines_knows_lines_apart_and_not_their_spelling() -> None:
    line = {"line": 1, "product_id": "a", "quantity": 2, "unit_price": 3, "status": "HELD", "refusal": "", "returned": 0}
    assert digest_of_lines([line]) == digest_of_lines([dict(reversed(line.items()))])
    for other in ({**line, "quantity": 3}, {**line, "more": 1}, {k: v for k, v in line.items() if k != "returned"}):
        assert digest_of_lines([line]) != digest_of_lines([other])


def test_a_key_that_holds_no_hash_is_noted() -> None:
    stores = Stores()
    stores.add_hash("order:7", None)
    assert [place.topic for place, _ in stores.malformed] == ["redis:order:7"]


@pytest.mark.parametrize("stray", [b"garbage", codec.encode("OrderLine", example("OrderLine"))[:-1], codec.encode("ProductRow", example("ProductRow"))[:-1]])
def test_a_stray_record_over_a_row_does_not_count(stray: bytes) -> None:
    log, row = Log(1), example("ProductRow")
    log.add(topics.STOCK_STATE, 0, 0, b"P", codec.encode("ProductRow", row))
    log.add(topics.STOCK_STATE, 0, 1, b"P", stray)
    assert log.rows[topics.STOCK_STATE.name][b"P"].fields() == wire.decode(codec.encode("ProductRow", row))[1]


def test_a_row_that_was_never_decodable_is_an_error() -> None:
    log = Log(1)
    log.add(topics.STOCK_STATE, 0, 0, b"P", b"garbage")
    with pytest.raises(wire.UndecodableError):
        log.rows[topics.STOCK_STATE.name][b"P"].fields()
