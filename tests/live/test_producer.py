"""The producer client on a real broker: what it publishes is what consumers read, and failures reach the caller."""

import pytest

from holdfast import topics
from ingest.errors import BrokerUnavailableError, InvalidRequestError, PublishError, RecordTooLargeError, TopicMissingError
from ingest.producer import Ack, OrderProducer
from ingest.requests import Line, Order, OrderCommand, StockCommand
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS
from tests.support.read_topics import headers_of, lines_of, read_all

BY_ANYBODY = (OrderCommandKind.CANCEL, OrderCommandKind.SHIP, OrderCommandKind.RETURN)
pytestmark = pytest.mark.live

PARTITIONS = 8


@pytest.fixture
def prefix(kafka: str, topic_prefix: str) -> str:
    topics.create(kafka, topic_prefix, PARTITIONS)
    return topic_prefix


def order(order_id: int, lines: int = 3) -> Order:
    return Order(order_id, f"user-{order_id}", [Line(f"sku-{order_id}-{n}", n + 1, 100 + n) for n in range(lines)], "GBP", "tok_ok", 1_700_000_000_000)


@pytest.mark.parametrize("columnar", [False, True])
def test_every_line_is_on_its_products_partition_when_the_ack_is_there(kafka: str, prefix: str, columnar: bool) -> None:
    orders = [order(n, 1 + n % 5) for n in range(1, 200)]
    with OrderProducer(kafka, topic_prefix=prefix, columnar=columnar) as producer:
        acks = [future.result(30) for future in [producer.publish(o) for o in orders]]
    found = lines_of(kafka, prefix)
    expected = [
        (product_partition(line.product_id, PARTITIONS), (o.order_id, n, len(o.lines), line.product_id, line.quantity, line.unit_price, "GBP", o.user_id))
        for o in orders
        for n, line in enumerate(o.lines, 1)
    ]
    names = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id")
    assert sorted((p, tuple(fields[n] for n in names)) for p, fields in found) == sorted(expected)
    assert all(ack.records and {r[0] for r in ack.records} == {ORDERS.named(prefix)} for ack in acks)


def test_single_records_carry_the_product_as_key(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        producer.publish(order(1)).result(30)
    assert {(key, record.name) for _, key, record in read_all(kafka, ORDERS.named(prefix))} == {(f"sku-1-{n}".encode(), "OrderLine") for n in range(3)}


@pytest.mark.parametrize("columnar", [False, True])
def test_the_callers_trace_goes_along(kafka: str, prefix: str, columnar: bool) -> None:
    traces = [f"00-{'1' * 32}-{'2' * 15}{number}-01" for number in range(2)]
    with OrderProducer(kafka, topic_prefix=prefix, columnar=columnar, linger_ms=10_000) as producer:
        sent = [producer.publish(order(1, 1), traces[0]), producer.publish(order(1, 1), traces[1]), producer.publish(order(1, 1))]
        sent.append(producer.command(StockCommand("c1", StockCommandKind.RESTOCK, "sku-1", 1), traces[0], "rojo=1"))
    assert all(each.done() for each in sent)
    headers = headers_of(kafka, ORDERS.named(prefix), None if columnar else b"sku-1-0")
    assert headers == ([{"traceparent": traces[1].encode()}] if columnar else [*({"traceparent": each.encode()} for each in traces), {}])
    assert headers_of(kafka, STOCK_COMMANDS.named(prefix), b"sku-1") == [{"traceparent": traces[0].encode(), "tracestate": b"rojo=1"}]


def test_columns_are_sent_without_a_flush(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix, columnar=True, linger_ms=50) as producer:
        assert producer.publish(order(1)).result(30).records


def test_commands(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        futures = [producer.command(StockCommand(f"c-{kind.name}", kind, "sku", 5, issued_at=9, actor="me")) for kind in list(StockCommandKind)[:8]]
        futures += [producer.command(OrderCommand(f"c-{kind.name}", kind, 77, 1, 2)) for kind in BY_ANYBODY]
        futures.append(producer.command(StockCommand("plain", 0, "sku", 5)))  # type: ignore[arg-type]
        assert all(isinstance(f.result(30), Ack) for f in futures)
    stock = list(read_all(kafka, STOCK_COMMANDS.named(prefix)))
    assert [(p, k, r.value["kind"]) for p, k, r in stock][:8] == [(product_partition("sku", 8), b"sku", kind.name) for kind in list(StockCommandKind)[:8]]
    assert stock[0][2].value == {
        **{"command_id": "c-RESTOCK", "kind": "RESTOCK", "product_id": "sku", "quantity": 5, "as_of": 0},
        **{"issued_at": 9, "actor": "me", "note": ""},
    }
    commands = list(read_all(kafka, ORDER_COMMANDS.named(prefix)))
    assert [(p, k, r.value["kind"], r.value["line"]) for p, k, r in commands] == [(order_partition(77, 8), b"77", kind.name, 1) for kind in BY_ANYBODY]
    assert commands[0][2].value["issued_at"] > 1_700_000_000_000


def test_an_invalid_order_sends_nothing(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        for wrong in (Order(1, "u", [Line("a", 1, 1), Line("b", 0, 1)], "GBP", "t", 0), Order(1, "u" * 10_000_000, [Line("a", 1, 1)], "GBP", "t", 0)):
            with pytest.raises(InvalidRequestError):
                producer.publish(wrong)
    assert lines_of(kafka, prefix) == []


def test_a_record_of_10_mb_is_refused_and_the_next_one_is_sent(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        with pytest.raises(RecordTooLargeError, match=r"10,000,0\d\d bytes for topic .*stock.commands, which takes 4,194,304"):
            producer.command(StockCommand("big", StockCommandKind.RESTOCK, "sku", 5, note="x" * 10_000_000))
        producer.command(StockCommand("small", StockCommandKind.RESTOCK, "sku", 5)).result(30)
    assert [r.value["command_id"] for _, _, r in read_all(kafka, STOCK_COMMANDS.named(prefix))] == ["small"]


def test_a_topic_that_does_not_exist_is_named(kafka: str, topic_prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=topic_prefix) as producer, pytest.raises(TopicMissingError, match=f"{topic_prefix}orders .*holdfast topics create"):
        producer.publish(order(1))


def test_a_broker_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.log_writer.METADATA_TIMEOUT_S", 0.5)
    with OrderProducer("127.0.0.1:1") as producer, pytest.raises(BrokerUnavailableError, match=r"no broker answers at 127\.0\.0\.1:1"):
        producer.publish(order(1))


def test_a_record_that_is_not_acknowledged_fails_its_future(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix, ack_timeout_s=2.0) as producer:
        producer.publish(order(1)).result(30)
        admin = topics.admin(kafka)
        admin.delete_topics([ORDERS.named(prefix)])[ORDERS.named(prefix)].result()
        lost = producer.publish(order(2))
        with pytest.raises(PublishError, match="publish it again under the same ID"):
            lost.result(60)


def test_a_closed_producer_publishes_nothing(kafka: str, prefix: str) -> None:
    with OrderProducer(kafka, topic_prefix=prefix) as producer:
        future = producer.publish(order(1))
    assert future.done()
    with pytest.raises(PublishError, match="closed"):
        producer.publish(order(2))
