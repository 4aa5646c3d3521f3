"""The sinks as processes while their surroundings fail: nothing goes backwards, nothing is left out, nobody has to help."""

import random
import signal
import threading
import time
from contextlib import ExitStack

import pytest
import redis
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from holdfast import topics
from schemas import codec, views
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES, STOCK_LEVELS
from tests.support.outputs import level, outcome
from tests.support.row_watch import RowWatch
from tests.support.servers import own_database, own_redis
from tests.support.sink_processes import Log, must_hold, mysql_sink, redis_sink, sink_of, traffic
from tests.support.stack import connect

pytestmark = [pytest.mark.live, pytest.mark.long]
TABLES = (views.PRODUCTS, views.USERS, views.ORDERS, views.ORDER_LINES, views.SINK_POSITIONS)


@pytest.fixture
def log(kafka, topic_prefix):
    return Log(kafka, topic_prefix)


@pytest.fixture(params=["mysql", "redis"])
def sink(request, log, tmp_path):
    """A sink without processes yet; those it gets end with the test."""
    found = sink_of(request, log, tmp_path)
    found.environment["HOLDFAST_SINK_SESSION_TIMEOUT_MS"] = "1500"
    yield found
    found.end()


def url_of(sink):
    return sink.environment[f"HOLDFAST_{sink.name.upper()}"]


def test_three_sinks_are_killed_stopped_and_woken_and_no_row_goes_backwards(log, sink):
    chance = random.Random(3)
    watch = RowWatch(**{sink.name: url_of(sink)})
    for _ in range(3):
        sink.start()
    with watch.watching():
        for version in range(1, 9):
            log.write([value for i in range(60) for value in (outcome(i + 1, version, ["A", "B"]), level(f"P{i}", version))], each=20)
            strike(sink, chance)
        for process in sink.processes:
            process.send_signal(signal.SIGCONT)
        sink.catch_up(log)
    must_hold(sink, log.values)
    assert not watch.backwards
    assert watch.looks[sink.name] > 10


def strike(sink, chance):
    """Kill one and start another, or stop one until it is a zombie, or wake all."""
    victim = chance.choice(sink.processes)
    how = chance.choice(["kill", "ask", "stop", "wake"])
    if how == "stop":
        victim.send_signal(signal.SIGSTOP)
    elif how == "wake":
        for process in sink.processes:
            process.send_signal(signal.SIGCONT)
    else:
        victim.send_signal(signal.SIGCONT)
        sink.kill(victim, signal.SIGKILL if how == "kill" else signal.SIGTERM)
        sink.start()
    time.sleep(chance.uniform(0.2, 2.5))


def test_every_kind_of_bad_record_on_either_topic_is_a_dead_letter_and_its_neighbours_are_stored(log, sink):
    outcomes, levels = ORDER_OUTCOMES.name, STOCK_LEVELS.name
    cut = codec.encode("StockLevel", level())[:-1]
    raw = [
        (levels, b"A", None, "NOT_CONFLUENT"),
        (levels, b"A", b"garbage", "NOT_CONFLUENT"),
        (levels, b"A", b"\0\0\0\xff\xffabc", "UNKNOWN_SCHEMA"),
        (levels, b"A", cut, "UNDECODABLE"),
        (levels, b"A", codec.encode("OrderOutcome", outcome()), "WRONG_RECORD"),
        (outcomes, b"1", None, "NOT_CONFLUENT"),
        (outcomes, None, b"", "NOT_CONFLUENT"),
        (outcomes, b"1", b"\0\0\0\xff\xffabc", "UNKNOWN_SCHEMA"),
    ]
    log.write(traffic(range(1, 20)))
    for topic, key, value, _ in raw:
        log.write_raw(topic, key, value)
    log.write(traffic(range(20, 40)))
    sink.start()
    sink.catch_up(log)
    must_hold(sink, log.values)
    letters = log.dead_letters()
    found = [(letter["topic"].removeprefix(log.prefix), letter["key"], letter["value"], letter["reason"]) for letter in letters]
    assert sorted(map(repr, found)) == sorted(repr((topic, key, value or b"", reason)) for topic, key, value, reason in raw)
    assert {letter["stage"] for letter in letters} == {sink.name}


def test_a_good_record_under_a_wrong_key_or_none_is_stored_like_any_other(log, sink):
    log.write_raw(ORDER_OUTCOMES.name, None, codec.encode("OrderOutcome", outcome(1)))
    log.write_raw(STOCK_LEVELS.name, b"\xff", codec.encode("StockLevel", level("A")))
    sink.start()
    sink.catch_up(log)
    must_hold(sink, [outcome(1), level("A")])


def test_the_brokers_refuse_a_level_without_a_key(log):
    with pytest.raises(KafkaException, match="INVALID_RECORD"):
        log.write_raw(STOCK_LEVELS.name, None, codec.encode("StockLevel", level("A")))


