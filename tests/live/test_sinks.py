"""The sinks as processes, between real Kafka and real stores: whatever happens, the stores end as the fold of the log."""

import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack

import pytest
from confluent_kafka import Consumer, TopicPartition
from confluent_kafka.admin import AdminClient

from holdfast import topics
from schemas import codec
from schemas.topics import ORDER_OUTCOMES
from sinks.migrate import migrate
from tests.support.outputs import encoded, expected, level, outcome, records
from tests.support.servers import own_database
from tests.support.sink_processes import PARTITIONS, WITHIN_S, Log, Values, lose, must_hold, mysql_sink, sink_of, traffic
from tests.support.stack import connect

pytestmark = pytest.mark.live


@pytest.fixture
def log(kafka, topic_prefix):
    return Log(kafka, topic_prefix)


@pytest.fixture(params=["mysql", "redis"])
def sink(request, log, tmp_path):
    """A sink without processes yet; those it gets end with the test."""
    found = sink_of(request, log, tmp_path)
    yield found
    found.end()


def test_the_store_becomes_the_fold_of_what_was_committed(log, sink):
    log.write(traffic(range(1, 400)))
    log.abort([outcome(9_999), level("P1", 10**6)])
    process = sink.start()
    sink.catch_up(log)
    must_hold(sink, log.values)
    log.write(traffic(range(400, 420), versions=3))
    sink.catch_up(log)
    must_hold(sink, log.values)
    assert sink.partitions(process) == set(log.ends())
    assert sink.kill(process, signal.SIGTERM) == 0
    assert not sink.run_file(process).exists()


def test_a_run_folder_that_is_away_keeps_no_sink_from_its_work(log, sink, tmp_path):
    away = tmp_path / "no-folder"
    away.write_text("")
    sink.environment["HOLDFAST_RUN_DIR"] = str(away)
    log.write(traffic(range(1, 50)))
    process = sink.start()
    sink.catch_up(log)
    assert sink.kill(process, signal.SIGTERM) == 0
    assert "cannot be written" in sink.log.read_text()


def test_stopping_tells_the_group_where_the_store_stands(log, sink):
    log.write(traffic(range(1, 50)))
    process = sink.start()
    sink.catch_up(log)
    sink.kill(process, signal.SIGINT)
    consumer = Consumer({"bootstrap.servers": log.kafka, "group.id": f"{log.prefix}holdfast.sink.{sink.name}"})
    committed = consumer.committed([TopicPartition(*key) for key in log.ends()], timeout=30)
    consumer.close()
    assert {(p.topic, p.partition): p.offset for p in committed} == log.ends()


def test_kill_9_in_mid_load_leaves_nothing_out_and_nothing_double(log, sink):
    log.write(traffic(range(1, 1_500)))
    for share in (0.2, 0.5, 0.8):
        process = sink.start()
        sink.wait(lambda s=share: sum(sink.positions().values()) > s * sum(log.ends().values()))
        sink.kill(process)
        held, done = sink.content(), expected(log.before(sink.positions()))
        if sink.name == "mysql":
            assert held == done
        else:
            assert all(held.orders[i]["version"] >= order["version"] for i, order in done.orders.items())
            assert all(held.products[i]["version"] >= product["version"] for i, product in done.products.items())
    sink.start()
    sink.catch_up(log)
    must_hold(sink, log.values)


def test_a_store_that_is_emptied_under_a_running_sink_is_filled_again(log, sink):
    log.write(traffic(range(1, 300)))
    sink.start()
    sink.catch_up(log)
    lose(sink)
    sink.catch_up(log)
    must_hold(sink, log.values)


def test_a_store_that_is_emptied_in_mid_load_is_filled_again(log, sink):
    log.write(traffic(range(1, 1_500)))
    sink.start()
    sink.wait(lambda: sum(sink.positions().values()) > 1_000)
    lose(sink)
    sink.catch_up(log)
    must_hold(sink, log.values)


def test_poison_goes_to_the_dead_letters_and_its_neighbours_are_unharmed(log, sink):
    unstorable = [outcome(5_000, user_id="x" * 65), outcome(5_001, placed_at=-1), level("x" * 65)]
    garbage: Values = [b"", b"garbage", b"\0\0\0\xff\xffabc", codec.encode("OrderOutcome", outcome(5_002))[:-1], codec.encode("StockLevel", level())]
    good = traffic(range(1, 60))
    log.write([*good[:50], *garbage, *unstorable, *good[50:]])
    sink.start()
    sink.catch_up(log)
    must_hold(sink, good)
    found = {letter["reason"]: letter for letter in log.dead_letters()}
    reasons = {"NOT_CONFLUENT", "UNKNOWN_SCHEMA", "UNDECODABLE", "WRONG_RECORD", "INVALID_USER", "INVALID_TIME", "INVALID_PRODUCT"}
    assert found.keys() == reasons
    letter = found["INVALID_USER"]
    assert (letter["stage"], letter["order_id"], letter["topic"]) == (sink.name, 5_000, ORDER_OUTCOMES.named(log.prefix))
    assert log.at[letter["topic"], letter["partition"], letter["offset"]] == unstorable[0]
    assert letter["value"] == encoded(unstorable[0])[2]


