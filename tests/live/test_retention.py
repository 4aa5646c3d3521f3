"""On real servers: finished orders' rows are forgotten, the brokers delete the log's beginning, and the shop goes on; the audit says what it can still say."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Message, TopicPartition
from confluent_kafka.admin import AdminClient

from holdfast import audit
from holdfast.cli import main
from holdfast.log_whole import partitions_of, read_whole, watermarks
from ingest.order_ids import OrderIds
from ingest.producer import OrderProducer
from ingest.requests import Line, Order, OrderCommand, StockCommand
from schemas import codec
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.topics import ALL, DEAD_LETTERS, ORDER_OUTCOMES, ORDER_STATE, PAYMENT_STATE, STOCK_LEVELS, Topic
from sinks.migrate import migrate
from tests.live.test_metrics import figures_of
from tests.support.pipeline import Child, Pipeline, running, until
from tests.support.stack import connect, new_database, new_redis, unique_name

pytestmark = pytest.mark.live
PRODUCTS = 6
UNITS = 200
TIMEOUT_S, RETENTION_S = 4, 10  # an order that is not decided within these is too old
STAGES = [topic for topic in ALL if not topic.compacted and topic is not DEAD_LETTERS]


@pytest.fixture
def shop(kafka: str, mysql_url: str, redis_url: str, tmp_path: Path) -> Iterator[Pipeline]:
    """One that keeps the rows of finished orders for some seconds."""
    times = {"HOLDFAST_ORDER_TIMEOUT": str(TIMEOUT_S), "HOLDFAST_ORDER_RETENTION": str(RETENTION_S)}
    figures = {"HOLDFAST_METRICS_PORT": "0", "HOLDFAST_RUN_DIR": str(tmp_path)}
    with new_database(mysql_url) as database, new_redis(redis_url) as store:
        pipeline = Pipeline(kafka, f"{unique_name('keep')}.", tmp_path, database, store, times | figures)
        with running(pipeline):
            yield pipeline


@pytest.fixture
def brief(kafka: str, tmp_path: Path, module_database: str) -> Iterator[Pipeline]:
    """One without stores, that keeps them for a moment only."""
    migrate(module_database)
    with running(Pipeline(kafka, f"{unique_name('brief')}.", tmp_path, settings={"HOLDFAST_ORDER_TIMEOUT": "2", "HOLDFAST_ORDER_RETENTION": "4"})) as pipeline:
        yield pipeline


class Customer:
    """Places orders of one or two lines, each confirmed, and asks for what becomes of them."""

    def __init__(self, shop: Pipeline, ids: OrderIds, producer: OrderProducer) -> None:
        self.shop, self.ids, self.producer = shop, ids, producer

    def order(self, count: int) -> list[Order]:
        orders = [self.new(order_id) for order_id in self.ids.take(count)]
        self.send(*orders)
        until(lambda: {o.order_id for o in orders} <= decided(self.shop), 60, "orders are decided")
        return orders

    def new(self, order_id: int) -> Order:
        lines = [Line(f"p{(order_id + n) % PRODUCTS}", 1 + n, 100) for n in range(1 + order_id % 2)]
        return Order(order_id, "ann", lines, "GBP", "tok_ok", int(time.time() * 1000))

    def send(self, *orders: Order) -> None:
        for order in orders:
            self.producer.publish(order).result(30)

    def ask(self, kind: OrderCommandKind, order: Order) -> None:
        self.producer.command(OrderCommand(f"{kind.name}-{order.order_id}-{time.time_ns()}", kind, order.order_id)).result(30)


def read(shop: Pipeline, topic: Topic) -> list[dict[str, Any]]:
    """Every record of a topic; those of order.outcomes that say what became of an order have a `change`."""
    return [codec.decode(message.value()).value for message in messages(shop, topic)]


def messages(shop: Pipeline, topic: Topic) -> Iterator[Message]:
    name = topic.named(shop.prefix)
    return read_whole(shop.kafka, [(name, number) for number in range(partitions_of(shop.kafka, [name])[name])])


def decided(shop: Pipeline) -> set[int]:
    return {outcome["order_id"] for outcome in read(shop, ORDER_OUTCOMES)}


def rows(shop: Pipeline, topic: Topic) -> set[int]:
    """The order IDs that a changelog has rows of."""
    last = {message.key(): message.value() for message in messages(shop, topic)}
    return {int(key) for key, value in last.items() if value is not None and key.isdigit()}


def gauge(shop: Pipeline, worker: Child, stage: str) -> float:
    return sum(value for labels, value in figures_of(shop, worker)["holdfast_rows"].items() if ("stage", stage) in labels)


def delete_the_past(shop: Pipeline) -> None:
    """What the brokers do when retention.ms is over: everything that was read is gone, of each topic that is no table."""
    names = partitions_of(shop.kafka, [topic.named(shop.prefix) for topic in STAGES])
    ends = watermarks(shop.kafka, [(name, number) for name, count in names.items() for number in range(count)])
    client = AdminClient({"bootstrap.servers": shop.kafka})
    for future in client.delete_records([TopicPartition(*place, end) for place, end in ends.items() if end]).values():
        future.result(30)


def audited(shop: Pipeline) -> audit.Report:
    return audit.run(shop.kafka, shop.mysql, shop.redis, shop.prefix)


def refusals(shop: Pipeline) -> list[tuple[int, str, str]]:
    """Commands about orders that were refused: order, kind, why."""
    return [(r["order_id"], r["kind"], r["refusal"]) for r in read(shop, ORDER_OUTCOMES) if "refused_at" in r]


def letters(shop: Pipeline) -> list[dict[str, Any]]:
    return read(shop, DEAD_LETTERS)


def levels(shop: Pipeline) -> dict[str, tuple[int, int, int]]:
    """Available, reserved and shipped units of each product."""
    found = sorted(read(shop, STOCK_LEVELS), key=lambda level: level["version"])
    return {level["product_id"]: (level["available"], level["reserved"], level["shipped"]) for level in found}


def soon_confirmed(customer: Customer) -> list[Order]:
    """Two orders that were confirmed; on a busy machine one may be too old before it is looked at, and others are placed."""
    shop = customer.shop
    while True:
        orders = [customer.new(order_id) for order_id in customer.ids.take(2)]
        customer.send(*orders)
        asked = {order.order_id for order in orders}
        until(lambda asked=asked: asked <= decided(shop) | {letter["order_id"] for letter in letters(shop)}, 30, "the orders have answers")
        if asked <= {outcome["order_id"] for outcome in read(shop, ORDER_OUTCOMES) if outcome.get("status") == "CONFIRMED"}:
            return orders


def test_a_finished_order_is_forgotten_and_what_comes_of_it_later_has_its_answer(brief: Pipeline, module_database: str) -> None:
    shop, worker = brief, brief.worker()
    shop.await_open(worker)
    with OrderIds(module_database) as ids, OrderProducer(shop.kafka, topic_prefix=shop.prefix) as producer:
        customer = Customer(shop, ids, producer)
        for number in range(PRODUCTS):
            producer.command(StockCommand(f"opening-{number}", StockCommandKind.RESTOCK, f"p{number}", UNITS)).result(30)
        kept, over = soon_confirmed(customer)
        customer.ask(OrderCommandKind.SHIP, over)
        until(lambda: rows(shop, ORDER_STATE) == {kept.order_id} == rows(shop, PAYMENT_STATE), 30, "the rows of what is over are forgotten", worker)
        before = levels(shop)
        customer.ask(OrderCommandKind.CANCEL, over)
        customer.send(over)
        until(lambda: refusals(shop) and over.order_id in {letter["order_id"] for letter in letters(shop)}, 30, "what came late has its answer", worker)
    assert refusals(shop) == [(over.order_id, "CANCEL", "ORDER_TOO_OLD")]
    assert {letter["reason"] for letter in letters(shop) if letter["order_id"] == over.order_id} == {"ORDER_TOO_OLD"}
    assert levels(shop) == before
    assert rows(shop, ORDER_STATE) == {kept.order_id}


@pytest.mark.long
def test_rows_are_forgotten_the_logs_beginning_is_deleted_and_the_shop_goes_on(shop: Pipeline) -> None:
    assert shop.mysql
    worker, sinks = shop.worker(), shop.sinks()
    shop.await_open(worker)
    with OrderIds(shop.mysql) as ids, OrderProducer(shop.kafka, topic_prefix=shop.prefix) as producer:
        for number in range(PRODUCTS):
            producer.command(StockCommand(f"opening-{number}", StockCommandKind.RESTOCK, f"p{number}", UNITS)).result(30)
        customer = Customer(shop, ids, producer)
        orders = customer.order(40)
        gone, kept = orders[:30], orders[30:]
        for order in gone:
            customer.ask(OrderCommandKind.SHIP, order)

        # What is over is forgotten after its time, what is confirmed and not shipped is not; and it is seen.
        left = {order.order_id for order in kept}
        until(lambda: rows(shop, ORDER_STATE) == left == rows(shop, PAYMENT_STATE), 60, "rows are forgotten", worker)
        until(lambda: (gauge(shop, worker, "orders"), gauge(shop, worker, "payments")) == (len(left), len(left)), 30, "the gauge says so", worker)

        # What comes of such an order later has its answer, and changes nothing.
        shop.drain()
        before = levels(shop)
        customer.ask(OrderCommandKind.CANCEL, gone[0])
        customer.send(gone[1])
        shop.drain()
        assert refusals(shop) == [(gone[0].order_id, "CANCEL", "ORDER_TOO_OLD")]
        assert {(letter["order_id"], letter["reason"]) for letter in letters(shop)} == {(gone[1].order_id, "ORDER_TOO_OLD")}
        assert levels(shop) == before
        assert rows(shop, ORDER_STATE) == left
        whole = audited(shop)
        assert whole.ok, whole.text()
        assert whole.notes == []

        # The log's beginning goes, and with it every process; rows carry the state.
        delete_the_past(shop)
        for child in (worker, *sinks):
            child.kill()
        second = shop.worker()
        shop.sinks()
        shop.await_open(second)
        new = customer.order(30)
        for order in (*kept[:5], *new[:10]):
            customer.ask(OrderCommandKind.SHIP, order)
        customer.ask(OrderCommandKind.CANCEL, gone[2])
        shop.drain()
        assert {order.order_id for order in (*kept[5:], *new[10:])} <= rows(shop, ORDER_STATE)
    check_what_is_left(shop, kept[6].order_id)


def check_what_is_left(shop: Pipeline, old: int) -> None:
    assert shop.mysql
    report = audited(shop)
    assert report.ok, report.text()
    assert "the brokers have deleted the log's beginning" in report.notes[0]
    assert report.checked["I2"]["older_orders"] >= 5
    environment = shop.environment()
    stores = CliRunner(env=environment).invoke(main, ["replay", "stores", "--check"])
    assert stores.exit_code == 0, stores.output
    assert "rows were not compared: the log's beginning, on which they hang, was deleted" in stores.output
    for command, said in ((["replay", "shadow"], "its beginning was deleted"), (["reconcile"], "the log's beginning was deleted")):
        refused = CliRunner(env=environment).invoke(main, command)
        assert refused.exit_code, refused.output
        assert said in refused.output
    with connect(shop.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET amount = amount + 1 WHERE order_id = %s", (old,))
        cursor.execute("UPDATE products SET available = available + 1 WHERE product_id = 'p1'")
        connection.commit()
    found = audited(shop)
    assert {(v.kind, *v.ids.values()) for v in found.violations} == {("store_row_differs", old), ("store_row_differs", "p1")}
