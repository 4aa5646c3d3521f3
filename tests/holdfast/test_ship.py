"""The warehouse on a real Kafka."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition

from holdfast import topics
from holdfast.warehouse import Orders, Warehouse, WarehouseError, ship_commands
from schemas.codec import decode, encode
from schemas.outcomes import MAX_ITEMS, OrderCommandKind
from schemas.partitions import order_partition
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, WAREHOUSE_GROUP

PARTITIONS = 4


@pytest.fixture
def prefix(kafka: str, topic_prefix: str) -> str:
    topics.create(kafka, topic_prefix, PARTITIONS)
    return topic_prefix


def outcome(order_id: int, status: str = "CONFIRMED", change: str = "DECIDED", version: int = 1) -> bytes:
    line = {"line": 1, "product_id": "P", "quantity": 2, "unit_price": 100, "status": "HELD", "refusal": "", "returned": 0}
    money = {"currency": "GBP", "amount": 200, "charged": 200, "refunded": 0, "attempt": 1}
    times = dict.fromkeys(("placed_at", "decided_at", "changed_at"), int(time.time() * 1000))
    head = {"order_id": order_id, "version": version, "change": change, "status": status, "refusal": "", "user_id": "u", "line_count": 1}
    return encode("OrderOutcome", head | money | times | {"lines": [line]})


def refused(order_id: int, actor: str) -> bytes:
    what = {"command_id": f"ship-{order_id}", "kind": "SHIP", "order_id": order_id, "line": 0, "quantity": 0}
    return encode("OrderCommandRefused", what | {"refusal": "ALREADY_SHIPPED", "refused_at": 1, "actor": actor})


def publish(kafka: str, prefix: str, records: list[tuple[int, bytes]], abort: bool = False) -> None:
    """Write (order ID, record) as the orders agent does: in one transaction."""
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"{prefix}test", "transaction.timeout.ms": 10_000})
    producer.init_transactions(30)
    producer.begin_transaction()
    for order_id, record in records:
        producer.produce(ORDER_OUTCOMES.named(prefix), record, str(order_id).encode(), partition=order_partition(order_id, PARTITIONS))
    if abort:
        producer.flush(30)
        producer.abort_transaction(30)
    else:
        producer.commit_transaction(30)


def commands(kafka: str, prefix: str) -> list[tuple[int, dict[str, Any]]]:
    """Everything on order.commands, one item each, with its partition."""
    topic = ORDER_COMMANDS.named(prefix)
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": "unused", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, number, 0) for number in range(PARTITIONS)])
    found: list[tuple[int, dict[str, Any]]] = []
    ends = 0
    while ends < PARTITIONS:
        message = consumer.poll(30)
        assert message is not None, "Kafka did not answer"
        if message.error():
            assert message.error().code() == KafkaError._PARTITION_EOF
            ends += 1
        else:
            found += _items(message.partition(), decode(message.value()).value)
    consumer.close()
    return found


def _items(partition: int, value: dict[str, Any]) -> list[tuple[int, dict[str, Any]]]:
    columns = ("command_id", "order_id", "line", "quantity")
    items = [dict(zip(columns, item, strict=True)) for item in zip(*(value[name] for name in columns), strict=True)]
    return [(partition, item | {"kind": kind, "actor": value["actor"]}) for item, kind in zip(items, value["kind"], strict=True)]


def ship(kafka: str, prefix: str, orders: Orders = Orders()) -> Any:  # noqa: B008 (frozen)
    return Warehouse(kafka, prefix, orders).run(threading.Event())


def test_every_confirmed_order_is_shipped_once_on_its_own_partition(kafka: str, prefix: str) -> None:
    others = [(900, outcome(900, "REJECTED")), (901, outcome(901, "CONFIRMED", "SHIPPED", 2)), (902, outcome(902, "CONFIRMED", "AMENDED", 2))]
    publish(kafka, prefix, [*((n, outcome(n)) for n in range(1, 301)), *others, (903, refused(903, "warehouse")), (904, refused(904, "shop"))])
    done = ship(kafka, prefix)
    assert (done.orders, done.outcomes, done.refused) == (300, 305, 1)
    found = commands(kafka, prefix)
    assert sorted(item["order_id"] for _, item in found) == list(range(1, 301))
    for partition, item in found:
        assert partition == order_partition(item["order_id"], PARTITIONS)
        expected = {"kind": OrderCommandKind.SHIP, "line": 0, "quantity": 0, "actor": "warehouse"}
        assert item == expected | {"command_id": f"ship-{item['order_id']}", "order_id": item["order_id"]}


def test_its_group_is_told_to_stand_behind_the_markers_of_the_last_transaction(kafka: str, prefix: str) -> None:
    """Whoever waits for it by its offsets (a load before it sends the returns) would wait for ever: nothing but the marker comes after the last record."""
    publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 51)])
    ship(kafka, prefix)
    places = [TopicPartition(ORDER_OUTCOMES.named(prefix), number) for number in range(PARTITIONS)]
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"{prefix}{WAREHOUSE_GROUP}"})
    ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
    assert [answer.offset for answer in consumer.committed(places, timeout=30)] == ends
    consumer.close()


def test_a_second_run_ships_only_what_is_new(kafka: str, prefix: str) -> None:
    publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 51)])
    assert ship(kafka, prefix).orders == 50
    assert ship(kafka, prefix).orders == 0
    publish(kafka, prefix, [(51, outcome(51))])
    assert ship(kafka, prefix).orders == 1
    assert Counter(item["order_id"] for _, item in commands(kafka, prefix)) == Counter(range(1, 52))


def test_an_aborted_outcome_is_not_shipped(kafka: str, prefix: str) -> None:
    publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 21)], abort=True)
    publish(kafka, prefix, [(99, outcome(99))])
    assert ship(kafka, prefix).orders == 1
    assert [item["order_id"] for _, item in commands(kafka, prefix)] == [99]


def test_garbage_among_the_outcomes_is_passed_over(kafka: str, prefix: str) -> None:
    publish(kafka, prefix, [(1, outcome(1)), (1, b"garbage"), (1, b""), (2, outcome(2))])
    done = ship(kafka, prefix)
    assert (done.orders, done.undecodable) == (2, 2)


def test_nothing_is_shipped_before_its_delay_and_nothing_is_committed_for_it(kafka: str, prefix: str) -> None:
    publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 11)])
    stopping = threading.Event()
    warehouse = Warehouse(kafka, prefix, Orders(follow=True, delay_s=3600), lambda shipped: stopping.set() if shipped.outcomes == 10 else None)
    assert warehouse.run(stopping).orders == 0
    assert commands(kafka, prefix) == []
    assert ship(kafka, prefix).orders == 10


def test_two_warehouses_share_the_work(kafka: str, prefix: str) -> None:
    publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 101)])
    stopping = threading.Event()
    both = [Warehouse(kafka, prefix, Orders(follow=True)) for _ in range(2)]
    threads = [threading.Thread(target=each.run, args=(stopping,)) for each in both]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + 60
    while sum(each.shipped.orders for each in both) < 100 and time.monotonic() < deadline:
        time.sleep(0.05)
    stopping.set()
    for thread in threads:
        thread.join(60)
    assert {item["order_id"] for _, item in commands(kafka, prefix)} == set(range(1, 101))


def test_no_topics_is_an_error_that_says_what_to_do(kafka: str, topic_prefix: str) -> None:
    with pytest.raises(WarehouseError, match=r"order\.outcomes does not exist: run `holdfast topics create`"):
        Warehouse(kafka, topic_prefix, Orders())


def test_many_orders_of_one_partition_are_cut_into_records_a_topic_takes() -> None:
    records = ship_commands(range(2**62, 2**62 + 2 * MAX_ITEMS + 1), 1, 0)
    assert [len(decode(record).value["order_id"]) for _, record in records] == [MAX_ITEMS, MAX_ITEMS, 1]
    assert max(len(record) for _, record in records) < ORDER_COMMANDS.max_message_bytes // 2


def test_the_command_follows_until_it_is_told_to_stop(kafka: str, prefix: str, tmp_path: Path) -> None:
    environ = os.environ | {"HOLDFAST_KAFKA": kafka, "HOLDFAST_TOPIC_PREFIX": prefix, "HOLDFAST_RUN_DIR": str(tmp_path)}
    process = subprocess.Popen([sys.executable, "-m", "holdfast", "ship", "--follow", "--json"], env=environ, stdout=subprocess.PIPE)
    try:
        run_file = tmp_path / f"ship-{process.pid}.json"
        _wait(run_file.exists)
        assert json.loads(run_file.read_text()) == {"kind": "ship", "pid": process.pid, "partitions": {"ship": [0, 1, 2, 3]}, "metrics": None}
        publish(kafka, prefix, [(n, outcome(n)) for n in range(1, 31)])
        _wait(lambda: len(commands(kafka, prefix)) == 30)
        process.send_signal(signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 0
    assert json.loads(said)["orders"] == 30
    assert not run_file.exists()
    assert ship(kafka, prefix).orders == 0


def _wait(done: Any) -> None:
    deadline = time.monotonic() + 60
    while not done():
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.1)
