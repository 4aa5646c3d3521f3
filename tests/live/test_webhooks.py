"""Webhooks on real servers: each state of an order is told, in order, and never by two different notices."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Consumer, TopicPartition

from holdfast.cli import main
from schemas.topics import ORDER_OUTCOMES
from tests.support.outputs import outcome, refused_command
from tests.support.pipeline import PARTITIONS, Child, Pipeline, until
from tests.support.sink_processes import Log
from tests.support.sse import Posted, Receiver, receiving
from tests.support.stack import connect

pytestmark = pytest.mark.live
QUICK = {
    "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE": "true",
    "HOLDFAST_WEBHOOKS_FIRST_DELAY": "0.05",
    "HOLDFAST_WEBHOOKS_LONGEST_DELAY": "0.4",
    "HOLDFAST_WEBHOOKS_TRIES": "4",
    "HOLDFAST_WEBHOOKS_TIMEOUT": "2",
}


class Shop:
    """A log, its endpoints, and the process that tells them."""

    def __init__(self, pipeline: Pipeline, receiver: Receiver) -> None:
        self.pipeline = pipeline
        self.log = Log(pipeline.kafka, pipeline.prefix)
        self.receiver = receiver

    def command(self, *arguments: str, code: int = 0) -> Any:
        """Run `holdfast webhooks ...`: its JSON, or its words if it fails as it should."""
        names = {"HOLDFAST_KAFKA": self.pipeline.kafka, "HOLDFAST_MYSQL": self.pipeline.mysql, **self.pipeline.settings}
        done = CliRunner().invoke(main, ["webhooks", *arguments, "--json"], env=names)
        assert done.exit_code == code, done.output
        return json.loads(done.stdout) if not code else done.output

    def add(self, path: str, *options: str) -> dict[str, Any]:
        found: dict[str, Any] = self.command("add", self.receiver.url + path, *options)
        return found

    def start(self, **settings: str) -> Child:
        self.pipeline.settings.update(settings)
        return self.pipeline.start("webhooks", "holdfast", "webhooks", "run")

    def counts(self, endpoint_id: str) -> dict[str, int]:
        (found,) = (each for each in self.command("list") if each["endpoint_id"] == endpoint_id)
        return {state: found[state] for state in ("due", "delivered", "dead")}

    def group_is_at_the_end(self) -> bool:
        name = ORDER_OUTCOMES.named(self.pipeline.prefix)
        consumer = Consumer({"bootstrap.servers": self.pipeline.kafka, "group.id": f"{self.pipeline.prefix}holdfast.webhooks"})
        try:
            at = [TopicPartition(name, p) for p in range(PARTITIONS)]
            # The last offset may be a transaction's marker.
            ends = {p.partition: consumer.get_watermark_offsets(p, timeout=10)[1] for p in at}
            return all(p.offset >= ends[p.partition] - 1 for p in consumer.committed(at, timeout=10) if ends[p.partition])
        finally:
            consumer.close()

    def rewind(self) -> None:
        """Set the group back to the start of the log, as an operator would: with its processes stopped."""
        name = ORDER_OUTCOMES.named(self.pipeline.prefix)
        consumer = Consumer({"bootstrap.servers": self.pipeline.kafka, "group.id": f"{self.pipeline.prefix}holdfast.webhooks", "enable.auto.commit": False})
        try:
            consumer.commit(offsets=[TopicPartition(name, p, 0) for p in range(PARTITIONS)], asynchronous=False)
        finally:
            consumer.close()


@pytest.fixture
def shop(kafka: str, fresh_database: str, topic_prefix: str, tmp_path: Any) -> Iterator[Shop]:
    pipeline = Pipeline(kafka, topic_prefix, tmp_path, fresh_database, settings=dict(QUICK))
    pipeline.run("holdfast", "migrate")
    with receiving() as receiver:
        yield Shop(pipeline, receiver)
    pipeline.stop()


def states(orders: range, versions: int = 2) -> list[Any]:
    return [outcome(order, version, change="DECIDED" if version == 1 else "SHIPPED") for version in range(1, versions + 1) for order in orders]


def distinct(posted: list[Posted]) -> dict[tuple[str, int], set[tuple[str, bytes]]]:
    """By state of an order, the different notices there were of it."""
    found: dict[tuple[str, int], set[tuple[str, bytes]]] = {}
    for each in posted:
        found.setdefault(each.state, set()).add((each.notice_id, each.body))
    return found


def test_signed_in_order_and_once(shop: Shop) -> None:
    shop.log.write(states(range(900, 905)))
    everybody, mine = shop.add("/all"), shop.add("/mine", "--user", "u1", "--events", "shipped")
    child = shop.start()
    shop.log.write([*states(range(1, 21)), refused_command(1), outcome(50, 1, user_id="u1"), outcome(50, 2, user_id="u1", change="SHIPPED")])
    until(lambda: shop.counts(everybody["endpoint_id"]) == {"due": 0, "delivered": 42, "dead": 0}, 60, "all are delivered", child)
    told = shop.receiver.of("/all")
    assert Counter(each.state for each in told) == Counter({(str(order), version): 1 for order in (*range(1, 21), 50) for version in (1, 2)})
    for order in range(1, 21):
        assert [each.state[1] for each in told if each.state[0] == str(order)] == [1, 2]
    assert all(each.is_signed_by(everybody["secret"]) and not each.is_signed_by(mine["secret"]) for each in told)
    assert [(each.state, each.document["type"]) for each in shop.receiver.of("/mine")] == [(("50", 2), "order.shipped")]
    child.popen.terminate()
    assert child.popen.wait(30) == 0


@pytest.mark.parametrize("point", ["webhooks.kept", "webhooks.sent"])
def test_killed_and_replayed_there_is_no_second_notice_of_a_state(shop: Shop, point: str) -> None:
    endpoint = shop.add("/all")
    child = shop.start(HOLDFAST_FAILPOINTS=f"{point}=kill@2")
    shop.log.write(states(range(1, 16)))
    until(lambda: shop.receiver.posted or not child.alive(), 60, "something is told", child)
    shop.log.write(states(range(16, 31)))
    until(lambda: not child.alive(), 60, "it was killed", child)
    child = shop.start(HOLDFAST_FAILPOINTS="")
    until(lambda: shop.counts(endpoint["endpoint_id"]) == {"due": 0, "delivered": 60, "dead": 0} and shop.group_is_at_the_end(), 60, "all are told", child)
    child.kill()
    before = len(shop.receiver.posted)
    until(lambda: _rewound(shop), 30, "the group lets its offsets be set back")
    child = shop.start()
    until(shop.group_is_at_the_end, 60, "the log was read again", child)
    shop.log.write([outcome(99)])
    until(lambda: shop.receiver.posted[-1].state == ("99", 1), 60, "the last one is told", child)
    assert len(shop.receiver.posted) == before + 1
    found = distinct(shop.receiver.posted)
    assert len(found) == 61
    assert all(len(each) == 1 for each in found.values())


def _rewound(shop: Shop) -> bool:
    """A killed member stays in the group for its session; while it does, nobody else may commit."""
    try:
        shop.rewind()
    except Exception:
        return False
    return True


def test_a_slow_and_a_failing_endpoint_hold_up_nobody_else(shop: Shop) -> None:
    def answer(posted: Posted) -> int:
        if posted.path == "/slow":
            time.sleep(1.5)
        return 500 if posted.path == "/broken" else 302 if posted.path == "/moved" else 200

    shop.receiver.answer = answer
    ends = {path: shop.add(path)["endpoint_id"] for path in ("/slow", "/broken", "/moved", "/well")}
    child = shop.start(HOLDFAST_WEBHOOKS_AT_ONCE="1")
    shop.log.write(states(range(1, 21), versions=1))
    until(lambda: len(shop.receiver.of("/well")) == 20, 60, "the well one heard all", child)
    assert len(shop.receiver.of("/slow")) < 20
    until(lambda: shop.counts(ends["/broken"])["dead"] == 20, 90, "what nobody takes is dead", child)
    assert Counter(each.state for each in shop.receiver.of("/broken")) == Counter({(str(order), 1): 4 for order in range(1, 21)})
    dead = shop.command("dead", "--endpoint", ends["/broken"])
    assert (len(dead), dead[0]["attempts"], dead[0]["error"]) == (20, 4, "HTTP 500")
    shop.receiver.answer = lambda _posted: 200
    assert shop.command("redrive", "--endpoint", ends["/broken"]) == {"redriven": 20}
    until(lambda: shop.counts(ends["/broken"]) == {"due": 0, "delivered": 20, "dead": 0}, 60, "sent again", child)
    assert all(len(each) == 1 for each in distinct(shop.receiver.of("/broken")).values())


def test_a_later_state_waits_until_the_earlier_one_is_taken(shop: Shop) -> None:
    refusals = Counter[str]()

    def answer(posted: Posted) -> int:
        refusals[posted.notice_id] += 1
        return 503 if posted.state[1] == 1 and refusals[posted.notice_id] < 3 else 200

    shop.receiver.answer = answer
    endpoint = shop.add("/all")
    child = shop.start()
    shop.log.write(states(range(1, 4), versions=3))
    until(lambda: shop.counts(endpoint["endpoint_id"])["delivered"] == 9, 60, "all are taken", child)
    for order in ("1", "2", "3"):
        assert [each.state[1] for each in shop.receiver.posted if each.state[0] == order] == [1, 1, 1, 2, 3]


def test_an_endpoint_is_added_shown_without_its_secret_and_removed(shop: Shop) -> None:
    added = shop.add("/x", "--user", "u1")
    (shown,) = shop.command("list")
    assert shown == {**{k: v for k, v in added.items() if k != "secret"}, "due": 0, "delivered": 0, "dead": 0}
    assert shop.command("remove", added["endpoint_id"]) == {"endpoint_id": added["endpoint_id"], "removed": True}
    assert shop.command("list") == []
    assert "holdfast webhooks list" in shop.command("remove", added["endpoint_id"], code=1)
    assert "are confirmed, rejected" in shop.command("add", "https://shop.example/", "--events", "lost", code=2)


def test_our_own_doors_stay_shut(shop: Shop) -> None:
    endpoint = shop.add("/inside")
    child = shop.start(HOLDFAST_WEBHOOKS_ALLOW_PRIVATE="false")
    assert "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE" in shop.command("add", shop.receiver.url, code=1)
    assert "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE" in shop.command("add", "http://localhost/", code=1)
    with connect(shop.pipeline.mysql or "") as connection, connection.cursor() as cursor:
        # A name that was public when it was added may lead elsewhere by now.
        named = shop.receiver.url.replace("127.0.0.1", "localhost")
        cursor.execute("INSERT INTO webhook_endpoints SELECT 'wh_named', %s, user_id, events, secret, created_at FROM webhook_endpoints", (named,))
        connection.commit()
    shop.log.write([outcome(1)])
    until(lambda: len(shop.command("dead")) == 2, 60, "both are dead", child)
    assert all("not a public address" in each["error"] for each in shop.command("dead"))
    assert shop.counts(endpoint["endpoint_id"])["dead"] == 1
    assert not shop.receiver.posted