def test_several_processes_share_the_partitions_and_may_come_and_go(log, sink):
    log.write(traffic(range(1, 600)))
    first, second = sink.start(), sink.start()
    everything = set(log.ends())
    sink.wait(lambda: sink.partitions(first) == everything - sink.partitions(second) and sink.partitions(first) not in (everything, set()))
    log.write(traffic(range(600, 900)))
    sink.kill(first, signal.SIGTERM)
    log.write(traffic(range(900, 1_000)))
    sink.catch_up(log)
    must_hold(sink, log.values)


def test_a_zombie_that_wakes_moves_no_position_back(log, sink):
    sink.environment["HOLDFAST_SINK_SESSION_TIMEOUT_MS"] = "1500"
    log.write(traffic(range(1, 800)))
    zombie = sink.start()
    sink.wait(lambda: sum(sink.positions().values()) > 500)
    zombie.send_signal(signal.SIGSTOP)
    sink.start()
    sink.catch_up(log)
    seen = [sink.positions()]
    zombie.send_signal(signal.SIGCONT)
    log.write(traffic(range(800, 1_200)))
    ends = log.ends()

    def forward_to_the_end() -> bool:
        seen.append(sink.positions())
        assert all(seen[-1][partition] >= at for partition, at in seen[-2].items())
        return seen[-1] == ends

    sink.wait(forward_to_the_end)
    must_hold(sink, log.values)


def test_mysql_going_down_and_coming_back_is_waited_out(log, tmp_path):
    with own_database(tmp_path) as server, ExitStack() as after:
        sink = mysql_sink(log, tmp_path, server.url)
        after.callback(sink.end)
        process = sink.start()
        log.write(traffic(range(1, 800)))
        sink.wait(lambda: sum(sink.positions().values()) > 300)
        server.kill()
        log.write(traffic(range(800, 900)))
        sink.wait(lambda: "not now" in sink.log.read_text())
        server.start()
        sink.catch_up(log)
        must_hold(sink, log.values)
        assert process.poll() is None
        sink.wait(lambda: "going on" in sink.log.read_text())
        assert sink.log.read_text().count("not now") == 1
        assert server.url.split(":")[2].split("@")[0] not in sink.log.read_text()


def test_a_sink_that_starts_before_its_tables_waits_for_them(log, tmp_path, fresh_database):
    sink = mysql_sink(log, tmp_path, fresh_database)
    with connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute("DROP TABLE sink_positions, orders, alembic_version")
    try:
        sink.start()
        log.write(traffic(range(1, 20)))
        sink.wait(lambda: "holdfast migrate" in sink.log.read_text())
        migrate(fresh_database)
        sink.catch_up(log)
        must_hold(sink, log.values)
    finally:
        sink.end()


def test_a_log_created_anew_is_refused_with_the_reason(log, sink):
    log.write(traffic(range(1, 30)))
    process = sink.start()
    sink.catch_up(log)
    sink.kill(process, signal.SIGTERM)
    admin = AdminClient({"bootstrap.servers": log.kafka})
    name = ORDER_OUTCOMES.named(log.prefix)
    admin.delete_topics([name])[name].result()
    deadline = time.monotonic() + WITHIN_S
    while name in admin.list_topics(timeout=30).topics and time.monotonic() < deadline:
        time.sleep(0.1)
    topics.create(log.kafka, log.prefix, PARTITIONS)
    process = sink.start()
    assert process.wait(WITHIN_S) == 1
    assert "created anew" in sink.log.read_text()


@pytest.mark.parametrize("name", ["mysql", "redis"])
def test_missing_topics_end_the_sink_with_the_command_to_run(kafka, topic_prefix, mysql_url, redis_url, name):
    variables = {"HOLDFAST_KAFKA": kafka, "HOLDFAST_MYSQL": mysql_url, "HOLDFAST_REDIS": redis_url, "HOLDFAST_TOPIC_PREFIX": topic_prefix}
    done = subprocess.run(
        [sys.executable, "-m", "holdfast", "sink", name], env=os.environ | variables, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    assert done.returncode == 1
    assert f"no topic {topic_prefix}order.outcomes" in done.stderr
    assert "holdfast topics create" in done.stderr


def test_records_are_spread_like_the_pipelines_own(log):
    """The helper of the pure tests and the log here must agree on what is an order's and what a product's record."""
    values = traffic(range(1, 5))
    log.write(values)
    assert {r.topic for r in records(values)} == {topic.removeprefix(log.prefix) for topic, _, _ in log.at}
