"""Bad input on the real topics: each piece ends as a refusal or a dead letter with a reason, and its neighbours are unharmed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException, Producer

from holdfast import audit
from schemas import codec
from schemas.partitions import product_partition
from schemas.topics import DEAD_LETTERS, ORDERS
from tests.support.pipeline import PARTITIONS, Load, Pipeline, outcomes, running, values

pytestmark = pytest.mark.live
PRODUCT = "p0"
BASE = 7_000_000_000
CONTESTED = BASE + 5_000


@pytest.fixture(scope="module")
def pipeline(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    prefix = f"bad{time.time_ns()}."
    with running(Pipeline(kafka, prefix, tmp_path_factory.mktemp("bad"), settings={"HOLDFAST_ORDER_TIMEOUT": "5"})) as started:
        Load(kafka, prefix, seed=1).restock(100_000)
        started.await_open(started.worker())
        started.drain()  # an order read before the restock would be refused: the topics have no order between them
        yield started


def line(order_id: int, **changes: Any) -> bytes:
    common = {"line": 1, "line_count": 1, "product_id": PRODUCT, "quantity": 1, "unit_price": 100, "currency": "GBP", "user_id": "u1"}
    return codec.encode("OrderLine", {**common, "order_id": order_id, "payment_token": "tok_ok", "placed_at": 1_700_000_000_000, **changes})


BAD = {
    "garbage bytes": (b"\x07garbage", "NOT_CONFLUENT"),
    "a schema ID nobody knows": (b"\x00\x00\x01\x86\x9f" + b"x" * 20, "UNKNOWN_SCHEMA"),
    "half a record": (line(BASE + 1)[:-6], "UNDECODABLE"),
    "a record of another topic": (codec.encode("OrderCommand", {"command_id": "c", "kind": "SHIP", "order_id": 1, "issued_at": 0}), "WRONG_RECORD"),
    "a quantity of nothing": (line(BASE + 2, quantity=0), "INVALID_QUANTITY"),
    "a negative quantity": (line(BASE + 3, quantity=-5), "INVALID_QUANTITY"),
    "a line beyond line_count": (line(BASE + 4, line=3, line_count=2), "INVALID_LINE"),
    "an unknown currency": (line(BASE + 5, currency="ZZZ"), "UNKNOWN_CURRENCY"),
    "no user": (line(BASE + 6, user_id=""), "INVALID_USER"),
    "a negative price": (line(BASE + 7, unit_price=-1), "INVALID_PRICE"),
}
NAMED = {"INVALID_QUANTITY", "INVALID_LINE", "UNKNOWN_CURRENCY", "INVALID_USER", "INVALID_PRICE"}


def send(pipeline: Pipeline, *records: bytes) -> None:
    producer = Producer({"bootstrap.servers": pipeline.kafka})
    for value in records:
        producer.produce(ORDERS.named(pipeline.prefix), value, PRODUCT.encode(), product_partition(PRODUCT, PARTITIONS))
    assert producer.flush(30) == 0


def neighbours(what: str) -> tuple[int, int]:
    """The orders just before and just after a piece of bad input, on the same partition."""
    before = BASE + 1_000 + 10 * list(BAD).index(what)
    return before, before + 1


class Seen:
    """What the pipeline made of it all: the dead letters, and (status, refusal) of every decided order."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.letters = [codec.decode(value).value for value in values(pipeline, DEAD_LETTERS)]
        self.decisions = {o["order_id"]: (o["status"], o["refusal"]) for o in outcomes(pipeline) if o.get("change") == "DECIDED"}


@pytest.fixture(scope="module")
def seen(pipeline: Pipeline) -> Seen:
    for what, (value, _) in BAD.items():
        before, after = neighbours(what)
        send(pipeline, line(before), value, line(after))
    send(pipeline, line(CONTESTED), line(CONTESTED, quantity=7, user_id="somebody else"))
    pipeline.drain()
    return Seen(pipeline)


@pytest.mark.parametrize("what", BAD)
def test_bad_input_has_its_answer_and_its_neighbours_are_unharmed(seen: Seen, what: str) -> None:
    value, reason = BAD[what]
    mine = [letter for letter in seen.letters if letter["value"] == value]
    assert [(letter["reason"], letter["topic"], bool(letter["detail"])) for letter in mine] == [(reason, ORDERS.name, True)]
    assert [seen.decisions[order_id] for order_id in neighbours(what)] == [("CONFIRMED", "")] * 2
    if reason in NAMED:
        assert seen.decisions[codec.decode(value).value["order_id"]] == ("REJECTED", reason)


def test_two_different_orders_under_one_id(seen: Seen) -> None:
    assert [letter["reason"] for letter in seen.letters if letter["order_id"] == CONTESTED] == ["CONFLICTING_ORDER"]
    assert seen.decisions[CONTESTED] == ("CONFIRMED", "")


def test_a_record_of_ten_megabytes_is_refused_to_its_producer(pipeline: Pipeline) -> None:
    """The brokers take no record so large, and the producer hears of it."""
    errors: list[KafkaError] = []
    producer = Producer({"bootstrap.servers": pipeline.kafka, "message.max.bytes": 20_000_000})
    try:
        producer.produce(ORDERS.named(pipeline.prefix), b"\0" * 10_000_000, on_delivery=lambda error, _: errors.append(error))
        producer.flush(30)
    except KafkaException as error:
        errors.append(error.args[0])
    assert [error.code() for error in errors] == [KafkaError.MSG_SIZE_TOO_LARGE]


@pytest.mark.usefixtures("seen")
def test_the_audit_of_all_this_is_clean(pipeline: Pipeline) -> None:
    report = audit.run(kafka=pipeline.kafka, prefix=pipeline.prefix)
    assert report.ok, report.text()
    assert report.checked["I5"]["dead_letters"] >= len(BAD)
