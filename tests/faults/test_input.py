"""Bad, odd and too much input into a running shop: all of it has its answer or its dead letter, and the audit stays clean."""

from __future__ import annotations

import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from random import Random
from typing import Any

import pytest

from holdfast import audit
from holdfast.stack.addresses import Endpoints
from holdfast.stack.home import Home
from schemas import codec
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES, ORDERS, STOCK_LEVELS
from tests.faults.dying_producer import ORDERS_BEGUN
from tests.faults.kinds import input as kinds
from tests.faults.poison import TOPICS, poisons
from tests.faults.rough import RoughProducer, Shop
from tests.faults.site import Site
from tests.support.pipeline import PARTITIONS, Load, Pipeline, running, values
from tests.support.stack import new_database, new_redis, unique_name

ORDER_TIMEOUT = 6
DECLINED = "0.05"
SEEDS = {"producer killed in an order": 11, "transaction left open": 12, "transaction aborted": 13}
OUT = (ORDER_OUTCOMES, STOCK_LEVELS)
pytestmark = [pytest.mark.faults, pytest.mark.live]


@dataclass
class Struck:
    """A pipeline that has been through every kind of input and come to rest."""

    pipeline: Pipeline
    poured: RoughProducer

    def letters(self) -> Counter[tuple[str, int, int, bytes]]:
        """Return how many dead letters there are about each record: topic, partition, offset, the bytes it carries."""
        return Counter(
            (letter["topic"].removeprefix(self.pipeline.prefix), letter["partition"], letter["offset"], letter["value"])
            for value in values(self.pipeline, DEAD_LETTERS)
            if (letter := _letter(value)) is not None and letter["index"] in (-1, 0)
        )

    def statuses(self, order_ids: set[int]) -> dict[int, str]:
        """Return the status of each of these orders at its decision."""
        return {o["order_id"]: o["status"] for o in outcomes_of(self.pipeline) if o["order_id"] in order_ids and o.get("change") == "DECIDED"}


def _letter(value: bytes | None) -> dict[str, Any] | None:
    try:
        decoded = codec.decode(value)
    except codec.UndecodableError:
        return None
    return decoded.value if decoded.name == "DeadLetter" else None


def outcomes_of(pipeline: Pipeline) -> list[dict[str, Any]]:
    """Return every outcome there is; what was poured among them is left out."""
    found = []
    for value in values(pipeline, ORDER_OUTCOMES):
        try:
            decoded = codec.decode(value)
        except codec.UndecodableError:
            continue
        found += [decoded.value] if decoded.name == "OrderOutcome" else []
    return found


def rest(pipeline: Pipeline) -> None:
    """Wait until everything is decided, also what decides itself at its deadline."""
    for pause in (ORDER_TIMEOUT + 1, 0):
        pipeline.drain(300)
        time.sleep(pause)


@pytest.fixture(scope="module")
def struck(kafka: str, mysql_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Struck]:
    folder = tmp_path_factory.mktemp("input")
    settings = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_SANDBOX_DECLINE_RATE": DECLINED}
    with new_database(mysql_url) as database, new_redis(redis_url) as cache, pytest.MonkeyPatch.context() as patch:
        patch.setattr(kinds, "BURST", 3_000)
        with running(Pipeline(kafka, f"{unique_name('input')}.", folder, database, cache, settings)) as pipeline:
            pipeline.sinks()
            pipeline.await_open(pipeline.worker())
            site = Site(Home.from_environment(), Endpoints(kafka, database, cache), folder, PARTITIONS, pipeline.prefix, settings)
            yield _strike(pipeline, site)


def _strike(pipeline: Pipeline, site: Site) -> Struck:
    load = Load(pipeline.kafka, pipeline.prefix, seed=1)
    load.restock()
    poured, shop = kinds.opened(site, Random(2), units=2_000)
    with load.flowing(40):
        heals = [fault.strike(site, Random(SEEDS.get(fault.name, n))) for n, fault in enumerate(kinds.FAULTS, 100) if fault.name != "poison"]
        kinds.pour(poured, shop)
    rest(pipeline)
    for heal in filter(None, heals):
        heal()
    rest(pipeline)
    return Struck(pipeline, poured)


