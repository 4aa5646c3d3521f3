"""Topics and groups changed by hand, under a running worker and a stopped one: harmless, or the worker refuses to go on and says why."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from confluent_kafka import KafkaException

from holdfast import audit
from schemas.topics import ORDER_OUTCOMES, ORDER_STATE, ORDERS, PAYMENT_STATE, STOCK_DECISIONS, STOCK_LEVELS, STOCK_STATE, Topic
from streams.runtime.exits import MISCONFIGURED
from tests.faults.changes import INPUTS, Cluster
from tests.support.pipeline import PARTITIONS, Child, Load, Pipeline, outcomes, running, until

ORDER_TIMEOUT = 5
pytestmark = [pytest.mark.faults, pytest.mark.live, pytest.mark.long]
Change = Callable[[Cluster, Topic], None]


class Shop:
    """A worker that has decided something."""

    def __init__(self, pipeline: Pipeline) -> None:
        self.pipeline = pipeline
        self.cluster = Cluster(pipeline.kafka, pipeline.prefix, PARTITIONS)
        self.worker = pipeline.worker()
        pipeline.await_open(self.worker)
        self.load = Load(pipeline.kafka, pipeline.prefix, seed=6)
        self.load.restock()
        self.sell()

    def sell(self, orders: int = 40) -> None:
        for _ in range(orders):
            self.load.order()
        self.load.producer.flush()
        self.pipeline.drain()

    def refuses(self, worker: Child, topic: Topic) -> None:
        """The worker ends and says which topic and what to do."""
        until(lambda: not worker.alive(), 90, f"the worker notices what became of {topic.name}", worker)
        words = worker.log.read_text(errors="replace")
        assert worker.popen.returncode == MISCONFIGURED, words[-3000:]
        verdict = next(line for line in words.splitlines() if '"worker ends"' in line)
        assert topic.named(self.pipeline.prefix) in verdict or topic.name in verdict
        assert any(word in verdict for word in ("restore", "Restore", "make the topic again")), verdict


@pytest.fixture
def shop(kafka: str, topic_prefix: str, tmp_path: Path) -> Iterator[Shop]:
    settings = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT)}
    with running(Pipeline(kafka, f"{topic_prefix}.", tmp_path, settings=settings)) as pipeline:
        yield Shop(pipeline)


CHANGES: list[tuple[str, Change, Topic]] = [
    ("input made again", Cluster.make_again, ORDERS),
    ("stage topic made again", Cluster.make_again, STOCK_DECISIONS),
    ("stage topic deleted", Cluster.delete, STOCK_DECISIONS),
    ("output deleted", Cluster.delete, STOCK_LEVELS),
    ("changelog made again", Cluster.make_again, STOCK_STATE),
    ("changelog deleted", Cluster.delete, ORDER_STATE),
    ("partition added", Cluster.add_partition, ORDERS),
    ("partition added to an output", Cluster.add_partition, ORDER_OUTCOMES),
]
pytest_of_changes = pytest.mark.parametrize(("change", "topic"), [(change, topic) for _, change, topic in CHANGES], ids=[name for name, _, _ in CHANGES])


@pytest_of_changes
def test_under_a_running_worker(shop: Shop, change: Change, topic: Topic) -> None:
    before = len(outcomes(shop.pipeline)) if topic is not ORDER_OUTCOMES else 0
    change(shop.cluster, topic)
    shop.refuses(shop.worker, topic)
    if topic is ORDERS:
        assert len(outcomes(shop.pipeline)) == before


@pytest_of_changes
def test_while_the_worker_was_away(shop: Shop, change: Change, topic: Topic) -> None:
    shop.worker.kill()
    change(shop.cluster, topic)
    shop.refuses(shop.pipeline.worker(), topic)


@pytest.mark.parametrize("topic", [STOCK_STATE, ORDER_STATE, PAYMENT_STATE], ids=lambda topic: topic.name)
def test_a_changelog_emptied_while_the_worker_was_away_is_no_new_shop(shop: Shop, topic: Topic) -> None:
    shop.worker.kill()
    shop.cluster.make_again(topic)
    shop.refuses(shop.pipeline.worker(), topic)


def test_partitions_added_to_every_topic(shop: Shop) -> None:
    for topic in INPUTS:
        shop.cluster.add_partition(topic)
    until(lambda: not shop.worker.alive(), 90, "the worker notices", shop.worker)
    assert shop.worker.popen.returncode == MISCONFIGURED
    again = shop.pipeline.worker()
    until(lambda: not again.alive(), 90, "the worker refuses", again)
    assert again.popen.returncode == MISCONFIGURED


@pytest.mark.parametrize(
    "change",
    [
        Cluster.delete_group,
        lambda cluster: cluster.move_offsets(lambda _: 0),
        lambda cluster: cluster.move_offsets(lambda end: end),
        lambda cluster: cluster.move_offsets(lambda end: end + 1_000),
    ],
    ids=["deleted", "moved back to the beginning", "moved to the end", "moved beyond the end"],
)
def test_the_group_s_offsets_are_a_hint_and_no_more(shop: Shop, change: Callable[[Cluster], None]) -> None:
    shop.worker.kill()
    for _ in range(100):
        shop.load.order()
    shop.load.producer.flush()
    until(lambda: _is_done(change, shop.cluster), 60, "the group is left by its dead member")
    shop.pipeline.await_open(shop.pipeline.worker())
    shop.sell()
    until(lambda: len({o["order_id"] for o in outcomes(shop.pipeline) if o.get("change") == "DECIDED"}) >= shop.load.sent - 5, 60, "everything is decided")
    report = audit.run(kafka=shop.pipeline.kafka, prefix=shop.pipeline.prefix)
    assert report.ok, report.text()


def _is_done(change: Callable[[Cluster], None], cluster: Cluster) -> bool:
    try:
        change(cluster)
    except KafkaException:
        return False
    return True
