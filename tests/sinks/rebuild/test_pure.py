"""What a rebuild decides without a store: what belongs to a selection, which hash is right, which indexes are missing."""

from __future__ import annotations

import pytest

from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS
from sinks.rebuild.hashes import Judgement, hash_of, judge, key_of
from sinks.rebuild.selection import Chosen, Selection
from sinks.rebuild.statements import secondary_keys
from tests.support.outputs import level, outcome

OUTCOMES, LEVELS = ORDER_OUTCOMES.name, STOCK_LEVELS.name
CREATED = """CREATE TABLE `orders` (
  `order_id` bigint(20) NOT NULL,
  `note` varchar(64) NOT NULL DEFAULT 'KEY `x` (`y`),',
  PRIMARY KEY (`order_id`),
  KEY `orders_of_user` (`user_id`,`placed_at`),
  UNIQUE KEY `a``b` (`note`)
) ENGINE=InnoDB"""


def test_everything_is_read_whole_and_taken_whatever_its_key() -> None:
    chosen = Chosen(Selection())
    assert str(chosen.selection) == "everything"
    assert all(chosen.takes(topic, key, 0) for topic in (OUTCOMES, LEVELS) for key in (b"1", b"A", None, b"\xff"))
    assert all(chosen.selection.reads(topic, p, 8) for topic in (OUTCOMES, LEVELS) for p in range(8))


def test_of_one_product_or_order_one_partition_is_read() -> None:
    assert [(t, p) for t in (OUTCOMES, LEVELS) for p in range(8) if Selection(product="85123A").reads(t, p, 8)] == [(LEVELS, product_partition("85123A", 8))]
    assert [(t, p) for t in (OUTCOMES, LEVELS) for p in range(8) if Selection(order=7).reads(t, p, 8)] == [(OUTCOMES, order_partition(7, 8))]
    chosen = Chosen(Selection(order=7))
    assert [key for key in (b"7", b"07", b"70", b"x", None, b"9" * 30) if chosen.takes(OUTCOMES, key, 5)] == [b"7", b"07"]
    assert not chosen.takes(LEVELS, b"7", 5)


@pytest.mark.parametrize(
    ("since", "until", "taken"), [(10, 20, [False, True, True, True]), (None, 20, [True, True, True, True]), (10, None, [False, True, True, True])]
)
def test_what_was_named_in_a_window_belongs_to_it_for_ever_after(since: int | None, until: int | None, taken: list[bool]) -> None:
    chosen = Chosen(Selection(since=since, until=until))
    assert [chosen.takes(OUTCOMES, b"1", at) for at in (9, 10, 19, 25)] == taken
    assert chosen.takes(OUTCOMES, b"2", 25) is (until is None)


def test_a_live_hash_is_right_wrong_or_newer_than_what_was_read() -> None:
    old, new = (hash_of("StockLevel", level("A", version)) for version in (1, 2))
    assert judge(old, old) is Judgement.SAME
    assert judge(None, None) is Judgement.SAME
    assert judge(None, old) is Judgement.MISSING
    assert judge(new, old) is Judgement.LATER
    assert judge(old, None) is Judgement.LATER
    assert judge(old, new) is Judgement.CHANGED
    assert judge({**old, "available": "0"}, old) is Judgement.CHANGED
    assert judge({**old, "version": "none"}, old) is Judgement.CHANGED


def test_lines_are_compared_as_what_they_say() -> None:
    rebuilt = hash_of("OrderOutcome", outcome(1, 1, ["A", "B"]))
    assert judge({**rebuilt, "lines": rebuilt["lines"].replace(",", ", ")}, rebuilt) is Judgement.SAME
    assert judge({**rebuilt, "lines": "["}, rebuilt) is Judgement.CHANGED
    assert (key_of("OrderOutcome", outcome(1)), key_of("StockLevel", level("A")), key_of("OrderCommandRefused", {})) == ("order:1", "stock:A", None)


def test_secondary_indexes_are_read_from_what_the_server_says() -> None:
    assert secondary_keys(CREATED) == {"`orders_of_user`": "KEY `orders_of_user` (`user_id`,`placed_at`)", "`a``b`": "UNIQUE KEY `a``b` (`note`)"}