def test_every_process_goes_on_and_the_audit_is_clean(struck: Struck) -> None:
    p = struck.pipeline
    assert all(child.alive() for child in p.children), p.last_words()
    report = audit.run(kafka=p.kafka, mysql_url=p.mysql, redis_url=p.redis, prefix=p.prefix)
    assert report.ok, f"{report.text()}\n{p.last_words()}"


def test_every_piece_of_poison_has_its_dead_letter_with_the_bytes_as_they_were(struck: Struck) -> None:
    """One from its stage; one from each sink, for the topics that they read. What a broker refused is nowhere."""
    bad = {poison.value for poison in poisons(Random(0)) if poison.reason} - {None}
    letters = struck.letters()
    sent = [record for record in struck.poured.sent if record.topic != DEAD_LETTERS.name and _is_poison(record.value)]
    assert len(sent) > len(bad) / 2
    kept = 4 * 1024 * 1024
    for record in sent:
        wanted = len(OUT) if record.topic in {topic.name for topic in OUT} else 1
        found = letters[record.topic, record.partition, record.offset, (record.value or b"")[:kept]]
        assert found == wanted, f"{record.topic} {record.partition} {record.offset}: {found} letters\n{(record.value or b'')[:100]!r}"
    assert {record.topic for record in sent} == {topic.name for topic in TOPICS} - {DEAD_LETTERS.name}


def _is_poison(value: bytes | None) -> bool:
    """Return whether nobody can decode this: the rest of what was poured is decided by what it says."""
    try:
        codec.decode(value)
    except codec.UndecodableError:
        return True
    return False


def _first_orders(name: str) -> set[int]:
    """Return the IDs of the orders a dying producer began."""
    seed = Random(SEEDS[name]).randrange(10**9)
    return set(itertools.islice(Shop(Random(seed)).order_ids, ORDERS_BEGUN))


def test_orders_whose_producer_died_between_their_lines_are_decided_at_their_deadline(struck: Struck) -> None:
    """One whose line came before its product's stock is rejected; the audit has found that none of them holds anything."""
    begun = _first_orders("producer killed in an order")
    decided = struck.statuses(begun)
    assert decided.keys() == begun
    assert set(decided.values()) <= {"EXPIRED", "REJECTED"}


@pytest.mark.parametrize("name", ["transaction left open", "transaction aborted"])
def test_lines_of_a_transaction_that_was_never_committed_are_never_decided(struck: Struck, name: str) -> None:
    begun = _first_orders(name)
    assert struck.statuses(begun) == {}
    assert not begun.intersection(order_ids(struck.pipeline)), "the reader of this test must not see them either"


def order_ids(pipeline: Pipeline) -> set[int]:
    """Return the order of every line that is in the log."""
    found: set[int] = set()
    for value in values(pipeline, ORDERS):
        try:
            decoded = codec.decode(value)
        except codec.UndecodableError:
            continue
        if decoded.name == "OrderLine":
            found.add(decoded.value["order_id"])
    return found


def test_a_thousand_lines_are_one_order_and_one_line_too_few_is_none(struck: Struck) -> None:
    """Both know all their lines in the end, also those heard of after a refusal or a deadline; only the whole one can be confirmed."""
    versions = [o for o in outcomes_of(struck.pipeline) if o["line_count"] == kinds.MANY_LINES]
    latest = {o["order_id"]: o for o in sorted(versions, key=lambda o: o["version"])}
    assert sorted(len(o["lines"]) for o in latest.values()) == [kinds.MANY_LINES - 1, kinds.MANY_LINES]
    (short,) = (o for o in latest.values() if len(o["lines"]) < kinds.MANY_LINES)
    assert short["status"] in {"EXPIRED", "REJECTED"}
