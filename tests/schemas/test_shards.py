"""Which shard holds a product's order lines, and how shards are named."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.audit.murmur import product_partition
from schemas.shards import shard_of, shard_sink, shard_urls

A, B = "mysql://u:p@h/a", "mysql://u:p%2Cq@h:3307/b"


def test_the_hash_never_changes():
    assert [shard_of(x, 3) for x in ("22423", "85123A", "85123a", "é", "x" * 64)] == [1, 2, 2, 0, 2]


@given(st.text(min_size=1, max_size=64), st.integers(1, 16))
def test_the_audit_finds_the_same_shard(product_id, shards):
    assert shard_of(product_id, shards) == product_partition(product_id, shards)


def test_urls_are_taken_in_order():
    assert shard_urls("") == shard_urls("  ") == ()
    assert shard_urls(A) == (A,)
    assert shard_urls(f"{B}, {A}") == (B, A)


@pytest.mark.parametrize("text", [f"{A},", f",{A}", "redis://h/0", f"{A},{A}", f"{A} {B},x"])
def test_what_is_no_list_of_databases_is_said_without_passwords(text):
    with pytest.raises(ValueError, match="HOLDFAST_MYSQL_SHARDS") as caught:
        shard_urls(text)
    assert "u:p" not in str(caught.value)


def test_positions_of_another_number_of_shards_are_others():
    assert shard_sink(1, 3) != shard_sink(1, 4)
    assert len(shard_sink(15, 16)) <= 16
