"""The number of partitions changed under load, the change killed at every step: nothing lost, nothing twice, and the audit reads both generations as one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import KafkaError, Producer
from confluent_kafka.admin import AdminClient

from failpoints.names import REPARTITION
from generations import read
from holdfast import audit, topics
from holdfast.cli import main
from holdfast.lag import READERS, LagMeter
from holdfast.repartition.change import Repartition
from holdfast.repartition.errors import TakenOverError
from ingest.errors import MovingError, PublishError
from ingest.order_ids import OrderIds
from ingest.producer import OrderProducer
from ingest.requests import Line, Order, StockCommand
from schemas import codec
from schemas.outcomes import StockCommandKind
from schemas.topics import ALL, DEFAULT_PARTITIONS, ORDER_COMMANDS, ORDERS, STOCK_COMMANDS
from streams.runtime.exits import MOVED
from tests.support.gateway import GatewayProcess, running_gateway
from tests.support.neighbours import Everybody, Nobody
from tests.support.pipeline import PARTITIONS, Pipeline, running, until
from tests.support.stack import connect, new_database, new_redis, unique_name

pytestmark = pytest.mark.live
PRODUCTS = 12
STEPS = [step for step in REPARTITION if step != "reopened"]
"""That one is reached only where something slips in between the last look and the fence."""


@dataclass
class Kept:
    """A worker that is started again when it ends because the partitions move, as a supervisor would; for no other end."""

    pipeline: Pipeline
    ends: list[int] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        child = self.pipeline.worker()
        while not self.stopping.wait(0.1):
            if (code := child.popen.poll()) is not None:
                self.ends.append(code)
                child = self.pipeline.worker()

    @contextmanager
    def running(self) -> Iterator[None]:
        thread = threading.Thread(target=self.run)
        thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            thread.join()


@dataclass
class Customers:
    """Places orders over and over, each until it is acknowledged, under one ID; half at the gateway, half with the producer client."""

    kafka: str
    prefix: str
    ids: OrderIds
    gateway: GatewayProcess
    acknowledged: set[int] = field(default_factory=set)
    refused: list[str] = field(default_factory=list)
    stopping: threading.Event = field(default_factory=threading.Event)

    def produce(self) -> None:
        with OrderProducer(self.kafka, topic_prefix=self.prefix, ack_timeout_s=5) as producer:
            while not self.stopping.wait(0.02):
                (order_id,) = self.ids.take(1)
                lines = [Line(f"p{(order_id + n) % PRODUCTS}", 1, 100) for n in range(order_id % 3 + 1)]
                self._until_taken(producer, Order(order_id, "u1", lines, "GBP", "tok_slow" if order_id % 7 == 0 else "tok_ok", int(time.time() * 1000)))

    def _until_taken(self, producer: OrderProducer, order: Order) -> None:
        while True:
            try:
                producer.publish(order).result(30)
                self.acknowledged.add(order.order_id)
                return
            except PublishError as error:
                self.refused.append(type(error).__name__)
                time.sleep(0.2)

    def post(self) -> None:
        number = 0
        with self.gateway.client() as client:
            while not self.stopping.wait(0.02):
                number += 1
                body = {"user": "u2", "currency": "GBP", "lines": [{"product_id": f"p{number % PRODUCTS}", "quantity": 1, "unit_price": 100}]}
                self._post(client, {**body, "payment": {"token": "tok_ok"}}, f"order-{number}")

    def _post(self, client: Any, body: dict[str, Any], key: str) -> None:
        while True:
            answer = client.post("/v1/orders", json=body, headers={"idempotency-key": key})
            if answer.status_code == 202:
                self.acknowledged.add(int(answer.json()["order_id"]))
                return
            assert answer.status_code == 503, answer.text
            assert int(answer.headers["retry-after"]) > 0
            self.refused.append("503")
            time.sleep(0.2)

    @contextmanager
    def flowing(self) -> Iterator[None]:
        threads = [threading.Thread(target=run) for run in (self.produce, self.post)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self.stopping.set()
            for thread in threads:
                thread.join()


def change(pipeline: Pipeline, *options: str, dies_at: str | None = None) -> subprocess.CompletedProcess[str]:
    environment = pipeline.environment() | {"PYTHONFAULTHANDLER": "1"} | ({"HOLDFAST_FAILPOINTS": f"repartition.{dies_at}=kill"} if dies_at else {})
    command = [sys.executable, "-m", "holdfast", "repartition", *options]
    return subprocess.run(command, check=False, env=environment, capture_output=True, text=True, timeout=200)


def at_rest(kafka: str, prefix: str, seconds: float = 90) -> None:
    """Wait until everything of a generation is read and written, three times in a row."""
    deadline, calm = time.monotonic() + seconds, 0
    with closing(LagMeter(kafka, prefix, READERS)) as meter:
        while calm < 3:
            look = meter.look()
            calm = calm + 1 if look.is_idle else 0
            assert time.monotonic() < deadline, {lag.stage + " " + lag.topic: lag.records for lag in look.lags if lag.records}
            time.sleep(0.5)


def stocked(kafka: str, prefix: str, units: int) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        for number in range(PRODUCTS):
            producer.command(StockCommand(f"opening-{number}", StockCommandKind.RESTOCK, f"p{number}", units)).result(30)


@dataclass
class Wide(Pipeline):
    """A pipeline of as many partitions as a shop has by default."""

    def create_topics(self) -> None:
        topics.create(self.kafka, self.prefix, DEFAULT_PARTITIONS)


@contextmanager
def shop(kind: type[Pipeline], kafka: str, mysql_url: str, redis_url: str, folder: Path, **settings: str) -> Iterator[Pipeline]:
    prefix = f"{unique_name('move')}."
    with ExitStack() as until_done:
        database, redis = until_done.enter_context(new_database(mysql_url)), until_done.enter_context(new_redis(redis_url))
        pipeline = kind(kafka, prefix, folder, database, redis, {"HOLDFAST_SANDBOX_SLOW": "3", **settings})
        until_done.enter_context(running(pipeline)).sinks()
        yield pipeline


def change_under_load(pipeline: Pipeline, to: int, steps: list[str], enough: int, beside: type[Nobody] = Nobody) -> None:
    """Change the count while orders flow, dying at these steps on the way; then all is decided, and the audit finds nothing."""
    others = beside(pipeline)
    assert pipeline.mysql
    assert pipeline.redis
    kafka, prefix, kept = pipeline.kafka, pipeline.prefix, Kept(pipeline)
    with kept.running(), running_gateway(pipeline) as gateway, OrderIds(pipeline.mysql) as ids:
        stocked(kafka, prefix, 2 * enough)
        customers = Customers(kafka, prefix, ids, gateway)
        with others.at_work(gateway), customers.flowing():
            until(lambda: len(customers.acknowledged) > enough, 120, "orders flow", pipeline.children[-1])
            for step in steps:
                died = change(pipeline, "--to", str(to), dies_at=step)
                assert died.returncode == -signal.SIGKILL, (step, died.stdout, died.stderr)
            if "switched" not in steps:
                done = change(pipeline, "--to", str(to), "--json")
                assert done.returncode == 0, done.stderr
                print(done.stdout)
            history = read(kafka, prefix)
            taken = len(customers.acknowledged)
            until(lambda: len(customers.acknowledged) > taken + enough, 120, "orders flow again", pipeline.children[-1])
            others.finish()
        assert history.moving is None
        assert history.partitions == to
        assert {"503", MovingError.__name__} <= set(customers.refused)
        at_rest(kafka, history.prefix)
    assert set(kept.ends) == {MOVED}
    report = audit.run(kafka, pipeline.mysql, pipeline.redis, prefix)
    assert report.ok, report.text()
    orders = others.orders or len(customers.acknowledged)
    assert report.checked["I2"]["orders"] == orders >= len(customers.acknowledged)
    stores = replayed(pipeline, "stores", "--check")
    assert (stores["differences"], stores["behind"]) == (0, 0)
    again = replayed(pipeline, "shadow")
    assert (again["different"], again["orders"]) == (0, orders)
    without_the_first(pipeline)


def without_the_first(pipeline: Pipeline) -> None:
    """The first generation's topics are removed: what was before is taken as the second one's rows have it, and still harm is found."""
    assert pipeline.mysql
    client = AdminClient({"bootstrap.servers": pipeline.kafka})
    for future in client.delete_topics([topic.named(pipeline.prefix) for topic in ALL]).values():
        future.result(30)
    until(lambda: ORDERS.named(pipeline.prefix) not in client.list_topics(timeout=20).topics, 30, "the topics are gone")
    everybody_goes_on(pipeline)
    report = audit.run(pipeline.kafka, pipeline.mysql, pipeline.redis, pipeline.prefix)
    assert report.ok, report.text()
    assert "the brokers have deleted the log's beginning" in report.notes[0]
    with connect(pipeline.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET amount = amount + 1 ORDER BY order_id LIMIT 1")
        connection.commit()
    assert set(audit.run(pipeline.kafka, pipeline.mysql, pipeline.redis, pipeline.prefix).kinds()) == {"store_row_differs"}


def everybody_goes_on(pipeline: Pipeline) -> None:
    """Who was subscribed to topics that are gone reads on where there are some, without being started again."""
    assert pipeline.mysql
    there = [child for child in pipeline.children if child.alive()]
    assert {"worker", "sink-mysql", "sink-redis"} <= {child.kind for child in there}
    before = {child.kind: child.log.stat().st_size for child in there}
    time.sleep(3)  # a client asks for a topic some times before it takes it for gone
    with OrderIds(pipeline.mysql) as ids, OrderProducer(pipeline.kafka, topic_prefix=pipeline.prefix) as producer:
        (order_id,) = ids.take(1)
        producer.publish(Order(order_id, "late", [Line("p1", 1, 100)], "GBP", "tok_ok", int(time.time() * 1000))).result(30)
    at_rest(pipeline.kafka, read(pipeline.kafka, pipeline.prefix).prefix)
    with connect(pipeline.mysql) as connection, connection.cursor() as cursor:
        assert cursor.execute("SELECT status FROM orders WHERE order_id = %s", (order_id,)) == 1
    gone = {child.kind: child.log.read_text(errors="replace")[before[child.kind] :] for child in there if not child.alive()}
    assert gone == {}


def replayed(pipeline: Pipeline, *arguments: str) -> dict[str, Any]:
    """The log of all generations taken again."""
    result = CliRunner(env=pipeline.environment()).invoke(main, ["replay", *arguments, "--json"])
    assert result.exit_code == 0, result.output + repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


@pytest.mark.parametrize("steps", [pytest.param(["seeded", "switched"], id="some"), pytest.param(STEPS, id="every", marks=pytest.mark.long)])
def test_a_change_under_load_that_dies_on_its_way_keeps_every_promise(kafka: str, mysql_url: str, redis_url: str, tmp_path: Path, steps: list[str]) -> None:
    with shop(Pipeline, kafka, mysql_url, redis_url, tmp_path) as pipeline:
        change_under_load(pipeline, 6, steps, 60)


@pytest.mark.long
def test_8_to_24_partitions_under_load_with_everybody_there(kafka: str, mysql_url: str, redis_url: str, tmp_path: Path) -> None:
    settings = {"HOLDFAST_PARTITIONS": str(DEFAULT_PARTITIONS), "HOLDFAST_WEBHOOKS_ALLOW_PRIVATE": "true"}
    with shop(Wide, kafka, mysql_url, redis_url, tmp_path, **settings) as pipeline:
        change_under_load(pipeline, 24, [], 300, Everybody)


def test_what_stands_in_the_way_is_said_and_nothing_is_changed(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    prefix = f"{unique_name('moveno')}."
    with running(Pipeline(kafka, prefix, tmp_path_factory.mktemp("moveno"))) as pipeline:
        same = change(pipeline, "--to", str(PARTITIONS))
        assert (same.returncode, same.stderr.splitlines()[-1]) == (1, f"Error: there are {PARTITIONS} partitions already")
        stocked(kafka, prefix, 5)  # no worker reads it
        stuck = change(pipeline, "--to", "6", "--drain", "1")
        assert stuck.returncode == 1, stuck.stderr
        assert "not everything was read within 1 s: {'stock': 12} records are left. The change is cancelled" in stuck.stderr
        assert json.loads(change(pipeline, "--json").stdout) == {"generation": 1, "partitions": PARTITIONS, "topic_prefix": prefix, "changing": None}
        stocked(kafka, prefix, 5)  # the doors are open again

        died = change(pipeline, "--to", "6", dies_at="barrier")
        assert died.returncode == -signal.SIGKILL
        with pytest.raises(MovingError):
            stocked(kafka, prefix, 5)
        other = change(pipeline, "--to", "5")
        assert "a change to 6 partitions is under way: run with --to 6 to go on, or --cancel" in other.stderr
        assert "cancelled: the shop goes on as before" in change(pipeline, "--cancel").stdout
        assert "no change was under way" in change(pipeline, "--cancel").stdout
        stocked(kafka, prefix, 5)


def test_who_does_not_follow_is_refused_by_the_brokers_and_a_second_change_ends_the_first(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    prefix = f"{unique_name('movetwo')}."
    with running(Pipeline(kafka, prefix, tmp_path_factory.mktemp("movetwo"))) as pipeline:
        first = Repartition(kafka, prefix, lambda _what, _rows: None)
        assert json.loads(change(pipeline, "--to", "6", "--json").stdout)["partitions"] == 6
        with pytest.raises(TakenOverError, match="another `holdfast repartition` has taken over"):
            first.run(6)
        assert read(kafka, prefix).number == 2
        refused: list[Any] = []
        stranger = Producer({"bootstrap.servers": kafka})
        line = {"order_id": 1, "line": 1, "line_count": 1, "product_id": "p", "quantity": 1, "unit_price": 1, "currency": "GBP", "user_id": "u"}
        for topic in (ORDERS, STOCK_COMMANDS, ORDER_COMMANDS):
            value = codec.encode("OrderLine", {**line, "payment_token": "t", "placed_at": 1})
            stranger.produce(topic.named(prefix), value, b"p", 0, on_delivery=lambda error, _message: refused.append(error and error.code()))
        stranger.flush(30)
        assert refused == [KafkaError.MSG_SIZE_TOO_LARGE] * 3
