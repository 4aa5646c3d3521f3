"""Records of all topics in memory, written one by one with the offsets that a real partition gives them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from holdfast.audit.log import Log
from schemas import topics
from schemas.codec import encode
from schemas.topics import POSITIONS_KEY, Topic

LINE = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")


@dataclass(eq=False)
class Rec:
    """One record; `name` None: `value` is bytes as they are."""

    topic: Topic
    partition: int
    offset: int
    name: str | None
    value: Any
    key: bytes | None = None

    def encoded(self) -> bytes | None:
        return self.value if self.name is None else encode(self.name, self.value)


class Records:
    """Writes and finds records. `now` in ms."""

    def __init__(self, partitions: int, prefix: str) -> None:
        self.partitions = partitions
        self.prefix = prefix
        self.records: list[Rec] = []
        self.ends: dict[tuple[str, int], int] = {}
        self.now = 1_300_000_000_000

    def write(self, topic: Topic, partition: int, name: str | None, value: Any, key: bytes | None = None) -> Rec:
        """Append a record; every third offset is a transaction's end, as on a real partition."""
        at = self.ends.get((topic.name, partition), 0)
        at += at % 3 == 2
        self.ends[topic.name, partition] = at + 1
        rec = Rec(topic, partition, at, name, value, key)
        self.records.append(rec)
        return rec

    def tick(self) -> int:
        self.now += 1_000
        return self.now

    def dead_letter(self, rec: Rec, index: int, reason: str, stage: str = "stock") -> Rec:
        """Give a record, or one item of it, up."""
        where = {"topic": rec.topic.name, "partition": rec.partition, "offset": rec.offset, "index": index}
        record = {"key": rec.key, "value": rec.encoded() or b""}
        value = {"stage": stage, **where, "reason": reason, "detail": "", "order_id": None, **record, "died_at": self.tick()}
        return self.write(topics.DEAD_LETTERS, rec.partition, "DeadLetter", value, rec.topic.name.encode())

    def note_positions(self) -> None:
        """Each task notes where it stands: behind the last record of each input."""
        inputs = {
            topics.STOCK_STATE: (topics.ORDERS, topics.STOCK_COMMANDS),
            topics.ORDER_STATE: (topics.STOCK_DECISIONS, topics.ORDER_COMMANDS, topics.PAYMENT_RESULTS),
            topics.PAYMENT_STATE: (topics.PAYMENT_REQUESTS,),
        }
        for changelog, read in inputs.items():
            for partition in range(self.partitions):
                offsets = [self.ends.get((topic.name, partition), 0) for topic in read]
                value = {"topic": [t.name for t in read], "offset": offsets, "partitions": [self.partitions] * len(read), "topic_id": ["x"] * len(read)}
                self.write(changelog, partition, "TaskPositions", value, POSITIONS_KEY)

    # -- reading -------------------------------------------------------------------------------------------------------

    def all(self, name: str) -> list[Rec]:
        """Every record of a name."""
        return [rec for rec in self.records if rec.name == name]

    def one(self, name: str, **fields: Any) -> Rec:
        """The first record of a name with these fields."""
        return next(rec for rec in self.all(name) if all(rec.value[field] == value for field, value in fields.items()))

    def last(self, name: str, **fields: Any) -> Rec:
        """The last record of a name with these fields."""
        return [rec for rec in self.all(name) if all(rec.value[field] == value for field, value in fields.items())][-1]

    def item(self, name: str, **fields: Any) -> tuple[dict[str, Any], int]:
        """The columns of the first columnar record that has an item with these fields, and the item's index."""
        return next(self.items(name, **fields))

    def items(self, name: str, **fields: Any) -> Iterator[tuple[dict[str, Any], int]]:
        """Every item with these fields."""
        for rec in self.all(name):
            for index in range(len(rec.value["offset" if "offset" in rec.value else "kind"])):
                if all(rec.value[field][index] == value for field, value in fields.items()):
                    yield rec.value, index

    def log(self) -> Log:
        """The history as the audit reads it."""
        log = Log(self.partitions, self.prefix)
        for rec in self.records:
            log.add(rec.topic, rec.partition, rec.offset, rec.key, rec.encoded())
        log.ends = dict(self.ends)
        return log


def lines_of(rec: Rec) -> list[dict[str, Any]]:
    if rec.name == "OrderLine":
        return [rec.value]
    return [dict(zip(LINE, values, strict=True)) for values in zip(*(rec.value[name] for name in LINE), strict=True)]
