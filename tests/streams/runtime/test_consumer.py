"""What the tasks have ready goes to the agents at once; what Faust would lose is given up, so that the task reads it again."""

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

from faust.types import TP, Message
from mode.utils.queues import FlowControlEvent

from streams.runtime.batch import Batch, BatchState
from streams.runtime.consumer import BatchConsumer
from streams.stages.stock import STOCK

TOPIC = TP(STOCK.inputs[0].name, 3)


class Delivered(BatchConsumer):
    """The consumer without a group: it notes what comes to the agents."""

    def __init__(self) -> None:
        self.came: list[Message] = []
        self.flow_active = True
        self.tasks: Any = SimpleNamespace(inbox=asyncio.Queue(), kinds={"stock": STOCK}, settings=SimpleNamespace(topic_prefix=""))
        self.app = SimpleNamespace(flow_control=FlowControlEvent(initially_suspended=False), consumer_generation_id=7)
        self._sequence: Counter[TP] = Counter()
        self._read_offset: dict[TP, int] = {}

    def _get_active_partitions(self) -> set[TP]:
        return set()

    async def callback(self, message: Message) -> None:
        self.came.append(message)

    def ready(self, count: int) -> list[Batch]:
        batches = [Batch("stock", TOPIC.partition, {}, []) for _ in range(count)]
        for batch in batches:
            self.tasks.inbox.put_nowait(batch)
        return batches

    async def through(self, seconds: float = 0.05) -> list[Any]:
        return [yielded async for yielded in self.getmany(seconds)]


def test_batches_go_to_their_agent_in_order_with_the_group_s_generation_and_offsets_that_grow_by_one() -> None:
    async def run() -> None:
        consumer = Delivered()
        batches = consumer.ready(2)
        asyncio.get_running_loop().call_later(0.01, lambda: batches.extend(consumer.ready(1)))
        assert await consumer.through() == []
        assert [message.value for message in consumer.came] == batches
        assert len(batches) == 3
        assert [(message.tp, message.offset, message.generation_id) for message in consumer.came] == [(TOPIC, offset, 7) for offset in (1, 2, 3)]
        assert consumer._read_offset == {TOPIC: 3}

    asyncio.run(run())


def test_a_batch_that_is_ready_while_the_flow_is_suspended_is_given_up() -> None:
    async def run() -> None:
        consumer = Delivered()
        consumer.app.flow_control.suspend()
        [batch] = consumer.ready(1)
        await consumer.through()
        assert batch.state is BatchState.ENDED
        assert not await batch.done
        assert consumer.came == []

    asyncio.run(run())


def test_of_batches_that_are_ready_together_those_behind_the_stop_are_given_up() -> None:
    async def run() -> None:
        consumer = Delivered()

        async def stop(message: Message) -> None:
            consumer.came.append(message)
            consumer.flow_active = False

        consumer.callback = stop  # type: ignore[method-assign]
        first, second = consumer.ready(2)
        await consumer.through()
        assert [message.value for message in consumer.came] == [first]
        assert (first.state, second.state) == (BatchState.WAITING, BatchState.ENDED)

    asyncio.run(run())


def test_a_time_in_which_nothing_is_ready_loses_nothing_that_comes_after_it() -> None:
    async def run() -> None:
        consumer = Delivered()
        await consumer.through(0.01)
        [batch] = consumer.ready(1)
        await consumer.through(0.01)
        assert [message.value for message in consumer.came] == [batch]

    asyncio.run(run())
