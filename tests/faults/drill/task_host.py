"""A process that owns every task of the pipeline without Faust: it takes the batches from the inbox itself.

The tasks are the worker's own, fenced and recovered as in a worker. What Faust and its group would do to them (lose a
batch, rebalance, stop) is done to them here, and what a broker would do to a transaction.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import suppress

from confluent_kafka import Consumer, KafkaException, TopicPartition
from faust.types import TP

from streams.app import stages
from streams.config import StreamSettings, settings
from streams.runtime.batch import Batch
from streams.runtime.tasks import Tasks
from tests.faults.drill.order import Order

GROUP_EVERY_S = 0.1
BATCHES_FIRST = 4
"""Batches until the trouble begins, on average."""


def run(_kind: str, order: Order) -> None:
    """Decide until killed."""
    asyncio.run(_Host(order, settings()).run())


class _Host:
    def __init__(self, order: Order, config: StreamSettings) -> None:
        self.order = order
        self.config = config
        self.tasks = Tasks(stages(config), config)
        self.random = random.Random(order.seed)

    async def run(self) -> None:
        await self.tasks.assign(self._inputs())
        telling = asyncio.create_task(self._tell_group())
        trouble = {"rebalance": self._rebalance, "stop": self._stop}.get(self.order.trouble)
        left = self.random.randrange(1, 2 * BATCHES_FIRST)
        while True:
            self._carry_out(await self.tasks.inbox.get())
            left -= 1
            if trouble is not None and left <= 0:
                await trouble()
                left = BATCHES_FIRST
                if self.order.trouble == "stop":
                    telling.cancel()
                    return

    def _inputs(self, *without: int) -> set[TP]:
        numbers = set(range(self.config.partitions)) - set(without)
        return {TP(name, number) for name in self.tasks.topics() for number in numbers}

    def _carry_out(self, batch: Batch) -> None:
        """As the agents do, but for the trouble with this batch."""
        mine = self.order.stage in ("", batch.stage)
        if self.order.trouble == "lose" and mine and self.random.random() < 0.5:
            batch.drop()
            return
        self.tasks.carry_out(batch)
        task = self.tasks.task_of(batch)
        if self.order.trouble == "abort" and mine and task is not None and task._producer is not None:
            # Of a transaction whose records cannot all be delivered the client says that it has to be aborted.
            task._producer.purge()

    async def _rebalance(self) -> None:
        """A partition goes to somebody else and comes back: the signals of streams/runtime/lifecycle.py in Faust's order."""
        for without in ((self.random.randrange(self.config.partitions),), ()):
            await self.tasks.revoke()
            await self.tasks.assign(self._inputs(*without))
            self.tasks.drop_waiting()

    async def _stop(self) -> None:
        await self.tasks.close()

    async def _tell_group(self) -> None:
        """Commit the positions as the group's offsets, as Faust's consumer does: the loader waits for them."""
        consumer = Consumer({"bootstrap.servers": self.config.kafka, "group.id": self.config.app_id, "enable.auto.commit": False, "log_level": 2})
        told: dict[TP, int] = {}
        while True:
            await asyncio.sleep(GROUP_EVERY_S)
            moved = {tp: at for tp, at in self.tasks.positions().items() if told.get(tp) != at}
            with suppress(KafkaException):
                if moved:
                    offsets = [TopicPartition(*tp, at) for tp, at in moved.items()]
                    await asyncio.to_thread(consumer.commit, offsets=offsets, asynchronous=False)
                    told |= moved
