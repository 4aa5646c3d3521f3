"""Notes of orders that are not decided: bounded, forgotten, and nobody waits for a Redis that does not take them."""

import asyncio
from collections.abc import Mapping, Sequence

from ingest.order_ids import EPOCH_MS, compose
from ingest.reads.placed import PlacedOrders
from schemas.views import placed_key


class Hashes:
    """Stands for Redis; tests/live/test_gateway_reads.py has the real one."""

    def __init__(self) -> None:
        self.answers = True
        self.kept: dict[str, dict[str, str]] = {}

    async def note(self, hashes: Mapping[str, Sequence[int | str]], _life_s: int) -> None:
        for key, fields in hashes.items():
            self.kept.setdefault(key, {}).update(zip(map(str, fields[::2]), map(str, fields[1::2]), strict=True))

    async def hashes(self, keys: Sequence[str], names: Sequence[str]) -> list[list[str | None] | None]:
        return [[self.kept.get(key, {}).get(name) for name in names] if self.answers else None for key in keys]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def test_no_more_are_noted_than_may_be_alive_at_a_time() -> None:
    hashes, clock, first = Hashes(), Clock(), compose(EPOCH_MS + 5_000_000, 1, 0)

    async def run() -> None:
        placed = PlacedOrders(hashes, 100, 10, 10, clock)  # type: ignore[arg-type]
        placed.note([(first + n, "ann") for n in range(25)])
        await placed.close()
        assert [await placed.user_of(first + n) for n in (0, 9, 10)] == ["ann", "ann", None]
        clock.now += 30
        placed.note([(first + 100 + n, "bob") for n in range(5)])
        await placed.close()
        assert [await placed.user_of(first + 100 + n) for n in (2, 3)] == ["bob", None]

    asyncio.run(run())


def test_a_redis_that_is_down_is_no_fault() -> None:
    hashes, order_id = Hashes(), compose(EPOCH_MS + 5_000_000, 1, 0)

    async def run() -> None:
        placed = PlacedOrders(hashes, 100)  # type: ignore[arg-type]
        hashes.answers = False
        placed.note([(order_id, "ann")])
        await placed.close()
        assert await placed.user_of(order_id) is None
        assert hashes.kept == {}
        for nothing in (PlacedOrders(None, 100), PlacedOrders(hashes, 0)):  # type: ignore[arg-type]
            nothing.note([(order_id, "ann")])
            assert await nothing.user_of(order_id) is None

    asyncio.run(run())


def test_orders_of_about_a_second_share_a_hash() -> None:
    ids = [compose(EPOCH_MS + 5_000_000 + ms, 1, 0) for ms in range(0, 10_000, 10)]
    assert 9 <= len({placed_key(order_id) for order_id in ids}) <= 11
