"""A shop in memory decides random traffic; its log is decided again, and what must come out of that is known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import pytest

from holdfast.repartition.rows import merged, spread
from holdfast.shadow.diff import Diff, Ends, compare
from holdfast.shadow.rules import DROP_LINES, Rules
from holdfast.shadow.tape import READ, Tape
from holdfast.shadow.world import World
from schemas import codec
from schemas.order_times import EPOCH_MS, born
from schemas.outcomes import MAX_ITEMS
from schemas.topics import ORDER_OUTCOMES, ORDERS, POSITIONS_KEY, Topic
from streams.payments.sandbox import DECLINED_TOKEN
from streams.runtime.records import Write
from tests.flow.shop import A
from tests.flow.test_retention import RETENTION, Shop, at_random
from tests.flow.traffic import Traffic
from tests.support.flow import SOUND, START, TIMEOUT, Fate, Flow
from tests.support.replay import Times, new_flow, timed

NAMES = frozenset(topic.name for topic in READ)


def tape_of(*generations: tuple[Flow, Times]) -> Tape:
    tape = Tape(*(flow.partitions for flow, _ in generations))
    for number, (flow, times) in enumerate(generations):
        for (name, partition), records in flow.log.records.items():
            for record in records if name in NAMES else ():
                if (decoded := decoded_or_none(record.value)) is not None:
                    tape.add(name, partition, record.offset, times[name, partition, record.offset], decoded, number)
    tape.finish()
    return tape


def decoded_or_none(value: bytes | None) -> codec.Decoded | None:
    try:
        return codec.decode(value)
    except codec.UndecodableError:
        return None


def shadowed(flow: Flow, times: Times, rules: Rules) -> tuple[Diff, list[Write]]:
    return shadowed_as_one([(flow, times)], rules)


def shadowed_as_one(generations: Sequence[tuple[Flow, Times]], rules: Rules) -> tuple[Diff, list[Write]]:
    written: list[Write] = []
    for _ in World(tape_of(*generations), rules, written.extend).run():
        pass
    was, would = Ends(), Ends()
    lived = [value for flow, _ in generations for value in live_outcomes(flow)]
    for side, values in ((was, lived), (would, [write.value for write in written if write.topic is ORDER_OUTCOMES])):
        for value in values:
            if (decoded := decoded_or_none(value)) is not None:
                side.add(decoded.name, decoded.value)
    return compare(was.all(), would.all()), written


def live_outcomes(flow: Flow) -> Sequence[bytes | None]:
    return [record.value for p in range(flow.partitions) for record in flow.log.records[ORDER_OUTCOMES.name, p]]


def busy(seed: int, acts: int = 200) -> tuple[Flow, Times]:
    """A shop that was given everything: doubled, foreign, impossible and late lines, races of cancellations and payments, orders of other systems."""
    flow = new_flow(3, seed)
    times = timed(flow)
    traffic = Traffic(flow, seed)
    traffic.open_shop()
    work(flow, traffic, acts)
    traffic.finish()
    flow.settle()
    return flow, times


def work(flow: Flow, traffic: Traffic, acts: int) -> None:
    flow.fates, flow.weights = SOUND, (10, 1, 1, 1)
    for _ in range(acts):
        traffic.act()
        flow.wait(flow.rng.randrange(40))
        for _ in range(flow.rng.randrange(5)):
            flow.step()
            flow.wait(3)


def busy_while_partitions_change(seed: int, acts: int = 60) -> list[tuple[Flow, Times]]:
    """The same, in three generations of its topics: each is filled as `holdfast repartition` does, once the one before has read all it was given."""
    flow = new_flow(3, seed)
    found = [(flow, timed(flow))]
    traffic = Traffic(flow, seed)
    traffic.open_shop()
    for partitions in (3, 5, 2):
        if partitions != flow.partitions:
            flow.run()
            traffic.flow, flow = (later := filled_from(flow, partitions)), later
            found.append((flow, timed(flow)))
        work(flow, traffic, acts)
    traffic.finish()
    flow.settle()
    return found


def filled_from(flow: Flow, partitions: int) -> Flow:
    later = new_flow(partitions, flow.rng.randrange(10**6))
    later.now = flow.now + 1_000
    for kind in flow.kinds:
        rows = merged(rows_of(flow, kind.changelog, p) for p in range(flow.partitions))
        for partition, part in enumerate(spread(kind.changelog, rows, partitions)):
            for key, value in part.items():
                later.log.append(kind.changelog, partition, key, value)
    for task in later.tasks:
        task.open()
    return later


def rows_of(flow: Flow, changelog: Topic, partition: int) -> dict[bytes, bytes]:
    last = {record.key or b"": record.value for record in flow.log.records[changelog.name, partition]}
    return {key: value for key, value in last.items() if value is not None and key != POSITIONS_KEY}


@pytest.mark.parametrize("seed", [2, 5, 8, 14, 34, 39, 111, 123, 133, 162, 235, 332])
def test_the_same_rules_end_every_order_as_it_ended(seed: int) -> None:
    flow, times = busy(seed)
    diff, _ = shadowed(flow, times, Rules(order_timeout=TIMEOUT))
    assert diff.orders > 20
    assert len(diff.decisions()) > 3
    assert diff.named == []
    assert diff.different == 0


@pytest.mark.long
def test_the_same_rules_end_every_order_as_it_ended_whatever_came() -> None:
    assert [seed for seed in range(100, 400) if shadowed(*busy(seed), Rules(order_timeout=TIMEOUT))[0].different] == []


@pytest.mark.parametrize("seed", [*range(3), *(pytest.param(seed, marks=pytest.mark.long) for seed in range(3, 100))])
def test_generations_of_the_topics_are_decided_as_one_log(seed: int) -> None:
    generations = busy_while_partitions_change(seed)
    diff, written = shadowed_as_one(generations, Rules(order_timeout=TIMEOUT))
    assert diff.orders > 10
    assert (diff.named, diff.different) == ([], 0)
    assert {write.partition for write in written} == {0, 1}  # as many as the last one has


@pytest.mark.parametrize("seed", [0, *(pytest.param(seed, marks=pytest.mark.long) for seed in range(1, 30))])
def test_orders_whose_rows_were_forgotten_end_as_they_ended(seed: int) -> None:
    shop = Shop(seed)
    times = timed(shop)
    shop.stock("RESTOCK", A, 1)  # the opening stock came before the clock
    ids, _ = at_random(shop, seed, at_once=True)
    shop.settle()
    refused = [codec.decode(value) for value in live_outcomes(shop)]
    assert any(record.value.get("refusal") == "ORDER_TOO_OLD" for record in refused)
    times = defaultdict(lambda: EPOCH_MS + 10**9, times)
    diff, _ = shadowed(shop, times, Rules(order_timeout=TIMEOUT, order_retention=RETENTION))
    assert diff.orders > len(ids) / 2
    # A cancellation that came before its order keeps a row; the shadow takes it only when it had its effect, when the ID may be too old.
    assert [order_id for order_id, was, _ in diff.named if was.decision != "CANCELLED" or decided_at(shop, order_id) - born(order_id) < RETENTION] == []


def decided_at(flow: Flow, order_id: int) -> int:
    return int(flow.outcomes(order_id)[0]["decided_at"])


def test_the_same_tape_gives_the_same_bytes() -> None:
    flow, times = busy(3)
    rules = Rules(opening_stock="0.5", decline_rate=0.3, order_timeout=TIMEOUT)
    assert shadowed(flow, times, rules)[1] == shadowed(flow, times, rules)[1]


def test_a_batch_of_more_lines_than_one_record_may_have_is_taken_whole() -> None:
    flow = Flow(partitions=1, timeout=TIMEOUT)
    times = timed(flow)
    flow.stock("RESTOCK", "A", MAX_ITEMS)
    flow.run()
    lines = [{**line, "order_id": order_id} for order_id in range(1, MAX_ITEMS + 11) for line in flow.order(order_id, ("A", 1))]
    task = flow.tasks[0]
    records = task.log.read(ORDERS.name, 0, 0)
    assert len(records) == len(lines) > MAX_ITEMS
    task.take(records, flow.now, Fate.COMMITTED)
    flow.run()
    diff, _ = shadowed(flow, times, Rules(order_timeout=TIMEOUT))
    assert (diff.different, diff.decisions()) == (0, {"CONFIRMED": (MAX_ITEMS, MAX_ITEMS), "REJECTED": (10, 10)})


def small_shop(*orders: Sequence[tuple[str, int]], opening: dict[str, int], **fields: Any) -> tuple[Flow, Times]:
    flow = Flow(partitions=2, timeout=TIMEOUT)
    times = timed(flow)
    for product, units in opening.items():
        flow.stock("RESTOCK", product, units)
    flow.run()
    for order_id, lines in enumerate(orders, 1):
        flow.wait(1_000)
        flow.order(order_id, *lines, **fields)
        flow.run()
    return flow, times


def test_less_opening_stock_refuses_whom_a_hand_would() -> None:
    flow, times = small_shop([("A", 6)], [("A", 4)], [("A", 1)], [("B", 2)], opening={"A": 10, "B": 2})
    # 11 of A are asked for and 2 of B: half of them, rounded up, are 6 and 1.
    diff, _ = shadowed(flow, times, Rules(opening_stock="0.5", order_timeout=TIMEOUT))
    assert {order_id: (was.decision, would.decision) for order_id, was, would in diff.named} == {2: ("CONFIRMED", "REJECTED"), 4: ("CONFIRMED", "REJECTED")}
    assert (diff.orders, diff.different, diff.units, diff.revenue) == (4, 2, [12, 6], {"GBP": [1_200, 600]})
    more, _ = shadowed(flow, times, Rules(opening_stock="1", order_timeout=TIMEOUT))
    assert [(order_id, would.decision) for order_id, _, would in more.named] == [(3, "CONFIRMED")]


def test_stock_that_goes_to_nobody_is_there_for_those_after() -> None:
    flow, times = small_shop([("A", 5), ("B", 1)], [("A", 5)], opening={"A": 5, "B": 1})
    diff, _ = shadowed(flow, times, Rules(opening_stock="0.5", order_timeout=TIMEOUT))
    # 5 of A and 1 of B: the first order still gets both.
    assert diff.different == 0
    none, _ = shadowed(flow, times, Rules(opening_stock="0", order_timeout=TIMEOUT))
    assert {order_id: would.decision for order_id, _, would in none.named} == {1: "REJECTED"}


def test_an_order_may_go_on_without_its_refused_lines() -> None:
    flow, times = small_shop([("A", 3), ("B", 2)], [("B", 1)], [("C", 1)], opening={"A": 5, "B": 1})
    diff, _ = shadowed(flow, times, Rules(refusal_policy=DROP_LINES, order_timeout=TIMEOUT))
    ((order_id, was, would),) = diff.named
    assert (order_id, was.decision, would.decision, would.units, would.revenue) == (1, "REJECTED", "CONFIRMED", 3, 300)
    assert diff.decisions() == {"CONFIRMED": (1, 2), "REJECTED": (2, 1)}


def test_payments_are_answered_as_they_were_unless_a_rate_is_asked_for() -> None:
    flow, times = small_shop([("A", 1)], [("A", 1)], opening={"A": 5}, payment_token=DECLINED_TOKEN)
    assert shadowed(flow, times, Rules(order_timeout=TIMEOUT))[0].different == 0
    flow, times = small_shop([("A", 1)], [("A", 1)], opening={"A": 5})
    assert shadowed(flow, times, Rules(decline_rate=1.0, order_timeout=TIMEOUT))[0].decisions() == {"CONFIRMED": (2, 0), "PAYMENT_FAILED": (0, 2)}


def test_other_rules_are_for_the_window_alone() -> None:
    flow, times = small_shop([("A", 1)], [("A", 1)], [("A", 1)], opening={"A": 5})
    window = Rules(decline_rate=1.0, since=START + 1_500, until=START + 2_500, order_timeout=TIMEOUT)
    diff, _ = shadowed(flow, times, window)
    assert [order_id for order_id, _, _ in diff.named] == [2]
