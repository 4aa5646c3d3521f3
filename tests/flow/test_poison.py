"""Everything that nobody can take, into every topic that a stage reads: a dead letter each, and the audit is clean."""

from collections import Counter
from random import Random

import pytest

from schemas import codec, topics
from schemas.outcomes import DeadLetterReason
from tests.faults.poison import BETWEEN_STAGES, Poison, empty, poisons
from tests.flow.shop import A, B
from tests.support.flow import Flow

READ = (topics.ORDERS, topics.STOCK_COMMANDS, topics.ORDER_COMMANDS, *BETWEEN_STAGES)


def _sent(flow: Flow, seed: int) -> list[Poison]:
    chance = Random(seed)
    sent = [poison for poison in poisons(chance) if poison.topic in (*READ, topics.DEAD_LETTERS)]
    for order_id, poison in enumerate(sent, 1):
        flow.garbage(poison.topic, poison.value, chance.randrange(flow.partitions))
        flow.order(order_id, (A, 1), (B, 1))
    for topic in READ:
        for value in empty(topic):
            flow.garbage(topic, value, chance.randrange(flow.partitions))
    return sent


@pytest.mark.parametrize("seed", range(3))
def test_each_has_its_dead_letter_and_the_orders_around_it_are_decided(seed: int) -> None:
    flow = Flow(seed)
    for product in (A, B):
        flow.stock("RESTOCK", product, 10_000)
    flow.run()
    sent = _sent(flow, seed)
    flow.settle()
    letters = [codec.decode(r.value).value for p in range(flow.partitions) for r in flow.log.records[topics.DEAD_LETTERS.name, p] if _is_letter(r.value)]
    wanted = Counter((poison.topic.name, poison.reason) for poison in sent if poison.topic in READ)
    assert Counter((letter["topic"], letter["reason"]) for letter in letters) == wanted
    assert {flow.history(order_id)[0] for order_id in range(1, len(sent) + 1)} == {"DECIDED CONFIRMED"}
    flow.assert_clean()


def _is_letter(value: bytes | None) -> bool:
    try:
        return codec.decode(value).name == "DeadLetter"
    except codec.UndecodableError:
        return False


@pytest.mark.parametrize("topic", BETWEEN_STAGES)
def test_a_stage_that_gives_up_what_another_stage_wrote_is_found(topic: topics.Topic) -> None:
    """The audit takes a letter's word for a foreign record; what the record had answered is then missing."""
    flow = Flow()
    flow.stock("RESTOCK", A, 10)
    flow.run()
    flow.order(1, (A, 1))
    flow.run()
    taken = next(r for p in range(flow.partitions) for r in flow.log.records[topic.name, p] if codec.record_name(r.value) != "StockMovements")
    letter = {"stage": "orders", "topic": topic.name, "partition": taken.partition, "offset": taken.offset, "index": -1, "detail": "", "died_at": 0}
    value = codec.encode("DeadLetter", {**letter, "reason": str(DeadLetterReason.FOREIGN_RECORD), "value": taken.value})
    flow.garbage(topics.DEAD_LETTERS, value)
    assert not flow.audit().ok
