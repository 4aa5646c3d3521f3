"""A log whose beginning the brokers have deleted: nothing right is called wrong, and what is wrong, before and after that, is found."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest

from holdfast.audit import Log, Report, check
from ingest.order_ids import compose
from schemas import codec, topics
from schemas.order_times import EPOCH_MS, born
from schemas.topics import ALL, Topic
from tests.flow.traffic import Traffic
from tests.support.flow import SOUND, Flow
from tests.support.history_stores import StoreContents
from tests.support.replay import Times, new_flow, timed

BY_NAME = {topic.name: topic for topic in ALL}

Harm = Callable[["Past", StoreContents], None]


class LaterTraffic(Traffic):
    """Orders with IDs that say when."""

    def new_id(self) -> int:
        return compose(self.flow.now, 1, len(self.orders))


@dataclass
class Past:
    """A shop at rest, and when its log took each record."""

    flow: Flow
    times: Times
    prefix = ""
    records = ()

    @property
    def partitions(self) -> int:
        return self.flow.partitions

    @property
    def ends(self) -> dict[tuple[str, int], int]:
        return self.flow.log.ends

    def all(self, name: str) -> list[Any]:
        said = (value for topic in ALL if name in topic.records for value in self.flow.said(topic, name))
        return [SimpleNamespace(value=value, name=name) for value in said if name != "OrderOutcome" or is_storable(value)]

    def contents(self) -> StoreContents:
        return StoreContents(self)  # type: ignore[arg-type]

    def cut(self, rng: random.Random, until: int) -> Log:
        """What the audit reads once the brokers have deleted each partition up to some record that is not younger than `until` (ms)."""
        log = Log(self.partitions)
        for (name, partition), records in self.flow.log.records.items():
            old = [record.offset for record in records if self.times[name, partition, record.offset] <= until]
            if old and not BY_NAME[name].compacted:
                log.first[name, partition] = rng.choice(old)
        log.begins_at = max((self.times[name, p, first] for (name, p), first in log.first.items()), default=0)
        return self.fill(log)

    def fill(self, log: Log) -> Log:
        for (name, partition), records in self.flow.log.records.items():
            for record in records:
                if record.offset >= log.first.get((name, partition), 0):
                    log.add(BY_NAME[name], partition, record.offset, record.key, record.value, self.times[name, partition, record.offset])
        log.ends = dict(self.ends)
        return log


def is_storable(outcome: dict[str, Any]) -> bool:
    names = [outcome["user_id"], *(line["product_id"] for line in outcome["lines"])]
    return all(1 <= len(name) <= 64 for name in names) and outcome["placed_at"] >= 0


def past(seed: int, acts: int = 250) -> Past:
    flow = new_flow(3, seed)
    flow.fates, flow.weights = SOUND, (10, 1, 1, 1)
    flow.now = EPOCH_MS + 10**9
    found = Past(flow, timed(flow))
    traffic = LaterTraffic(flow, seed)
    traffic.open_shop()
    for _ in range(acts):
        traffic.act()
        flow.wait(flow.rng.randrange(2_000))
        for _ in range(flow.rng.randrange(5)):
            flow.step()
            flow.wait(3)
    traffic.finish()
    flow.settle()
    return found


def audited(shop: Past, until: int, seed: int, harm: Harm = lambda *_: None) -> Report:
    contents = shop.contents()
    harm(shop, contents)
    return check(shop.cut(random.Random(seed), until), contents.stores())


@pytest.mark.parametrize("seed", [*range(4), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(4, 60))])
def test_a_correct_shop_is_clean_wherever_its_log_begins(seed: int) -> None:
    shop = past(seed)
    first, last = min(shop.times.values()), max(shop.times.values())
    assert check(shop.fill(Log(shop.partitions)), shop.contents().stores()).ok
    for tenth in range(1, 11):
        report = audited(shop, first + (last - first) * tenth // 10, tenth)
        assert report.ok, (tenth, report.text())
        assert any("the brokers have deleted the log's beginning" in note for note in report.notes)


def test_a_log_that_is_all_gone_is_clean_by_its_rows() -> None:
    shop = past(2)
    log = Log(shop.partitions)
    log.first = {place: end for place, end in shop.ends.items() if not BY_NAME[place[0]].compacted}
    log.begins_at = max(shop.times.values())
    report = check(shop.fill(log), shop.contents().stores())
    assert report.ok, report.text()
    assert report.checked["I2"]["orders"] == 0
    assert report.checked["I2"]["older_orders"] > 20


# -- what is wrong ---------------------------------------------------------------------------------------------------------


def rewritten(shop: Past, topic: Topic, name: str, wanted: Callable[[dict[str, Any]], bool], change: Callable[[dict[str, Any]], dict[str, Any] | None]) -> None:
    """Change the last record of this name that is wanted; None: take it out."""
    places = [(p, i) for p in range(shop.partitions) for i, r in enumerate(shop.flow.log.records[topic.name, p]) if is_wanted(r.value, name, wanted)]
    p, i = max(places, key=lambda at: shop.times[topic.name, at[0], shop.flow.log.records[topic.name, at[0]][at[1]].offset])
    records = shop.flow.log.records[topic.name, p]
    value = change(codec.decode(records[i].value).value)
    if value is None:
        del records[i]
    else:
        records[i] = records[i]._replace(value=codec.encode(name, value))


def is_wanted(value: bytes | None, name: str, wanted: Callable[[dict[str, Any]], bool]) -> bool:
    try:
        record = codec.decode(value)
    except codec.UndecodableError:
        return False
    return record.name == name and wanted(record.value)


def old_order(shop: Past, contents: StoreContents, *statuses: str) -> dict[str, Any]:
    """The row of an order that began before the log does and is not the last one that anything is said of."""
    return next(row for row in contents.mysql["orders"] if row["status"] in statuses and born(row["order_id"]) > EPOCH_MS)


def in_rows(topic: Topic, name: str, field: str, by: int) -> Harm:
    def harm(shop: Past, _: StoreContents) -> None:
        rewritten(shop, topic, name, lambda v: bool(v[field]), lambda v: {**v, field: v[field] + by})

    return harm


def in_log(topic: Topic, name: str, **fields: Any) -> Harm:
    """The last record of this name with these fields is gone."""

    def harm(shop: Past, _: StoreContents) -> None:
        rewritten(shop, topic, name, lambda v: all(v[f] == x for f, x in fields.items()), lambda _: None)

    return harm


def put_more(shop: Past, _: StoreContents) -> None:
    """The last hold says a unit more than was asked for."""

    def more(value: dict[str, Any]) -> dict[str, Any]:
        return {**value, "quantity": [value["quantity"][0] + 1, *value["quantity"][1:]]}

    rewritten(shop, topics.STOCK_DECISIONS, "StockDecisions", lambda v: v["refusal"][0] == 0, more)


HARMS: dict[str, tuple[Harm, str]] = {
    "an old order's status": (lambda shop, c: old_order(shop, c, "CONFIRMED", "SHIPPED").update(status="CANCELLED"), "store_row_differs"),
    "an old order's amount": (lambda shop, c: old_order(shop, c, "CONFIRMED", "SHIPPED").update(amount=7), "store_row_differs"),
    "an old order is missing": (lambda shop, c: c.mysql["orders"].remove(old_order(shop, c, "REJECTED")), "store_row_missing"),
    "an old order's lines": (
        lambda shop, c: c.row("order_lines", order_id=old_order(shop, c, "CONFIRMED", "SHIPPED")["order_id"]).update(quantity=99),
        "store_row_differs",
    ),
    "an old order's hash": (lambda shop, c: c.redis[f"order:{old_order(shop, c, 'REJECTED')['order_id']}"].update(lines="[]"), "cache_differs"),
    "an old order's hash is missing": (lambda shop, c: c.redis.pop(f"order:{old_order(shop, c, 'REJECTED')['order_id']}") and None, "cache_missing"),
    "a product's row": (lambda _, c: c.row("products", product_id="A").update(available=999), "store_row_differs"),
    "a unit more in a product's state": (in_rows(topics.STOCK_STATE, "ProductRow", "available", 1), "state_differs"),
    "money in an order's state": (in_rows(topics.ORDER_STATE, "OrderRow", "charged", 1), "payment_row_differs"),
    "a payments row is gone": (in_log(topics.PAYMENT_STATE, "PaymentRow", result=b"\x00"), "payment_row_differs"),
    "a decision is gone": (in_log(topics.ORDER_OUTCOMES, "OrderOutcome", change="DECIDED"), "undecided"),
    "an answer is gone": (in_log(topics.STOCK_DECISIONS, "StockDecisions"), "line_unanswered"),
    "a level is gone": (in_log(topics.STOCK_LEVELS, "StockLevel"), "level_behind"),
    "a hold is larger": (put_more, "numbers_differ"),
}


@pytest.mark.parametrize("name", HARMS)
def test_what_is_wrong_is_found_all_the_same(name: str) -> None:
    harm, kind = HARMS[name]
    shop = past(5)
    first, last = min(shop.times.values()), max(shop.times.values())
    report = audited(shop, (first + last) // 2, 5, harm)
    assert kind in report.kinds(), report.text()
