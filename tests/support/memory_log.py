"""Kafka's log in memory, as far as the pipeline and the audit see it."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from holdfast.audit.log import Log
from schemas import topics
from schemas.topics import Topic
from streams.runtime.records import Record, Write

_offset: Final = attrgetter("offset")


class MemoryLog:
    """Every topic's partitions. An offset is never used twice; not every offset has a record."""

    def __init__(self, partitions: int) -> None:
        self.partitions = partitions
        self.records: defaultdict[tuple[str, int], list[Record]] = defaultdict(list)
        self.ends: Counter[tuple[str, int]] = Counter()

    def append(self, topic: Topic, partition: int, key: bytes | None, value: bytes | None) -> None:
        """Append a record from outside any transaction."""
        at = (topic.name, partition)
        self.records[at].append(Record(topic.name, partition, self.ends[at], key, value))
        self.ends[at] += 1

    def transact(self, writes: Sequence[Write], *, committed: bool) -> None:
        """Append a transaction: its records, if it commits, and in any case their offsets and a marker in every partition it wrote to."""
        for write in writes:
            if committed:
                self.append(*write)
            else:
                self.ends[write.topic.name, write.partition] += 1
        for at in {(write.topic.name, write.partition) for write in writes}:
            self.ends[at] += 1

    def read(self, topic: str, partition: int, position: int) -> list[Record]:
        """Return the records from a position on."""
        records = self.records[topic, partition]
        return records[bisect_left(records, position, key=_offset) :]

    def compact(self, topic: Topic) -> None:
        """Keep the last record of every key, and no tombstone, as the brokers may do at any time."""
        for partition in range(self.partitions):
            records = self.records[topic.name, partition]
            last = {record.key: record for record in records}
            self.records[topic.name, partition] = [r for r in records if last[r.key] is r and r.value is not None]

    def for_audit(self) -> Log:
        """Return what the audit would read of it."""
        log = Log(self.partitions)
        by_name = {topic.name: topic for topic in topics.ALL}
        for (name, partition), records in self.records.items():
            for record in records:
                log.add(by_name[name], partition, record.offset, record.key, record.value)
        log.ends = dict(self.ends)
        return log
