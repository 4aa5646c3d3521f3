"""How far readers are behind, on a real Kafka: transaction markers, open and aborted transactions included."""

from collections.abc import Iterator
from contextlib import closing

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from holdfast import topics
from holdfast.lag import End, Lag, LagError, LagMeter, Look, Place, Reader
from schemas.topics import ORDERS, STOCK_COMMANDS

STOCK = Reader("stock", "holdfast", (ORDERS, STOCK_COMMANDS))


@pytest.fixture
def prefix(kafka: str, topic_prefix: str) -> str:
    topics.create(kafka, topic_prefix, 2)
    return topic_prefix


@pytest.fixture
def meter(kafka: str, prefix: str) -> Iterator[LagMeter]:
    with closing(LagMeter(kafka, prefix, [STOCK])) as meter:
        yield meter


def settled(meter: LagMeter) -> Look:
    """The second look at an unchanged pipeline: the first may take a marker for a record."""
    meter.look()
    return meter.look()


def transactional(kafka: str, prefix: str) -> Producer:
    producer = Producer({"bootstrap.servers": kafka, "transactional.id": f"{prefix}test", "transaction.timeout.ms": 10_000})
    producer.init_transactions(30)
    return producer


def write(producer: Producer, topic: str, records: int, partition: int = 0) -> None:
    for number in range(records):
        producer.produce(topic, b"%d" % number, partition=partition)
    producer.flush(30)


def commit(kafka: str, prefix: str, topic: str, offset: int, partition: int = 0) -> None:
    consumer = Consumer({"bootstrap.servers": kafka, "group.id": f"{prefix}holdfast"})
    consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
    consumer.close()


def by_topic(look: Look) -> dict[str, int]:
    return {lag.topic: lag.records for lag in look.lags}


def test_empty_topics_are_no_lag(meter: LagMeter) -> None:
    look = meter.look()
    assert look.lags == (Lag("stock", "orders", 0, ()), Lag("stock", "stock.commands", 0, ()))
    assert look.is_idle


def test_what_nobody_has_read_is_lag_from_the_beginning(kafka: str, prefix: str, meter: LagMeter) -> None:
    producer = Producer({"bootstrap.servers": kafka})
    write(producer, f"{prefix}orders", 5, partition=1)
    assert settled(meter).lags[0] == Lag("stock", "orders", 5, (1,))
    commit(kafka, prefix, f"{prefix}orders", 3, partition=1)
    assert settled(meter).lags[0] == Lag("stock", "orders", 2, (1,))
    commit(kafka, prefix, f"{prefix}orders", 5, partition=1)
    assert settled(meter).lags[0] == Lag("stock", "orders", 0, ())


def test_a_marker_behind_the_last_record_is_no_lag(kafka: str, prefix: str, meter: LagMeter) -> None:
    producer, topic = transactional(kafka, prefix), f"{prefix}orders"
    for _ in range(3):
        producer.begin_transaction()
        write(producer, topic, 2)
        producer.commit_transaction(30)
    assert meter.look().ends[Place(topic, 0)] == End(9, 9)
    commit(kafka, prefix, topic, 8)
    assert settled(meter).is_idle
    commit(kafka, prefix, topic, 7)
    assert by_topic(settled(meter))["orders"] == 1


def test_aborted_records_are_no_lag(kafka: str, prefix: str, meter: LagMeter) -> None:
    producer, topic = transactional(kafka, prefix), f"{prefix}orders"
    producer.begin_transaction()
    write(producer, topic, 20)
    producer.abort_transaction(30)
    look = settled(meter)
    assert look.ends[Place(topic, 0)].written == 21
    assert look.is_idle


def test_an_open_transaction_is_in_flight_though_nobody_can_read_it(kafka: str, prefix: str, meter: LagMeter) -> None:
    producer, topic = transactional(kafka, prefix), f"{prefix}orders"
    producer.begin_transaction()
    write(producer, topic, 3)
    look = settled(meter)
    assert look.records == 0
    assert look.in_flight
    assert not look.is_idle
    producer.commit_transaction(30)
    assert not settled(meter).in_flight


def test_a_missing_topic_is_an_error_that_says_what_to_do(kafka: str, topic_prefix: str) -> None:
    with closing(LagMeter(kafka, topic_prefix, [STOCK])) as meter, pytest.raises(LagError, match=r"does not exist: run `holdfast topics create`"):
        meter.look()


def test_quiet_needs_two_looks_at_the_same_ends() -> None:
    def look(end: int, records: int = 0, written: int | None = None) -> Look:
        ends = {Place("orders", 0): End(end, end if written is None else written)}
        return Look((Lag("stock", "orders", records, ()),), ends, {})

    assert look(5).is_quiet_after(look(5))
    assert not look(5).is_quiet_after(None)
    assert not look(5).is_quiet_after(look(4))
    assert not look(5).is_quiet_after(look(5, records=1))
    assert not look(5, records=1).is_quiet_after(look(5))
    assert not look(5, written=6).is_quiet_after(look(5))
    assert not look(5).is_quiet_after(look(5, written=6))
