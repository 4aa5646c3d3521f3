"""The work of the benches: which products the orders name, how many units there are, and the orders as bytes. Pure.

Order `i` of a run has the ID `FIRST_ORDER + i` and asks for 1 + i % 3 units of one product, so two units in the mean.
"""

from __future__ import annotations

import random
from array import array
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NamedTuple

from schemas import codec
from schemas.partitions import product_partition

COLUMNS: Final = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")
PLACED_AT: Final = 1_760_000_000_000
FIRST_ORDER: Final = PLACED_AT << 22
MEAN_QUANTITY: Final = 2
STOCKED_SHARE: Final = 0.9
"""Of what is asked for, so that both answers occur."""
HOT_SHARE: Final = 0.9
USERS: Final = [f"u{i}" for i in range(5_000)]


@dataclass(frozen=True)
class Mix:
    """How orders spread over products: evenly over `products`, or with `hot`, 90 % of them over that many first."""

    name: str
    title: str
    products: int
    hot: int = 0


MIXES: Final = {
    mix.name: mix
    for mix in (
        Mix("uniform", "uniform over 1,000 products", 1_000),
        Mix("hot10", "90 % on 10 of 1,000 products", 1_000, 10),
        Mix("one", "one product only", 1),
        Mix("million", "uniform over 1,000,000 products", 1_000_000),
    )
}


class Filled(NamedTuple):
    """One record of the input topic; `key` is None for a columnar one."""

    partition: int
    key: bytes | None
    value: bytes


@dataclass(frozen=True)
class Work:
    """So many orders of a mix."""

    mix: Mix
    orders: int

    def products(self) -> array[int]:
        """Return the number of each order's product, in the order of the log."""
        rng, mix = random.Random(1), self.mix
        draw, count, hot = rng.random, mix.products, mix.hot
        if not hot:
            return array("i", (int(draw() * count) for _ in range(self.orders)))
        return array("i", (int(draw() * (hot if draw() < HOT_SHARE else count)) for _ in range(self.orders)))

    @property
    def units(self) -> int:
        """Units each product has before the first order, the hot ones aside."""
        share = 1 - HOT_SHARE if self.mix.hot else 1.0
        return max(1, round(self.orders * share * MEAN_QUANTITY * STOCKED_SHARE / self.mix.products))

    @property
    def hot_units(self) -> int:
        """Units each hot product has before the first order."""
        if not self.mix.hot:
            return 0
        return self.units + round(self.orders * HOT_SHARE * MEAN_QUANTITY * STOCKED_SHARE / self.mix.hot)

    def opening(self, product: int) -> int:
        """Return the units a product has before the first order."""
        return self.hot_units if product < self.mix.hot else self.units


def quantity(order: int) -> int:
    """Return the units that order number `order` asks for."""
    return 1 + order % 3


def records(work: Work, partitions: int, per_record: int) -> Iterator[Filled]:
    """Yield the input topic's records: one `OrderLine` each, or `OrderLines` with columns of `per_record`."""
    catalogue = _catalogue(work.mix, partitions)
    return _single(work, catalogue) if per_record == 1 else _columnar(work, catalogue, partitions, per_record)


def _catalogue(mix: Mix, partitions: int) -> list[tuple[str, int]]:
    """Return each product's name and partition: of each product once, not of each order."""
    names = [f"p{product}" for product in range(mix.products)]
    return [(name, product_partition(name, partitions)) for name in names]


def _single(work: Work, catalogue: list[tuple[str, int]]) -> Iterator[Filled]:
    encode = codec.encoder("OrderLine")
    for i, product in enumerate(work.products()):
        name, home = catalogue[product]
        fields = (FIRST_ORDER + i, 1, 1, name, quantity(i), 999, "GBP", USERS[i % len(USERS)], "tok_ok", PLACED_AT)
        yield Filled(home, name.encode(), encode(dict(zip(COLUMNS, fields, strict=True))))


def _columnar(work: Work, catalogue: list[tuple[str, int]], partitions: int, per_record: int) -> Iterator[Filled]:
    encode = codec.encoder("OrderLines")
    waiting: list[list[tuple[int, str]]] = [[] for _ in range(partitions)]
    for i, product in enumerate(work.products()):
        name, home = catalogue[product]
        waiting[home].append((i, name))
        if len(waiting[home]) == per_record:
            yield Filled(home, None, encode(_columns(waiting[home])))
            waiting[home].clear()
    yield from (Filled(home, None, encode(_columns(rest))) for home, rest in enumerate(waiting) if rest)


def _columns(lines: list[tuple[int, str]]) -> dict[str, object]:
    numbers, names = zip(*lines, strict=True)
    size, users = len(lines), len(USERS)
    order_ids, units = [FIRST_ORDER + i for i in numbers], [quantity(i) for i in numbers]
    named = [USERS[i % users] for i in numbers]
    columns = (order_ids, [1] * size, [1] * size, names, units, [999] * size, ["GBP"] * size, named, ["tok_ok"] * size, [PLACED_AT] * size)
    return dict(zip(COLUMNS, columns, strict=True))
