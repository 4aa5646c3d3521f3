"""Dead letters corrected and sent again: once each, however often the command dies on the way."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from holdfast import audit
from holdfast.letters.book import OPEN, Choice, Letter, LetterId
from holdfast.letters.desk import HEADER, Desk, Mark, read_book
from holdfast.letters.errors import LetterError
from holdfast.letters.mending import Correction
from holdfast.letters.plan import Wish, plan
from schemas import codec
from schemas.partitions import product_partition
from schemas.topics import DEAD_LETTERS, ORDERS
from tests.support.pipeline import PARTITIONS, Load, Pipeline, outcomes, running
from tests.support.stack import unique_name

pytestmark = pytest.mark.live
BASE = 9_000_000_000
AT_ONCE = 10
EARLIEST = 1_600_000_000_000
DYING = """
import os
import sys
from confluent_kafka import Producer
from holdfast.cli import main
from holdfast.letters import desk

left, after = int(sys.argv[1]), sys.argv[2] == "after"

class Dying(Producer):
    def commit_transaction(self, *wait):
        global left
        left -= 1
        if not left and not after:
            os._exit(9)
        super().commit_transaction(*wait)
        if not left:
            os._exit(9)

desk.LETTERS_AT_ONCE, desk.Producer = {at_once}, Dying
main(sys.argv[3:])
"""


@pytest.fixture(scope="module")
def pipeline(kafka: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    prefix = f"{unique_name('dead')}."
    with running(Pipeline(kafka, prefix, tmp_path_factory.mktemp("dead"))) as started:
        Load(kafka, prefix, seed=1).restock(100_000)
        started.await_open(started.worker())
        started.drain()  # an order read before the restock would be refused: the topics have no order between them
        yield started


def give_up(pipeline: Pipeline, first: int, count: int) -> str:
    """Send lines as JSON, of no units: nothing can be taken of them, each is a dead letter. Returns since when (ms): what was there before died earlier."""
    since = 1 + max(
        (letter.fields["died_at"] for letter in read_book(pipeline.kafka, (pipeline.prefix,))), default=EARLIEST
    )  # by the stages' clock, which is the brokers'
    producer = Producer({"bootstrap.servers": pipeline.kafka})
    common = {"line": 1, "line_count": 1, "quantity": 0, "unit_price": 100, "currency": "GBP", "user_id": "u1", "payment_token": "tok_ok", "placed_at": 1}
    for order_id in range(first, first + count):
        product = f"p{order_id % 40}"
        value = json.dumps({**common, "order_id": order_id, "product_id": product}).encode()
        producer.produce(ORDERS.named(pipeline.prefix), value, product.encode(), product_partition(product, PARTITIONS))
        producer.poll(0)
    assert producer.flush(60) == 0
    pipeline.drain()
    return str(since)


def open_letters(pipeline: Pipeline, since: str) -> list[Letter]:
    return [letter for letter in read_book(pipeline.kafka, (pipeline.prefix,)) if Choice(since=int(since), state=OPEN).holds(letter)]


def command(pipeline: Pipeline, *words: str, dying: tuple[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    how = ["-c", DYING.replace("{at_once}", str(AT_ONCE)), *dying] if dying else ["-m", "holdfast"]
    return subprocess.run([sys.executable, *how, *words], env=pipeline.environment(), capture_output=True, text=True, timeout=300, check=False)


def redriven(pipeline: Pipeline) -> list[tuple[bytes, dict[str, Any], tuple[int, int]]]:
    """Return the order lines that were sent again: their letter, the line, partition and offset."""
    consumer = Consumer({"bootstrap.servers": pipeline.kafka, "group.id": "unused", "isolation.level": "read_committed", "enable.partition.eof": True})
    consumer.assign([TopicPartition(ORDERS.named(pipeline.prefix), p, 0) for p in range(PARTITIONS)])
    found, ends = [], 0
    while ends < PARTITIONS:
        for message in consumer.consume(1000, 1.0):
            if message.error():
                ends += 1
            elif message.headers():
                found.append((dict(message.headers())[HEADER], codec.decode(message.value()).value, (message.partition(), message.offset())))
    consumer.close()
    return found


@pytest.mark.parametrize("count", [45, pytest.param(1_000, marks=pytest.mark.long)])
def test_killed_and_repeated_each_is_sent_once(pipeline: Pipeline, count: int) -> None:
    first = BASE + count * 1_000
    since = give_up(pipeline, first, count)
    chosen = ("dead-letters", "redrive", "--since", since, "--set", "quantity=1", "--actor", "ann", "--json")
    before = len(redriven(pipeline))
    for dying in (("2", "before"), ("2", "after"), ("1", "before")):
        assert command(pipeline, *chosen, dying=dying).returncode == 9
    assert len(redriven(pipeline)) - before == 3 * AT_ONCE
    done = command(pipeline, *chosen)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["redriven"] == count - 3 * AT_ONCE
    assert json.loads(command(pipeline, *chosen).stdout)["chosen"] == 0
    _check(pipeline, range(first, first + count))


def _check(pipeline: Pipeline, order_ids: range) -> None:
    """Every order is there once, confirmed once; every mark names where its line stands; no promise is broken."""
    sent = [(origin, line, place) for origin, line, place in redriven(pipeline) if line["order_id"] in order_ids]
    assert Counter(line["order_id"] for _, line, _ in sent) == Counter(order_ids)
    marks = {letter.id: letter.settled for letter in read_book(pipeline.kafka, (pipeline.prefix,))}
    for origin, line, place in sent:
        _, partition, offset = origin.decode().split("/")
        settled = marks[LetterId(int(partition), int(offset))]
        assert settled is not None
        assert settled["actor"] == "ann"
        assert [(s["partition"], s["offset"], s["order_id"]) for s in settled["sent"]] == [(*place, line["order_id"])]
    pipeline.drain()
    decided = [o for o in outcomes(pipeline) if o.get("change") == "DECIDED" and o["order_id"] in order_ids]
    assert Counter((o["order_id"], o["status"]) for o in decided) == Counter((order_id, "CONFIRMED") for order_id in order_ids)
    report = audit.run(kafka=pipeline.kafka, prefix=pipeline.prefix)
    assert report.ok, report.text()


def test_of_two_at_once_the_earlier_is_fenced(pipeline: Pipeline) -> None:
    since = give_up(pipeline, BASE + 100, 3)
    with Desk(pipeline.kafka, pipeline.prefix) as earlier, Desk(pipeline.kafka, pipeline.prefix) as later:
        made = plan(open_letters(pipeline, since), Wish(common=Correction(fields=(("quantity", 1),))), lambda _: [])
        with pytest.raises(LetterError, match="another redrive or discard has begun"):
            list(earlier.redrive(made.groups, Mark("ann")))
        (sent,) = later.redrive(made.groups, Mark("ann"))
    assert len(sent) == 3
    assert Counter(line["order_id"] for _, line, _ in redriven(pipeline) if line["order_id"] in range(BASE + 100, BASE + 103)).total() == 3


@pytest.mark.parametrize("at", ["the first record", "the commit"])
def test_a_discard_is_fenced_as_well_wherever_it_is(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, at: str) -> None:
    since = give_up(pipeline, BASE + (500 if at == "the commit" else 600), 1)
    with Desk(pipeline.kafka, pipeline.prefix) as earlier:
        first, begin = open_letters(pipeline, since), partial(Desk, pipeline.kafka, pipeline.prefix)
        if at == "the commit":
            mark = earlier._mark
            monkeypatch.setattr(earlier, "_mark", lambda *what: (mark(*what), time.sleep(1.0), begin().close()))
        else:
            begin().close()
        with pytest.raises(LetterError, match="another redrive or discard has begun"):
            list(earlier.discard(first, Mark("ann", "a trial")))
    assert [letter.id for letter in open_letters(pipeline, since)] == [letter.id for letter in first]


def test_a_mark_behind_somebody_s_open_transaction_is_not_overlooked(pipeline: Pipeline) -> None:
    (letter,) = open_letters(pipeline, give_up(pipeline, BASE + 200, 1))
    other = Producer({"bootstrap.servers": pipeline.kafka, "transactional.id": unique_name("other"), "transaction.timeout.ms": 10_000})
    other.init_transactions(30)
    other.begin_transaction()
    other.produce(DEAD_LETTERS.named(pipeline.prefix), b"garbage", None, letter.id.partition)
    other.flush(30)
    with Desk(pipeline.kafka, pipeline.prefix) as desk:
        assert list(desk.discard([letter], Mark("ann", "a trial"))) == [1]
    threading.Timer(2.0, other.commit_transaction).start()
    found = read_book(pipeline.kafka, (pipeline.prefix,)).find(letter.id)
    assert found is not None
    assert found.state == "DISCARDED"


def test_looking_and_discarding_by_command(pipeline: Pipeline) -> None:
    since = give_up(pipeline, BASE + 300, 2)
    listed = json.loads(command(pipeline, "dead-letters", "list", "--reason", "NOT_CONFLUENT", "--since", since, "--json").stdout)
    assert (listed["count"], listed["reasons"]) == (2, {"NOT_CONFLUENT": 2})
    first, second = (letter["id"] for letter in listed["letters"])
    shown = json.loads(command(pipeline, "dead-letters", "show", first, "--json").stdout)["letters"][0]
    assert (shown["record"], shown["items"][0]["quantity"], shown["state"]) == ("OrderLine", 0, "OPEN")
    assert "quantity = 0" in command(pipeline, "dead-letters", "show", first).stdout
    dry = command(pipeline, "dead-letters", "redrive", first, "--json", "--dry-run")
    assert (dry.returncode, json.loads(dry.stdout)["refused"][0]["why"]) == (1, "it would die again: INVALID_QUANTITY (correct it with --set)")
    assert "which letters?" in command(pipeline, "dead-letters", "redrive").stderr
    assert "there is no dead letter 0-999999" in command(pipeline, "dead-letters", "show", "0-999999").stderr
    note = ("--note", "a trial", "--json")
    assert json.loads(command(pipeline, "dead-letters", "discard", first, second, *note).stdout)["discarded"] == 2
    assert json.loads(command(pipeline, "dead-letters", "list", "--since", since, "--json").stdout)["count"] == 0
    assert json.loads(command(pipeline, "dead-letters", "discard", first, *note).stdout)["discarded"] == 0


def test_what_was_sent_again_is_in_the_histories(pipeline: Pipeline) -> None:
    order_id = BASE + 400
    product = f"p{order_id % 40}"
    since = give_up(pipeline, order_id, 1)
    assert command(pipeline, "dead-letters", "redrive", "--all", "--since", since, "--set", "quantity=2").returncode == 0
    pipeline.drain()
    said = json.loads(command(pipeline, "history", "order", str(order_id), "--json").stdout)
    assert said["outcome"]["what"] == "DECIDED: CONFIRMED"
    held = next(event for event in said["events"] if event["what"] == "line held")
    found = json.loads(command(pipeline, "history", "product", product, "--json").stdout)
    last = found["movements"][-1]
    assert (last["what"], last["quantity"], last["order_id"], last["version"]) == ("HOLD", 2, str(order_id), held["detail"]["version"])
    before = json.loads(command(pipeline, "history", "stock", product, "--at", str(last["at"] - 1), "--json").stdout)["products"][product]
    assert (before["available"] - 2, before["reserved"] + 2) == (found["stock"]["available"], found["stock"]["reserved"])
    assert "HOLD" in command(pipeline, "history", "product", product).stdout
    assert "nothing of product" in command(pipeline, "history", "product", "nobody").stderr
