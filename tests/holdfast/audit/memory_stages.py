"""The three stages on topics in memory: the pipeline's own decisions, without brokers, processes or clocks."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping

from holdfast.audit.log import READ, Log
from schemas import codec, topics
from schemas.topics import POSITIONS_KEY, Topic
from streams.payments.sandbox import Sandbox
from streams.runtime.records import Place, Record, Stage, StageKind, Write
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK

TIMEOUT_MS = 60_000


class StagesInMemory:
    """Every stage's tasks over lists. Batches are of random length and order, as real ones are."""

    def __init__(self, partitions: int = 4, seed: int = 0, decline_rate: float = 0.1) -> None:
        self.partitions = partitions
        self.random = random.Random(seed)
        self.now = 1_300_000_000_000
        self.log: defaultdict[tuple[str, int], list[tuple[bytes | None, bytes | None]]] = defaultdict(list)
        self.kinds: list[StageKind] = [STOCK, orders_kind(TIMEOUT_MS), payments_kind(Sandbox(decline_rate))]
        self.tasks: list[tuple[StageKind, int, Stage, dict[str, int]]] = [
            (kind, p, kind.new(Place(p, partitions)), {t.name: 0 for t in kind.inputs}) for kind in self.kinds for p in range(partitions)
        ]

    def write(self, topic: Topic, partition: int, name: str, value: dict[str, object]) -> None:
        """Append a record from outside."""
        self._append(Write(topic, partition, None, codec.encode(name, value)))

    def _append(self, write: Write) -> None:
        self.log[write.topic.name, write.partition].append((write.key, write.value))

    def step(self) -> bool:
        """Let one task with something to do take one batch; returns whether there was one."""
        ready = [task for task in self.tasks if self._is_ready(*task)]
        if ready:
            self._take(*self.random.choice(ready))
        return bool(ready)

    def _is_ready(self, kind: StageKind, partition: int, stage: Stage, position: dict[str, int]) -> bool:
        return stage.is_due(self.now) or any(position[t.name] < len(self.log[t.name, partition]) for t in kind.inputs)

    def _take(self, kind: StageKind, partition: int, stage: Stage, position: dict[str, int]) -> None:
        self.now += self.random.randrange(1, 50)
        for write in stage.expire(self.now) if stage.is_due(self.now) else stage.decide(self._batch(kind, partition, position), self.now):
            self._append(write)
        names = list(position)
        rest = {"partitions": [self.partitions] * len(names), "topic_id": [""] * len(names)}
        noted = codec.encode("TaskPositions", {"topic": names, "offset": [position[n] for n in names], **rest})
        self._append(Write(kind.changelog, partition, POSITIONS_KEY, noted))

    def _batch(self, kind: StageKind, partition: int, position: dict[str, int]) -> list[Record]:
        batch: list[Record] = []
        for topic in self.random.sample(kind.inputs, len(kind.inputs)):
            records, start = self.log[topic.name, partition], position[topic.name]
            end = min(len(records), start + self.random.randrange(1, 20))
            batch += [Record(topic.name, partition, offset, *records[offset]) for offset in range(start, end)]
            position[topic.name] = end
        return batch

    def run(self) -> None:
        """Go on until nothing is under way, then until every deadline has passed."""
        while self.step():
            pass
        self.now += 2 * TIMEOUT_MS
        while self.step():
            pass

    # -- what the audit reads ------------------------------------------------------------------------------------------

    def lengths(self) -> dict[tuple[str, int], int]:
        """How many records each partition has now."""
        return {(t.name, p): len(self.log[t.name, p]) for t in READ for p in range(self.partitions)}

    def moving_log(self) -> Log:
        """What an audit reads while the stages work on: each partition's end is looked at a little later than the one before."""
        settled, ends = self.lengths(), dict[tuple[str, int], int]()
        for topic in READ:
            for partition in range(self.partitions):
                ends[topic.name, partition] = len(self.log[topic.name, partition])
                self.step()
        log = self.audit_log(ends)
        log.in_flight(settled)
        return log

    def audit_log(self, ends: Mapping[tuple[str, int], int] | None = None) -> Log:
        """The log up to these ends, or all of it."""
        log = Log(self.partitions)
        by_name = {topic.name: topic for topic in topics.ALL}
        for (name, partition), end in (ends or self.lengths()).items():
            for offset, (key, value) in enumerate(self.log[name, partition][:end]):
                log.add(by_name[name], partition, offset, key, value)
            log.ends[name, partition] = end
        return log
