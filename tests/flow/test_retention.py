"""Rows of finished orders go after the time for which they are kept; what comes of such an order later has its answer, and no order is made of it."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from ingest.order_ids import compose
from schemas import topics
from schemas.order_times import EPOCH_MS, born
from streams.payments.sandbox import SILENT_TOKEN, Sandbox
from streams.stages.retention import PAUSE_MS
from tests.flow.shop import A, B
from tests.support.flow import SOUND, TIMEOUT, Flow

RETENTION = 10 * TIMEOUT
UNITS = 1_000


class Shop(Flow):
    """A shop that keeps rows for RETENTION, and whose orders have IDs that say when."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(seed, provider=Sandbox(decline_rate=0.2, silent_ms=TIMEOUT + 5_000), retention=RETENTION)
        self.now = EPOCH_MS + 10**9
        self.taken = 0
        for product in (A, B):
            self.stock("RESTOCK", product, UNITS)
        self.run()

    def new_id(self) -> int:
        self.taken += 1
        return compose(self.now, 1, self.taken % 4096)

    def later(self, ms: int) -> None:
        """Let time pass, and whatever is due then be done, in as many batches as it takes."""
        self.wait(ms)
        self.run()
        for _ in range(3):
            self.wait(PAUSE_MS)
            self.run()

    def rows(self, topic: topics.Topic) -> set[int]:
        found: dict[bytes, bytes | None] = {}
        for partition in range(self.partitions):
            found |= {record.key: record.value for record in self.log.records[topic.name, partition] if record.key and record.key.isdigit()}
        return {int(key) for key, value in found.items() if value is not None}


def confirmed(shop: Shop, *, ship: bool = True) -> int:
    order_id = shop.new_id()
    while True:
        shop.order(order_id, (A, 2))
        shop.run()
        if shop.history(order_id) == ["DECIDED CONFIRMED"]:
            break
        order_id = shop.new_id()
    if ship:
        shop.command("SHIP", order_id)
        shop.run()
    return order_id


def test_a_row_stays_until_its_time_is_over_and_not_longer() -> None:
    shop = Shop()
    order_id = confirmed(shop)
    shop.later(RETENTION - TIMEOUT)
    assert order_id in shop.rows(topics.ORDER_STATE) & shop.rows(topics.PAYMENT_STATE)
    shop.command("RETURN", order_id, 1, 1)
    shop.run()
    assert shop.history(order_id)[-1] == "AMENDED SHIPPED"
    shop.later(2 * TIMEOUT)
    assert order_id not in shop.rows(topics.ORDER_STATE) | shop.rows(topics.PAYMENT_STATE)
    shop.assert_clean()


def test_what_is_not_over_is_never_forgotten() -> None:
    shop = Shop()
    unshipped = confirmed(shop, ship=False)
    shop.later(5 * RETENTION)
    assert unshipped in shop.rows(topics.ORDER_STATE) & shop.rows(topics.PAYMENT_STATE)
    shop.command("SHIP", unshipped)
    shop.run()
    shop.command("RETURN", unshipped)
    shop.run()
    assert shop.history(unshipped)[-1] == "AMENDED RETURNED"
    shop.later(RETENTION)
    assert unshipped not in shop.rows(topics.ORDER_STATE) | shop.rows(topics.PAYMENT_STATE)
    shop.assert_clean()


@pytest.mark.parametrize("kind", ["CANCEL", "SHIP", "RETURN"])
def test_a_command_about_a_forgotten_order_is_refused(kind: str) -> None:
    shop = Shop()
    order_id = confirmed(shop)
    shop.later(2 * RETENTION)
    said = len(shop.history(order_id))
    shop.command(kind, order_id, command_id="late")
    shop.later(TIMEOUT + 1)
    assert shop.refusals()[-1] == (kind, order_id, "ORDER_TOO_OLD")
    assert len(shop.history(order_id)) == said
    assert order_id not in shop.rows(topics.ORDER_STATE)
    shop.assert_clean()


