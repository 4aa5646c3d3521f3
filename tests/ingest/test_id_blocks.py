"""IDs in blocks: no ID twice, whoever asks and however many at once."""

import asyncio
import itertools

import pytest

from ingest.errors import LeaseError
from ingest.id_blocks import BLOCK, MAX_AGE_S, IdBlocks
from schemas.partitions import order_partition

PARTITIONS = 4


class Counter:
    """An ID generator of 1, 2, 3, ... that fails where it is told to."""

    def __init__(self) -> None:
        self.numbers = itertools.count(1)
        self.calls = 0
        self.fails = False

    def take(self, n: int) -> list[int]:
        self.calls += 1
        if self.fails:
            raise LeaseError("no lease", retry_after_s=1)
        return [next(self.numbers) for _ in range(n)]


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def blocks(counter: Counter, clock: Clock) -> IdBlocks:
    return IdBlocks(counter, PARTITIONS, clock)  # type: ignore[arg-type]


def test_many_who_ask_at_once_get_an_id_each() -> None:
    async def ask() -> list[int]:
        ids = blocks(Counter(), Clock())

        async def one(n: int) -> list[int]:
            await asyncio.sleep(n % 7 / 1000)
            at_hand = ids.next(n % 3)
            return [at_hand] if at_hand is not None else await ids.take([n % 3])

        async with asyncio.timeout(30):
            found = await asyncio.gather(*(one(n) for n in range(5 * BLOCK)))
        ids.close()
        return [x for some in found for x in some]

    taken = asyncio.run(ask())
    assert len(taken) == len(set(taken)) == 5 * BLOCK


@pytest.mark.parametrize("wanted", [[3], [0, 1, 2, 3] * 150, [2] * BLOCK, [1] * 5_000])
def test_ids_are_of_the_wanted_partitions_and_increase_in_each(wanted: list[int]) -> None:
    async def ask() -> list[int]:
        ids = blocks(Counter(), Clock())
        found = await ids.take(wanted) + await ids.take(wanted)
        ids.close()
        return found

    taken = asyncio.run(ask())
    assert len(set(taken)) == 2 * len(wanted)
    assert [order_partition(order_id, PARTITIONS) for order_id in taken] == wanted * 2
    for partition in set(wanted):
        own = [order_id for order_id, home in zip(taken, wanted * 2, strict=True) if home == partition]
        assert own == sorted(own)


def test_what_has_lain_about_is_not_given() -> None:
    async def ask() -> tuple[list[int], int | None, list[int]]:
        clock = Clock()
        ids = blocks(Counter(), clock)
        first = await ids.take([0])
        clock.now += MAX_AGE_S + 0.1
        found = first, ids.next(0), await ids.take([0])
        ids.close()
        return found

    first, stale, fresh = asyncio.run(ask())
    assert first[0] <= BLOCK
    assert stale is None
    assert fresh[0] > BLOCK


def test_an_error_reaches_who_waits_and_is_not_for_ever() -> None:
    async def ask() -> list[int]:
        counter = Counter()
        ids = blocks(counter, Clock())
        counter.fails = True
        with pytest.raises(LeaseError):
            await ids.take([0])
        counter.fails = False
        found = await ids.take([0])
        ids.close()
        return found

    assert order_partition(*asyncio.run(ask()), PARTITIONS) == 0
