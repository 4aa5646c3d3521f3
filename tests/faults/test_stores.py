"""Every fault of the stores, one after the other, against a stack that `holdfast up` runs, under load."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass, replace
from random import Random

import pymysql
import pytest
import redis
from confluent_kafka import Consumer, TopicPartition

from holdfast import audit
from holdfast.stack import lifecycle
from holdfast.stack.addresses import given
from holdfast.stack.home import Home
from holdfast.stack.processes import myself
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS
from tests.faults.fault import CannotStrikeError, Fault
from tests.faults.kinds import mysql, redis_store
from tests.faults.kinds.disk import small_disks
from tests.faults.site import Site
from tests.support.pipeline import PARTITIONS, Load, Pipeline, until
from tests.support.row_watch import RowWatch
from tests.support.sink_processes import mysql_positions, redis_positions

pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]
SEED = 4
ORDERS_PER_S = 100
ORDER_TIMEOUT = 12
WITHIN_S = 60
MOST_LINES = 60
"""Of a sink's log, per fault: eight broken connections are three lines each."""
LOSES = {"Redis emptied": "redis", "Redis emptied in mid-write": "redis", "Redis set back": "redis"}
"""Faults that take rows away; the sink brings them back."""


@dataclass
class Shop:
    site: Site
    pipeline: Pipeline
    load: Load
    watch: RowWatch

    def ends(self) -> dict[tuple[str, int], int]:
        """The end of each partition that the sinks read, as they see it."""
        consumer = Consumer({"bootstrap.servers": self.site.endpoints.kafka, "group.id": "test.ends", "isolation.level": "read_committed"})
        places = [(topic.name, number) for topic in (ORDER_OUTCOMES, STOCK_LEVELS) for number in range(PARTITIONS)]
        found = {place: consumer.get_watermark_offsets(TopicPartition(*place), 30)[1] for place in places}
        consumer.close()
        return found

    def caught_up(self, ends: dict[tuple[str, int], int]) -> bool:
        """Whether both stores stand at these ends, or have gone beyond."""
        try:
            stores = (mysql_positions(self.site.endpoints.mysql), redis_positions(self.site.endpoints.redis, ""))
        except (pymysql.MySQLError, redis.RedisError, OSError):
            return False
        return all(positions.get(place, -1) >= end for positions in stores for place, end in ends.items())

    def sinks(self) -> set[int]:
        return {p.process.pid for p in self.site.processes("sink") if p.process}

    def said(self) -> int:
        return sum(len((self.site.home.logs / f"sink-{name}.log").read_text().splitlines()) for name in ("mysql", "redis"))


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    if given():
        pytest.skip("servers of the environment are not ours to harm")
    folder = tmp_path_factory.mktemp("stores")
    home = replace(Home.from_environment(), root=folder / "home")
    settings = {"HOLDFAST_PARTITIONS": str(PARTITIONS), "HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT)}
    with small_disks(home):
        try:
            plan = lifecycle.up(home, lifecycle.Wish(workers=1, gateways=0, owner=myself(), environment=settings), lambda _: None)
            at = plan.endpoints
            site = Site(home, at, folder, PARTITIONS, environment=settings)
            load = Load(at.kafka, "", SEED, units=2_000)
            load.restock()
            watch = RowWatch(mysql=at.mysql, redis=at.redis)
            with load.flowing(ORDERS_PER_S), watch.watching():
                yield Shop(site, Pipeline(at.kafka, "", folder, at.mysql, at.redis, settings), load, watch)
        finally:
            lifecycle.down(home)


@pytest.mark.parametrize("fault", [*mysql.FAULTS, *redis_store.FAULTS], ids=lambda fault: fault.name)
def test_a_store_comes_back_and_the_order_path_never_heard_of_it(shop: Shop, fault: Fault) -> None:
    until(lambda: shop.caught_up(shop.ends()), WITHIN_S, "stores that follow the log")
    pids, said, before = shop.sinks(), shop.said(), shop.ends()
    with shop.watch.excused(LOSES[fault.name]) if fault.name in LOSES else nullcontext():
        strike(shop, fault)
        healed, after = time.monotonic(), shop.ends()
        if fault.lasts_s:
            outcomes = [place for place in after if place[0] == ORDER_OUTCOMES.name]
            assert all(after[place] > before[place] for place in outcomes), "orders are decided while a store is not well"
        until(lambda: shop.caught_up(after), WITHIN_S, f"both stores at {after} after: {fault.what}")
    print(f"{fault.name}: both stores caught up {time.monotonic() - healed:.1f} s after the healing, {shop.said() - said} lines in the logs")
    assert shop.sinks() == pids, "a sink died of its store"
    assert shop.said() - said < MOST_LINES
    assert not shop.watch.backwards


def strike(shop: Shop, fault: Fault) -> None:
    """Do the fault, wait its time, heal it."""
    try:
        heal = fault.strike(shop.site, Random(SEED))
    except CannotStrikeError as error:
        pytest.skip(str(error))
    time.sleep(fault.lasts_s)
    if heal:
        heal()


def test_after_all_of_it_the_stores_are_the_fold_of_the_log(shop: Shop) -> None:
    shop.load.stopping.set()
    shop.pipeline.drain()
    time.sleep(ORDER_TIMEOUT + 1)  # orders that lack a line expire
    shop.pipeline.drain()
    at = shop.site.endpoints
    report = audit.run(kafka=at.kafka, mysql_url=at.mysql, redis_url=at.redis)
    assert report.ok, f"seed {SEED}: {report.text()}"
    assert not shop.watch.backwards
    assert all(looks > 100 for looks in shop.watch.looks.values())
    assert shop.load.sent > 100