def test_a_line_that_comes_again_makes_no_new_order_and_its_units_go_back() -> None:
    shop = Shop()
    order_id = confirmed(shop)
    shop.later(2 * RETENTION)
    level, said = shop.level(A), shop.history(order_id)
    shop.order(order_id, (A, 2))
    shop.later(TIMEOUT + 1)
    assert shop.history(order_id) == said
    assert shop.level(A) == level
    assert shop.dead() == ["ORDER_TOO_OLD"]
    assert order_id not in shop.rows(topics.ORDER_STATE) | shop.rows(topics.PAYMENT_STATE)
    shop.assert_clean()


def test_an_order_under_an_id_that_was_given_out_too_long_ago_is_given_up() -> None:
    shop = Shop()
    order_id = shop.new_id()
    shop.later(2 * RETENTION)
    shop.order(order_id, (A, 1), (B, 1))
    shop.settle()
    assert shop.history(order_id) == []
    assert shop.dead() == ["ORDER_TOO_OLD"] * 2
    assert (shop.level(A)[1], shop.level(B)[1]) == (0, 0)
    shop.assert_clean()


def test_money_that_may_still_come_keeps_the_row() -> None:
    shop = Shop()
    order_id = shop.new_id()
    shop.order(order_id, (A, 2), payment_token=SILENT_TOKEN)
    shop.run()
    shop.command("CANCEL", order_id)
    shop.run()
    assert shop.history(order_id) == ["DECIDED CANCELLED"]
    assert order_id in shop.rows(topics.ORDER_STATE)
    shop.later(2 * RETENTION)
    shop.later(RETENTION)
    assert shop.kept(order_id) == 0
    shop.assert_clean()


def at_random(shop: Shop, seed: int, *, at_once: bool = False) -> tuple[list[int], int]:
    """Place orders, their repeats and commands about them, young and old, over many times the retention, while tasks fail.

    `at_once`: each is decided before the next one comes. Returns the orders' IDs, and how many rows there were at most.
    """
    rng, ids = random.Random(seed), list[int]()
    shop.fates, shop.weights = SOUND, (10, 1, 1, 1)
    most = 0
    for _ in range(400):
        shop.now += rng.randrange(RETENTION // 20)
        if not ids or rng.random() < 0.4:
            ids.append(shop.new_id())
        order_id = rng.choice(ids[-20:]) if rng.random() < 0.7 else rng.choice(ids)
        if rng.random() < 0.6:
            shop.order(order_id, (A, 1 + order_id % 2), *([(B, 1)] if order_id % 3 else []))
        else:
            shop.command(rng.choice(("CANCEL", "SHIP", "SHIP", "RETURN")), order_id)
        for _ in range(rng.randrange(4)):
            shop.step()
        if at_once:
            shop.run()
        most = max(most, len(shop.rows(topics.ORDER_STATE)))
    return ids, most


@pytest.mark.parametrize("seed", range(12))
def test_whatever_comes_when_every_promise_is_kept_and_the_rows_are_few(seed: int) -> None:
    shop = Shop(seed)
    ids, most = at_random(shop, seed)
    shop.later(TIMEOUT + 6_000)
    for order_id in ids:
        shop.command("SHIP", order_id)
    shop.settle()
    for _ in range(12):
        shop.later(RETENTION)
    shop.assert_clean()
    left = shop.rows(topics.ORDER_STATE)
    assert len(ids) > 100
    assert all(shop.history(order_id)[0] in ("DECIDED EXPIRED", "DECIDED CANCELLED") for order_id in left), "only a charge that may be paid keeps a row"
    assert not shop.rows(topics.PAYMENT_STATE) - left
    assert Counter(shop.dead()).keys() <= {"ORDER_TOO_OLD"}
    assert all(born(order_id) <= shop.now for order_id in ids)
    assert most < len(ids)
