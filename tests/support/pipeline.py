"""A real pipeline for tests: workers and sinks as processes, a seeded load, and waiting until all of it is decided."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from generations.readers import reader_settings
from holdfast import topics
from schemas import codec
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDERS, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS, STOCK_LEVELS

PARTITIONS = 4
STAGE_INPUTS = (ORDERS, STOCK_COMMANDS, STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS, PAYMENT_REQUESTS)


@dataclass
class Child:
    """One process of the pipeline."""

    kind: str
    popen: subprocess.Popen[bytes]
    log: Path

    def signal(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        self.popen.wait()

    def alive(self) -> bool:
        return self.popen.poll() is None

    def said(self, text: str) -> bool:
        return text in self.log.read_text(errors="replace")


@dataclass
class Pipeline:
    """Topics under a prefix of their own, and the processes that work on them."""

    kafka: str
    prefix: str
    folder: Path
    mysql: str | None = None
    redis: str | None = None
    settings: dict[str, str] = field(default_factory=dict)
    children: list[Child] = field(default_factory=list)

    def environment(self) -> dict[str, str]:
        stores = {"HOLDFAST_MYSQL": self.mysql, "HOLDFAST_REDIS": self.redis}
        mine = {"HOLDFAST_KAFKA": self.kafka, "HOLDFAST_TOPIC_PREFIX": self.prefix, "HOLDFAST_PARTITIONS": str(PARTITIONS)}
        return {**os.environ, **mine, **{k: v for k, v in stores.items() if v}, **self.settings}

    def create_topics(self) -> None:
        topics.create(self.kafka, self.prefix, PARTITIONS)

    def run(self, *command: str) -> None:
        """Run one command of ours to its end."""
        subprocess.run([sys.executable, "-m", *command], env=self.environment(), check=True, timeout=120)

    def start(self, kind: str, *command: str) -> Child:
        log = self.folder / f"{kind}-{len(self.children)}.log"
        with log.open("wb") as out:
            popen = subprocess.Popen([sys.executable, "-m", *command], env=self.environment(), stdout=out, stderr=subprocess.STDOUT)
        child = Child(kind, popen, log)
        self.children.append(child)
        return child

    def worker(self) -> Child:
        return self.start("worker", "faust", "-A", "streams.app", "worker", "--without-web", "-l", "warn")

    def sinks(self) -> list[Child]:
        self.run("holdfast", "migrate")
        return [self.start(f"sink-{store}", "holdfast", "sink", store) for store in ("mysql", "redis")]

    def await_open(self, worker: Child, *, partitions: int = PARTITIONS, seconds: float = 60) -> None:
        """Wait until a worker has opened this many stock tasks."""
        until(lambda: worker.log.read_text(errors="replace").count('"task": "stock.') >= partitions, seconds, f"worker opened {partitions} stock tasks", worker)

    def stop(self) -> None:
        for child in self.children:
            if child.alive():
                child.signal(signal.SIGCONT)
                child.kill()

    # -- how far it is -------------------------------------------------------------------------------------------------

    def lag(self) -> dict[str, int]:
        """Return how many offsets each reader has before it, by group and topic."""
        readers = [("holdfast", t) for t in STAGE_INPUTS]
        if self.mysql:
            readers += [(f"holdfast.sink.{s}", t) for s in ("mysql", "redis") for t in (ORDER_OUTCOMES, STOCK_LEVELS)]
        return {f"{group} {topic.name}": self._lag_of(group, topic.named(self.prefix)) for group, topic in readers}

    def _lag_of(self, group: str, topic: str) -> int:
        consumer = Consumer({"bootstrap.servers": self.kafka, "group.id": self.prefix + group})
        try:
            tps = [TopicPartition(topic, p) for p in range(PARTITIONS)]
            ends = [consumer.get_watermark_offsets(tp, timeout=10)[1] for tp in tps]
            done = consumer.committed(tps, timeout=10)
            return sum(max(0, end - max(0, tp.offset)) for end, tp in zip(ends, done, strict=True))
        finally:
            consumer.close()

    def drain(self, seconds: float = 120) -> None:
        """Wait until nothing is under way: no lag anywhere, three times in a row."""
        calm = 0
        deadline = time.monotonic() + seconds
        while calm < 3:
            lag = {k: v for k, v in self.lag().items() if v}
            calm = 0 if lag else calm + 1
            if time.monotonic() > deadline:
                raise AssertionError(f"not drained after {seconds} s: {lag}\n{self.last_words()}")
            time.sleep(1.0)

    def last_words(self) -> str:
        return "\n".join(f"--- {c.kind} {c.popen.poll()}\n" + "\n".join(c.log.read_text(errors="replace").splitlines()[-8:]) for c in self.children)


def until(holds: Any, seconds: float, what: str, child: Child | None = None) -> None:
    """Wait until something holds; fail with what was waited for."""
    deadline = time.monotonic() + seconds
    while not holds():
        words = "" if child is None else child.log.read_text(errors="replace")[-2000:]
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}\n{words}"
        time.sleep(0.1)


@contextmanager
def running(pipeline: Pipeline) -> Iterator[Pipeline]:
    """Create the topics; stop every process at the end."""
    pipeline.create_topics()
    with ExitStack() as stack:
        stack.callback(pipeline.stop)
        yield pipeline


# -- load ----------------------------------------------------------------------------------------------------------------


@dataclass
class Load:
    """A seeded stream of orders, duplicates, cancels, ships and returns over a small catalogue that runs short."""

    kafka: str
    prefix: str
    seed: int
    products: int = 40
    units: int = 400
    sent: int = 0

    def __post_init__(self) -> None:
        self.random = random.Random(self.seed)
        self.producer = Producer({"bootstrap.servers": self.kafka, "enable.idempotence": True, "linger.ms": 5})
        self.base = (int(time.time() * 1000) << 22) + self.seed * 10_000_000
        self.stopping = threading.Event()

    def put(self, topic: Any, name: str, value: dict[str, Any], key: str, partition: int) -> None:
        self.producer.produce(topic.named(self.prefix), codec.encode(name, value), key.encode(), partition)
        self.producer.poll(0)

    def restock(self, units: int | None = None, tag: str = "opening") -> None:
        for i in range(self.products):
            product = f"p{i}"
            command = {"command_id": f"{tag}-{product}", "kind": "RESTOCK", "product_id": product, "quantity": units or self.units, "as_of": 0}
            self.put(STOCK_COMMANDS, "StockCommand", {**command, "issued_at": 0, "actor": "test", "note": ""}, product, product_partition(product, PARTITIONS))
        self.producer.flush()

    def order(self) -> None:
        """One order of one to four lines; a few lines are sent twice, a few orders lose a line."""
        self.sent += 1
        order_id, lines, now = self.base + self.sent, self.random.randint(1, 4), int(time.time() * 1000)
        token = "tok_declined" if self.random.random() < 0.05 else "tok_ok"
        common = {"order_id": order_id, "line_count": lines, "currency": "GBP", "user_id": f"u{order_id % 50}", "payment_token": token, "placed_at": now}
        forgotten = lines if self.random.random() < 0.01 else 0
        for line in range(1, lines + 1):
            if line != forgotten:
                self._line({**common, "line": line})
        self._later(order_id)

    def _line(self, common: dict[str, Any]) -> None:
        product = f"p{min(int(self.random.expovariate(0.1)), self.products - 1)}"
        value = {**common, "product_id": product, "quantity": self.random.randint(1, 3), "unit_price": 100}
        for _ in range(2 if self.random.random() < 0.03 else 1):
            self.put(ORDERS, "OrderLine", value, product, product_partition(product, PARTITIONS))

    def _later(self, order_id: int) -> None:
        """Cancel this order, ship an earlier one or take one back, now and then."""
        chance, earlier = self.random.random(), max(self.base + 1, order_id - self.random.randint(50, 300))
        if chance < 0.04:
            self.command("CANCEL", order_id)
        elif chance < 0.34:
            self.command("SHIP", earlier)
        elif chance < 0.40:
            self.command("RETURN", earlier)

    def command(self, kind: str, order_id: int) -> None:
        value = {"command_id": f"{kind}-{order_id}", "kind": kind, "order_id": order_id, "line": 0, "quantity": 0, "issued_at": 0, "actor": "test"}
        self.put(ORDER_COMMANDS, "OrderCommand", value, str(order_id), order_partition(order_id, PARTITIONS))

    def run(self, per_second: int) -> None:
        """Send orders at a steady rate until told to stop."""
        while not self.stopping.wait(0.05):
            for _ in range(max(1, per_second // 20)):
                self.order()
        self.producer.flush()

    @contextmanager
    def flowing(self, per_second: int = 200) -> Iterator[None]:
        """Send in the background while the block runs."""
        thread = threading.Thread(target=self.run, args=(per_second,))
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join()


def outcomes(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return every record of order.outcomes, decoded, in partition order."""
    return [codec.decode(value).value for value in values(pipeline, ORDER_OUTCOMES)]


def values(pipeline: Pipeline, topic: Any) -> Sequence[bytes]:
    """Return every committed value of a topic."""
    consumer = Consumer(reader_settings(pipeline.kafka, "test.values"))
    name, found, open_partitions = topic.named(pipeline.prefix), [], set(range(PARTITIONS))
    consumer.assign([TopicPartition(name, p, 0) for p in open_partitions])
    while open_partitions:
        for message in consumer.consume(1000, 1.0):
            if message.error() is not None:
                open_partitions.discard(message.partition())
            else:
                found.append(message.value())
    consumer.close()
    return found
