"""The input of the benches: the same bytes each time, in both forms, on the products' partitions."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.work import FIRST_ORDER, HOT_SHARE, MIXES, Work, quantity, records
from schemas import codec
from schemas.partitions import product_partition

PARTITIONS = 8


@pytest.mark.parametrize("mix", [m for m in MIXES if m != "million"])
def test_stock_is_nine_tenths_of_what_is_asked_for(mix: str) -> None:
    work = Work(MIXES[mix], 100_000)
    stock = sum(work.opening(product) for product in range(work.mix.products))
    asked = sum(quantity(i) for i in range(work.orders))
    assert stock / asked == pytest.approx(0.9, rel=0.05)


def test_the_hot_products_get_their_share() -> None:
    work = Work(MIXES["hot10"], 50_000)
    counts = Counter(work.products())
    hot = sum(counts[product] for product in range(10))
    assert hot / 50_000 == pytest.approx(HOT_SHARE + (1 - HOT_SHARE) / 100, abs=0.01)
    assert max(counts) < 1_000


def test_the_products_are_the_same_each_time() -> None:
    assert Work(MIXES["uniform"], 1_000).products() == Work(MIXES["uniform"], 1_000).products()
    assert set(Work(MIXES["one"], 1_000).products()) == {0}


def lines(per_record: int) -> dict[int, list[tuple[int, str, int]]]:
    """Return partition -> (order ID, product, quantity) as the records have them."""
    found: dict[int, list[tuple[int, str, int]]] = {p: [] for p in range(PARTITIONS)}
    for partition, key, value in records(Work(MIXES["uniform"], 2_345), PARTITIONS, per_record):
        decoded = codec.decode(value)
        fields = [decoded.value[name] for name in ("order_id", "product_id", "quantity")]
        found[partition] += zip(*fields, strict=True) if decoded.name == "OrderLines" else [tuple(fields)]
        assert (key is None) == (per_record > 1)
    return found


def test_single_records_and_columns_carry_the_same_orders_in_the_same_order() -> None:
    single = lines(1)
    assert single == lines(100)
    assert sorted(order for found in single.values() for order, _, _ in found) == [FIRST_ORDER + i for i in range(2_345)]
    assert all(product_partition(product, PARTITIONS) == partition for partition, found in single.items() for _, product, _ in found)
