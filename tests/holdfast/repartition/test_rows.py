"""Rows on their way to another number of partitions: each arrives once, where its key belongs, as it was."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.repartition.rows import carried, merged, spread
from schemas import codec
from schemas.partitions import partition_of
from schemas.topics import ORDER_STATE, PAYMENT_STATE, STOCK_STATE
from tests.support.examples import example

ORDER_IDS = st.sets(st.integers(1, 2**62), max_size=40)


def order_row(order_id: int) -> bytes:
    return codec.encode("OrderRow", {**example("OrderRow"), "order_id": order_id})


@given(ORDER_IDS, st.integers(1, 24), st.integers(1, 24))
def test_every_row_arrives_once_where_its_key_belongs(order_ids: set[int], before: int, after: int) -> None:
    rows = {b"%d" % order_id: order_row(order_id) for order_id in order_ids}
    parts = spread(ORDER_STATE, merged(spread(ORDER_STATE, rows, before)), after)
    assert len(parts) == after
    assert all(partition_of(key, after) == partition for partition, part in enumerate(parts) for key in part)
    assert merged(parts) == rows


def test_a_key_on_two_partitions_is_refused() -> None:
    with pytest.raises(ValueError, match=r"rows of 1 keys stand on two partitions, for example b'7'"):
        merged([{b"7": b"x", b"8": b"x"}, {b"7": b"x"}])


def test_a_row_that_nobody_can_read_is_not_carried() -> None:
    with pytest.raises(codec.UndecodableError):
        spread(STOCK_STATE, {b"p": codec.encode("ProductRow", example("ProductRow"))[:-2]}, 3)


def test_a_pending_payment_waits_at_the_beginning_of_its_new_partition() -> None:
    row = example("PaymentRow")
    assert row["pending"]
    second = {**row["pending"][0], "attempt": 2, "offset": 90, "index": 7}
    value = codec.encode("PaymentRow", {**row, "unanswered": 2, "pending": [*row["pending"], second]})
    found = codec.decode(carried(PAYMENT_STATE, value)).value
    assert [(one["offset"], one["index"]) for one in found["pending"]] == [(0, 0), (0, 1)]
    assert [one["attempt"] for one in found["pending"]] == [row["pending"][0]["attempt"], 2]
    assert {name: found[name] for name in row if name not in ("pending", "unanswered")} == {
        name: codec.decode(value).value[name] for name in row if name not in ("pending", "unanswered")
    }


def test_other_rows_are_carried_byte_for_byte() -> None:
    settled = codec.encode("PaymentRow", {**example("PaymentRow"), "unanswered": 0, "pending": []})
    assert carried(PAYMENT_STATE, settled) == settled
    assert carried(ORDER_STATE, order_row(5)) == order_row(5)