def test_without_a_topic_for_dead_letters_the_sink_waits_and_gives_nothing_up(log, sink):
    log.write(traffic(range(1, 20)))
    process = sink.start()
    sink.catch_up(log)
    name, admin = DEAD_LETTERS.named(log.prefix), AdminClient({"bootstrap.servers": log.kafka})
    admin.delete_topics([name])[name].result()
    sink.wait(lambda: name not in admin.list_topics(timeout=30).topics)
    before = log.ends()
    log.write_raw(ORDER_OUTCOMES.name, b"1", b"garbage")
    sink.wait(lambda: "dead letters" in sink.log.read_text())
    assert sink.positions() == before
    topics.create(log.kafka, log.prefix, 4)
    sink.catch_up(log)
    must_hold(sink, log.values)
    assert [letter["value"] for letter in log.dead_letters()] == [b"garbage"]
    assert process.poll() is None


def test_each_store_may_be_down_without_the_other_noticing_and_both_at_once(log, tmp_path):
    with own_database(tmp_path) as mariadb, own_redis(tmp_path) as cache, ExitStack() as after:
        sinks = {"mysql": mysql_sink(log, tmp_path, mariadb.url), "redis": redis_sink(log, tmp_path, cache.url)}
        processes = [sink.start() for sink in sinks.values()]
        for sink in sinks.values():
            after.callback(sink.end)
        orders = iter(range(1, 10_000, 60))
        for down, going_on in (([mariadb], ["redis"]), ([cache], ["mysql"]), ([mariadb, cache], [])):
            for server in down:
                server.kill()
            for _ in range(4):
                start = next(orders)
                log.write(traffic(range(start, start + 60)))
                for name in going_on:
                    sinks[name].catch_up(log)
                time.sleep(0.5)
            for server in down:
                server.start()
            for sink in sinks.values():
                sink.catch_up(log)
                must_hold(sink, log.values)
        assert [process.poll() for process in processes] == [None, None]


def test_a_redis_without_a_file_comes_back_empty_and_is_filled_again(log, tmp_path):
    with own_redis(tmp_path) as cache, ExitStack() as after:
        cache.kill()
        cache.start("--appendonly", "no")
        sink = redis_sink(log, tmp_path, cache.url)
        after.callback(sink.end)
        log.write(traffic(range(1, 400)))
        process = sink.start()
        sink.catch_up(log)
        cache.kill()
        log.write(traffic(range(400, 500)))
        cache.start("--appendonly", "no")
        sink.catch_up(log)
        must_hold(sink, log.values)
        assert process.poll() is None


def test_a_database_set_back_to_a_backup_is_brought_up_to_date_again(log, tmp_path, fresh_database):
    sink = mysql_sink(log, tmp_path, fresh_database)
    try:
        log.write(traffic(range(1, 200)))
        sink.start()
        sink.catch_up(log)
        with connect(fresh_database) as connection, connection.cursor() as cursor:
            for table in TABLES:
                cursor.execute(f"CREATE TABLE {table}_kept AS SELECT * FROM {table}")
            log.write(traffic(range(100, 300), versions=4))
            sink.catch_up(log)
            for table in TABLES:
                cursor.execute(f"DELETE FROM {table}")
                cursor.execute(f"INSERT INTO {table} SELECT * FROM {table}_kept")
            connection.commit()
        sink.wait(lambda: "stands somewhere else" in sink.log.read_text())
        sink.catch_up(log)
        must_hold(sink, log.values)
    finally:
        sink.end()


def test_a_store_that_keeps_losing_its_positions_is_no_busy_loop(log, tmp_path, fresh_redis):
    sink = redis_sink(log, tmp_path, fresh_redis)
    stop = threading.Event()

    def lose() -> None:
        with redis.Redis.from_url(fresh_redis) as client:
            while not stop.wait(0.02):
                client.flushdb()

    thief = threading.Thread(target=lose)
    try:
        log.write(traffic(range(1, 300)))
        sink.start()
        sink.catch_up(log)
        thief.start()
        time.sleep(6)
        stop.set()
        thief.join()
        sink.catch_up(log)
        must_hold(sink, log.values)
        assert len(sink.log.read_text().splitlines()) < 40
    finally:
        stop.set()
        sink.end()


@pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
def test_a_redis_that_would_evict_rows_is_refused(log, tmp_path, policy):
    with own_redis(tmp_path) as cache, redis.Redis.from_url(cache.url) as client, ExitStack() as after:
        client.config_set("maxmemory-policy", policy)
        sink = redis_sink(log, tmp_path, cache.url)
        after.callback(sink.end)
        assert sink.start().wait(60) == 1
        assert f"maxmemory-policy {policy}" in sink.log.read_text()
        assert "set it to noeviction" in sink.log.read_text()
        client.config_set("maxmemory-policy", "volatile-lru")
        sink.processes.clear()
        sink.start()
        log.write(traffic(range(1, 20)))
        sink.catch_up(log)
        must_hold(sink, log.values)
