"""murmur2 as Java's and aiokafka's producers use it: one key, one partition, whoever writes."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.audit import murmur
from schemas.partitions import murmur2, order_partition, order_partitions, partition_of, plain_order_partitions, product_partition

JAVA = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}
"""Of Apache Kafka's own UtilsTest.testMurmur2; Java's int is signed."""


@pytest.mark.parametrize(("key", "expected"), JAVA.items(), ids=[key.decode() for key in JAVA])
def test_java_s_known_answers(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected % 2**32


@settings(max_examples=500)
@given(st.binary(max_size=100))
def test_the_same_as_aiokafka_and_the_audit(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) % 2**32 == murmur.murmur2(key)


@given(st.binary(max_size=40), st.integers(1, 64))
def test_a_partition_is_one_of_those_there_are(key: bytes, partitions: int) -> None:
    assert partition_of(key, partitions) == (aiokafka_murmur2(key) & 0x7FFFFFFF) % partitions in range(partitions)


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=64), st.integers(1, 2**63 - 1), st.integers(1, 64))
def test_keys_are_utf8_and_decimal(product_id: str, order_id: int, partitions: int) -> None:
    assert product_partition(product_id, partitions) == partition_of(product_id.encode(), partitions) == murmur.product_partition(product_id, partitions)
    assert order_partition(order_id, partitions) == partition_of(str(order_id).encode(), partitions) == murmur.order_partition(order_id, partitions)


def test_the_keys_of_a_catalogue_spread_over_all_partitions() -> None:
    counts = [0] * 8
    for number in range(8_000):
        counts[product_partition(f"SKU-{number}", 8)] += 1
    assert min(counts) > 800
    assert max(counts) < 1_200


@given(st.lists(st.one_of(st.integers(1, 2**63 - 1), st.integers(10**17, 10**17 + 300), st.integers(95, 105)), max_size=60), st.integers(1, 64))
def test_many_orders_at_once_lie_where_each_does(order_ids: list[int], partitions: int) -> None:
    each = [partition_of(b"%d" % order_id, partitions) for order_id in order_ids]
    assert order_partitions(order_ids, partitions) == each == plain_order_partitions(order_ids, partitions)
