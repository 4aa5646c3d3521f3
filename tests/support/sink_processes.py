"""The sinks as processes between a log of a test's own and its stores."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from confluent_kafka import Consumer, Producer, TopicPartition

from holdfast import topics
from schemas import codec, views
from schemas.partitions import partition_of
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES, STOCK_LEVELS
from sinks.migrate import migrate
from tests.support.outputs import Content, encoded, expected, in_mysql, in_redis, level, outcome, refused_command
from tests.support.stack import connect

PARTITIONS = 4
WITHIN_S = 90
Values = list[Mapping[str, Any] | bytes]
Positions = dict[tuple[str, int], int]


@dataclass
class Log:
    """The sinks' input topics under one prefix. `values` are all that was ever committed to them."""

    kafka: str
    prefix: str
    partitions: int = PARTITIONS
    values: Values = field(default_factory=list)
    at: dict[tuple[str, int, int], Mapping[str, Any] | bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        topics.create(self.kafka, self.prefix, self.partitions)
        self._producer = Producer(
            {"bootstrap.servers": self.kafka, "transactional.id": f"{self.prefix}tests", "transaction.timeout.ms": 10_000, "log_level": 2}
        )
        self._producer.init_transactions(60)

    def write(self, values: Values, each: int = 1_000) -> None:
        """Add the values, in transactions of `each`."""
        for i in range(0, len(values), each):
            self._producer.begin_transaction()
            for value in values[i : i + each]:
                self._produce(value)
            self._producer.commit_transaction()
        self.values += values

    def abort(self, values: Values) -> None:
        """Add values in a transaction that is then given up."""
        self._producer.begin_transaction()
        for value in values:
            self._produce(value)
        self._producer.flush()
        self._producer.abort_transaction()

    def write_raw(self, topic: str, key: bytes | None, value: bytes | None, partition: int = 0) -> None:
        """Add one record as it is, outside of `values`: nobody can store it."""
        self._producer.begin_transaction()
        self._producer.produce(self.prefix + topic, value, key, partition)
        self._producer.commit_transaction()

    def ends(self) -> Positions:
        """The end of each partition, behind the markers: a commit is answered before they are all written."""
        while (found := self._ends("read_committed")) != self._ends("read_uncommitted"):
            time.sleep(0.02)
        return found

    def _ends(self, isolation: str) -> Positions:
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": f"{self.prefix}tests", "isolation.level": isolation})
        names = [topic.named(self.prefix) for topic in (ORDER_OUTCOMES, STOCK_LEVELS)]
        found = {(t, n): consumer.get_watermark_offsets(TopicPartition(t, n), 30)[1] for t in names for n in range(self.partitions)}
        consumer.close()
        return found

    def dead_letters(self) -> list[dict[str, Any]]:
        """What the dead-letter topic holds now."""
        name, found = DEAD_LETTERS.named(self.prefix), []
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": f"{self.prefix}tests", "enable.partition.eof": True})
        consumer.assign([TopicPartition(name, n, 0) for n in range(self.partitions)])
        ended = 0
        while ended < self.partitions:
            for message in consumer.consume(100, 1):
                ended += message.error() is not None
                found += [] if message.error() else [codec.decode(message.value()).value]
        consumer.close()
        return found

    def _produce(self, value: Mapping[str, Any] | bytes) -> None:
        topic, key, data = (ORDER_OUTCOMES.name, b"?", value) if isinstance(value, bytes) else encoded(value)
        number = partition_of(key, self.partitions)
        self._producer.produce(self.prefix + topic, data, key, number, on_delivery=lambda _, m: self._remember(m, value))
        self._producer.poll(0)

    def _remember(self, message: Any, value: Mapping[str, Any] | bytes) -> None:
        self.at[message.topic(), message.partition(), message.offset()] = value

    def before(self, positions: Positions) -> Values:
        """The values below the positions."""
        return [value for (topic, number, offset), value in self.at.items() if offset < positions.get((topic, number), 0)]


@dataclass
class Sink:
    """Processes of one sink, and a look into its store."""

    name: str
    environment: dict[str, str]
    folder: Path
    content: Callable[[], Content]
    positions: Callable[[], Positions]
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self) -> subprocess.Popen[bytes]:
        """Start one more."""
        with self.log.open("ab") as log:
            command = [sys.executable, "-m", "holdfast", "sink", self.name]
            process = subprocess.Popen(command, env=os.environ | self.environment, stdout=log, stderr=log)
        self.processes.append(process)
        return process

    @property
    def log(self) -> Path:
        return self.folder / f"sink-{self.name}.log"

    def run_file(self, process: subprocess.Popen[bytes]) -> Path:
        return self.folder / f"sink-{process.pid}.json"

    def partitions(self, process: subprocess.Popen[bytes]) -> set[tuple[str, int]]:
        """The partitions that a process says it has."""
        file = self.run_file(process)
        said = json.loads(file.read_text())["partitions"] if file.exists() else {}
        return {(topic, number) for topic, numbers in said.items() for number in numbers}

    def wait(self, what: Callable[[], bool]) -> None:
        """Wait until something is so; every process that should live must."""
        deadline = time.monotonic() + WITHIN_S
        while not what():
            ended = [p.returncode for p in self.processes if p.poll() is not None]
            assert not ended, f"ended with {ended}:\n{self.log.read_text()[-4000:]}"
            assert time.monotonic() < deadline, f"still not so:\n{self.log.read_text()[-4000:]}"
            time.sleep(0.05)

    def catch_up(self, log: Log) -> None:
        """Wait until the store stands at the end of the log."""
        ends = log.ends()
        try:
            self.wait(lambda: self.positions() == ends)
        except AssertionError as error:
            raise AssertionError(f"the {self.name} sink stands at {self.positions()}, the log ends at {ends}; {error}") from None

    def kill(self, process: subprocess.Popen[bytes], how: signal.Signals = signal.SIGKILL) -> int:
        """End a process and return its exit code."""
        self.processes.remove(process)
        process.send_signal(how)
        return process.wait(WITHIN_S)

    def end(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()


def environment(log: Log, folder: Path, **other: str) -> dict[str, str]:
    fixed = {"HOLDFAST_KAFKA": log.kafka, "HOLDFAST_TOPIC_PREFIX": log.prefix, "HOLDFAST_RUN_DIR": str(folder)}
    return fixed | {"HOLDFAST_SINK_BATCH_BYTES": "20000", "HOLDFAST_SINK_SESSION_TIMEOUT_MS": "3000", **other}


def mysql_sink(log: Log, folder: Path, url: str, **other: str) -> Sink:
    migrate(url)
    return Sink("mysql", environment(log, folder, HOLDFAST_MYSQL=url, **other), folder, lambda: in_mysql(url), lambda: mysql_positions(url))


def redis_sink(log: Log, folder: Path, url: str, **other: str) -> Sink:
    return Sink("redis", environment(log, folder, HOLDFAST_REDIS=url, **other), folder, lambda: in_redis(url), lambda: redis_positions(url, log.prefix))


def mysql_positions(url: str) -> Positions:
    with connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT topic, partition_no, position FROM sink_positions WHERE sink = 'mysql'")
        return {(topic, number): at for topic, number, at in cursor.fetchall()}


def redis_positions(url: str, prefix: str) -> Positions:
    with redis.Redis.from_url(url) as client:
        keys = [(t.named(prefix), n) for t in (ORDER_OUTCOMES, STOCK_LEVELS) for n in range(PARTITIONS)]
        return {key: int(at) for key, at in zip(keys, client.mget([views.position_key(*key) for key in keys]), strict=True) if at is not None}


def lose(sink: Sink) -> None:
    """Empty the store behind the sink's back."""
    if "HOLDFAST_REDIS" in sink.environment:
        with redis.Redis.from_url(sink.environment["HOLDFAST_REDIS"]) as client:
            client.flushdb()
        return
    with connect(sink.environment["HOLDFAST_MYSQL"]) as connection, connection.cursor() as cursor:
        for table in (views.PRODUCTS, views.USERS, views.ORDERS, views.ORDER_LINES, views.SINK_POSITIONS):
            cursor.execute(f"DELETE FROM {table}")
        connection.commit()


def must_hold(sink: Sink, values: Values) -> None:
    everything = expected(values)
    assert sink.content() == (everything if sink.name == "mysql" else everything.without_users())


def traffic(orders: Iterable[int], versions: int = 2, lines: int = 5) -> Values:
    """Orders in several versions among levels of their products, and refused commands."""
    products = [f"P{i}" for i in range(40)]
    found: Values = []
    for version in range(1, versions + 1):
        for i in orders:
            ids = [products[(i * 7 + k) % 40] for k in range(lines)]
            found += [outcome(i, version, ids, user_id=f"u{i % 50}"), level(ids[0], 1 + i * versions + version)]
            found += [refused_command(i)] if i % 10 == 0 else []
    return found


def sink_of(request: Any, log: Log, folder: Path) -> Sink:
    """Return the sink that a fixture's parameter names, over an empty store, without processes yet."""
    if request.param == "mysql":
        return mysql_sink(log, folder, request.getfixturevalue("fresh_database"))
    return redis_sink(log, folder, request.getfixturevalue("fresh_redis"))
