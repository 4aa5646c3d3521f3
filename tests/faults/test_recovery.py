"""What a worker finds when it opens: strange records in its changelogs, a stranger's transaction, a wrong clock, no disk, no turns."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import Queue
from random import Random
from typing import Any

import pytest
from confluent_kafka import Producer

from holdfast import audit
from schemas import codec
from schemas.partitions import order_partition, product_partition
from schemas.topics import DEAD_LETTERS, ORDER_STATE, ORDERS, PAYMENT_STATE, POSITIONS_KEY, STOCK_COMMANDS, STOCK_STATE, Topic
from streams.config import StreamSettings
from streams.runtime.changelog import Changelog, read
from streams.runtime.exits import MISCONFIGURED, STALLED
from streams.runtime.records import Place
from streams.stages.stock import STOCK
from tests.faults.changes import Cluster
from tests.faults.kinds.clock import clock_off
from tests.faults.kinds.topics import stray_bytes
from tests.support.examples import example
from tests.support.pipeline import PARTITIONS, Child, Load, Pipeline, outcomes, running, until, values
from tests.support.read_topics import _messages

ORDER_TIMEOUT = 5
LONG_TIMEOUT = 900
HOUR_S = 3600
CHANGELOGS = (STOCK_STATE, ORDER_STATE, PAYMENT_STATE)
pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]


@pytest.fixture
def pipeline(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Pipeline]:
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, settings={"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT)})) as started:
        yield started


def open_worker(pipeline: Pipeline, **settings: str) -> Child:
    pipeline.settings.update(settings)
    worker = pipeline.worker()
    pipeline.await_open(worker)
    return worker


def sell(pipeline: Pipeline, seed: int, orders: int = 60) -> Load:
    load = Load(pipeline.kafka, pipeline.prefix, seed)
    load.restock(tag=f"opening-{seed}")
    for _ in range(orders):
        load.order()
    load.producer.flush()
    pipeline.drain()
    return load


def assert_clean(pipeline: Pipeline) -> None:
    pipeline.drain()
    time.sleep(ORDER_TIMEOUT + 1)
    pipeline.drain()
    report = audit.run(kafka=pipeline.kafka, prefix=pipeline.prefix)
    assert report.ok, f"{report.text()}\n{pipeline.last_words()}"


def rows(pipeline: Pipeline, topic: Topic) -> dict[tuple[int, bytes], bytes | None]:
    """Return the last value of every key of a changelog, by partition."""
    found = _messages(pipeline.kafka, topic.named(pipeline.prefix), PARTITIONS)
    return {(p, m.key() or b""): m.value() for p, messages in found.items() for m in messages}


def cluster_of(pipeline: Pipeline) -> Cluster:
    return Cluster(pipeline.kafka, pipeline.prefix, PARTITIONS)


# -- changelogs ------------------------------------------------------------------------------------------------------------


def test_rows_stand_in_spite_of_records_that_nobody_can_decode(pipeline: Pipeline) -> None:
    worker = open_worker(pipeline)
    sell(pipeline, seed=1)
    worker.kill()
    cluster, random = cluster_of(pipeline), Random(1)
    spoiled = []
    for topic in CHANGELOGS:
        before = {place: value for place, value in rows(pipeline, topic).items() if value and place[1] != POSITIONS_KEY}
        for (partition, key), value in random.sample(sorted(before.items()), 8):
            cluster.write(topic, partition, key, stray_bytes(random, value))
            spoiled.append((topic, partition, key))
        cluster.write(topic, 0, b"\xff\xfe", b"garbage")
        cluster.write(topic, 1, POSITIONS_KEY, b"garbage")
    open_worker(pipeline)
    sell(pipeline, seed=2)
    for topic in CHANGELOGS:
        last = rows(pipeline, topic)
        assert all(codec.decode(value) for value in last.values() if value is not None)
        assert last[0, b"\xff\xfe"] is None
    letters = [codec.decode(value).value for value in values(pipeline, DEAD_LETTERS)]
    private = [letter for letter in letters if letter["topic"] in {topic.name for topic in CHANGELOGS}]
    assert {letter["topic"] for letter in private} == {topic.name for topic in CHANGELOGS}
    assert len(private) >= len(spoiled) / 2, "some rows may not have been touched since, and are found when they are"
    assert_clean(pipeline)


@pytest.mark.parametrize("topic", CHANGELOGS, ids=lambda topic: topic.name)
def test_where_no_row_is_left_the_worker_refuses_until_people_have_looked(pipeline: Pipeline, topic: Topic) -> None:
    worker = open_worker(pipeline)
    sell(pipeline, seed=3, orders=20)
    worker.kill()
    key = b"9876543210123" if topic is not STOCK_STATE else b"never-sold"
    home = order_partition(int(key), PARTITIONS) if topic is not STOCK_STATE else product_partition(key.decode(), PARTITIONS)
    cluster_of(pipeline).write(topic, home, key, b"garbage")
    refusing = pipeline.worker()
    until(lambda: not refusing.alive(), 90, "the worker refuses", refusing)
    words = refusing.log.read_text(errors="replace")
    assert refusing.popen.returncode == MISCONFIGURED, words[-3000:]
    assert all(word in words for word in (topic.name, f"partition {home}", key.decode(), "tombstone"))
    cluster_of(pipeline).write(topic, home, key, None)
    open_worker(pipeline)
    sell(pipeline, seed=4, orders=20)
    assert_clean(pipeline)


def test_rows_behind_a_stranger_s_open_transaction_are_waited_for(pipeline: Pipeline) -> None:
    """A committed reader ends before the open transaction; rows of ours stand behind it."""
    place = Place(product_partition("p0", PARTITIONS), PARTITIONS)
    row = codec.encode("ProductRow", {**example("ProductRow"), "product_id": "p0"})
    stranger = Producer({"bootstrap.servers": pipeline.kafka, "transactional.id": f"{pipeline.prefix}stranger", "transaction.timeout.ms": 14_000})
    stranger.init_transactions(30)
    stranger.begin_transaction()
    stranger.produce(STOCK_STATE.named(pipeline.prefix), None, b"nobody's", place.partition)
    stranger.flush()
    cluster_of(pipeline).write(STOCK_STATE, place.partition, b"p0", row)
    changelog = Changelog(STOCK, place)
    looks: Queue[int] = Queue()
    settings = StreamSettings(kafka=pipeline.kafka, topic_prefix=pipeline.prefix)
    with ThreadPoolExecutor(1) as pool:
        reading = pool.submit(read, settings, changelog, STOCK_STATE, place.partition, looks.put)
        for _ in range(3):
            assert looks.get(timeout=60) == 0, "nothing before the open transaction"
        assert not reading.done()
        stranger.abort_transaction(30)
        reading.result(60)
    assert changelog.rows == {b"p0": row}


# -- clocks ----------------------------------------------------------------------------------------------------------------


def half_an_order(pipeline: Pipeline, order_id: int) -> None:
    """An order of two lines, of which one never comes: it is open until its deadline."""
    producer = Producer({"bootstrap.servers": pipeline.kafka})
    home = product_partition("p0", PARTITIONS)
    command = {"command_id": f"half-{order_id}", "kind": "RESTOCK", "product_id": "p0", "quantity": 10, "as_of": 0, "issued_at": 0, "actor": "t", "note": ""}
    producer.produce(STOCK_COMMANDS.named(pipeline.prefix), codec.encode("StockCommand", command), b"p0", home)
    producer.flush()
    line = {"order_id": order_id, "line": 1, "line_count": 2, "product_id": "p0", "quantity": 1, "unit_price": 100, "currency": "GBP", "user_id": "u"}
    line |= {"payment_token": "tok_ok", "placed_at": int(time.time() * 1000)}
    producer.produce(ORDERS.named(pipeline.prefix), codec.encode("OrderLine", line), b"p0", home)
    producer.flush()


def decisions(pipeline: Pipeline, order_id: int) -> list[dict[str, Any]]:
    return [o for o in outcomes(pipeline) if o["order_id"] == order_id]


def test_a_worker_whose_clock_is_an_hour_ahead_expires_nothing_before_its_time(pipeline: Pipeline) -> None:
    worker = open_worker(pipeline, HOLDFAST_ORDER_TIMEOUT=str(LONG_TIMEOUT))
    half_an_order(pipeline, 77)
    pipeline.drain()
    worker.kill()
    wrong = open_worker(pipeline, **clock_off(HOUR_S))
    assert wrong.said("clock is +3600 s off")
    sell(pipeline, seed=6)
    assert wrong.said("differs from the brokers'")
    assert decisions(pipeline, 77) == []


def test_an_order_decided_by_a_worker_whose_clock_is_an_hour_behind_still_expires(pipeline: Pipeline) -> None:
    open_worker(pipeline, **clock_off(-HOUR_S))
    half_an_order(pipeline, 78)
    until(lambda: [o["status"] for o in decisions(pipeline, 78)] == ["EXPIRED"], 120, "the order expires")
    sell(pipeline, seed=7)
    assert_clean(pipeline)


# -- resources -------------------------------------------------------------------------------------------------------------


def test_a_run_folder_that_cannot_be_written_keeps_no_worker_from_its_work(pipeline: Pipeline, tmp_path: Path) -> None:
    (tmp_path / "full").write_text("no folder")
    worker = open_worker(pipeline, HOLDFAST_RUN_DIR=str(tmp_path / "full"))
    sell(pipeline, seed=8, orders=20)
    assert worker.said("run file cannot be written")
    assert_clean(pipeline)


def test_a_worker_whose_event_loop_stands_still_gives_its_partitions_back_and_ends(pipeline: Pipeline) -> None:
    worker = open_worker(pipeline, HOLDFAST_FAILPOINTS="stock.decided=stop:600@2", HOLDFAST_LOOP_SECONDS="3", HOLDFAST_SESSION_TIMEOUT="30")
    load = Load(pipeline.kafka, pipeline.prefix, seed=9)
    with load.flowing(50):
        until(lambda: not worker.alive(), 120, "the watchdog ends the worker", worker)
    assert worker.popen.returncode == STALLED
    cluster_of(pipeline).delete_group()  # the brokers refuse that while a session of a member goes on
    open_worker(pipeline, HOLDFAST_FAILPOINTS="")
    assert_clean(pipeline)
