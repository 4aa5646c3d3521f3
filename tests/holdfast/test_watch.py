"""`holdfast watch`: what passes is counted as it is."""

import json
import threading
import time
from contextlib import closing
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from holdfast import topics
from holdfast.cli import main
from holdfast.tally import Tally, rates
from holdfast.watching import Watcher
from schemas.codec import decode, encode
from tests.holdfast.test_ship import outcome, refused


@pytest.fixture
def prefix(kafka: str, topic_prefix: str) -> str:
    topics.create(kafka, topic_prefix, 2)
    return topic_prefix


def order_lines(count: int) -> bytes:
    columns: dict[str, list[Any]] = {name: [1] * count for name in ("order_id", "line", "line_count", "quantity", "unit_price", "placed_at")}
    texts: dict[str, list[Any]] = {name: ["x"] * count for name in ("product_id", "currency", "user_id", "payment_token")}
    return encode("OrderLines", columns | texts)


def dead_letter(reason: str) -> bytes:
    where = {"stage": "stock", "topic": "orders", "partition": 0, "offset": 1, "index": -1}
    return encode("DeadLetter", where | {"reason": reason, "detail": "", "order_id": None, "key": None, "value": b"", "died_at": 1})


def settled(partition: int, offset: int) -> bytes:
    what = {"partition": partition, "offset": offset, "action": "DISCARDED", "sent": []}
    return encode("DeadLetterSettled", what | {"actor": "ann", "note": "", "settled_at": 1})


def test_a_columnar_record_counts_its_items_and_an_order_is_decided_once() -> None:
    tally = Tally()
    records = [
        order_lines(7),
        outcome(1),
        outcome(1, "CONFIRMED", "SHIPPED", 2),
        outcome(1, "SHIPPED", "RETURNED", 3),
        outcome(2, "REJECTED"),
        refused(2, "shop"),
    ]
    for record in [*records, outcome(2, "REJECTED", "AMENDED", 2), dead_letter("UNDECODABLE")]:
        tally.add(decode(record))
    figures = tally.figures()
    assert {name: count for name, count in figures.items() if count} == {
        "order_lines": 7,
        "orders_decided": 2,
        "confirmed": 1,
        "rejected": 1,
        "shipped": 1,
        "returned": 1,
        "commands_refused": 1,
        "dead_letters": 1,
    }


def test_rates_are_of_what_came_since() -> None:
    assert rates({"a": 10, "b": 5}, {"a": 30, "b": 5}, 2.0) == {"a": 10.0, "b": 0.0}


def test_it_counts_what_comes_while_it_watches_and_every_dead_letter(kafka: str, prefix: str) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    producer.produce(f"{prefix}orders", order_lines(100))
    producer.produce(f"{prefix}dead-letters", dead_letter("UNDECODABLE"))
    producer.flush(30)
    with closing(Watcher(kafka, prefix)) as watcher:
        producer.produce(f"{prefix}orders", order_lines(7))
        producer.produce(f"{prefix}orders", b"garbage")
        producer.produce(f"{prefix}order.outcomes", outcome(1))
        producer.produce(f"{prefix}dead-letters", dead_letter("INVALID_ROW"))
        producer.flush(30)
        sight = watcher.watch(1.0)
    assert (sight.seen["order_lines"], sight.seen["confirmed"], sight.seen["unreadable"]) == (7, 1, 1)
    assert sight.per_second["order_lines"] > 0
    assert sight.dead_letters == {"UNDECODABLE": 1, "INVALID_ROW": 1}
    lag = {(each.stage, each.topic): each.records for each in sight.lag}
    assert lag[("stock", "orders")] == 3
    assert lag[("mysql sink", "order.outcomes")] == 1
    assert "warehouse" not in {each.stage for each in sight.lag}


def test_a_dead_letter_that_was_settled_is_open_no_more(kafka: str, prefix: str) -> None:
    producer, topic = Producer({"bootstrap.servers": kafka}), f"{prefix}dead-letters"
    for reason in ("UNDECODABLE", "INVALID_ROW", "INVALID_ROW"):
        producer.produce(topic, dead_letter(reason), partition=0)
    for reason in ("UNDECODABLE", "INVALID_ROW"):
        producer.produce(topic, dead_letter(reason), partition=1)
    producer.flush(30)
    with closing(Watcher(kafka, prefix)) as watcher:
        assert watcher.watch(0.2).dead_letters == {"UNDECODABLE": 1, "INVALID_ROW": 1}
        producer.produce(topic, settled(0, 1), partition=0)
        producer.flush(30)
        sight = watcher.watch(1.0)
    assert sight.dead_letters == {"UNDECODABLE": 1}
    assert sight.seen["dead_letters"] == 5


def test_the_command_speaks_json_and_tables(kafka: str, prefix: str) -> None:
    runner = CliRunner(env={"HOLDFAST_KAFKA": kafka, "HOLDFAST_TOPIC_PREFIX": prefix, "COLUMNS": "150"})
    stop = threading.Event()

    def publish() -> None:
        producer = Producer({"bootstrap.servers": kafka})
        while not stop.is_set():
            producer.produce(f"{prefix}orders", order_lines(3))
            producer.flush(30)
            time.sleep(0.05)

    writer = threading.Thread(target=publish)
    writer.start()
    try:
        said = runner.invoke(main, ["watch", "--once", "--json", "--interval", "1"])
    finally:
        stop.set()
        writer.join()
    assert said.exit_code == 0, said.output
    document = json.loads(said.stdout)
    assert document["per_second"]["order_lines"] > 0
    assert {"stage", "topic", "records", "partitions"} == set(document["lag"][0])
    shown = runner.invoke(main, ["watch", "--once", "--interval", "0.1"])
    assert shown.exit_code == 0, shown.output
    assert "order lines in" in shown.output
    assert "payment.requests" in shown.output


def test_without_topics_it_says_what_to_do(kafka: str, topic_prefix: str) -> None:
    said = CliRunner(env={"HOLDFAST_KAFKA": kafka, "HOLDFAST_TOPIC_PREFIX": topic_prefix}).invoke(main, ["watch", "--once"])
    assert said.exit_code == 1
    assert "run `holdfast topics create`" in said.output
