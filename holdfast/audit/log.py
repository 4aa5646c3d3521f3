"""The topics as the audit read them, decoded and in memory. Fills from bytes, so tests need no broker."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import cached_property, partial
from typing import Any, Final, NamedTuple

from holdfast.audit.generations import Generations
from holdfast.audit.table import Place, Table
from holdfast.audit.wire import UndecodableError, decode
from schemas import topics
from schemas.order_times import born
from schemas.outcomes import DeadLetterReason, OrderCommandKind, StockCommandKind
from schemas.topics import POSITIONS_KEY, Topic

READ: Final = (
    topics.STOCK_LEVELS,
    topics.ORDER_OUTCOMES,
    topics.DEAD_LETTERS,
    topics.PAYMENT_RESULTS,
    topics.PAYMENT_REQUESTS,
    topics.STOCK_DECISIONS,
    topics.STOCK_COMMANDS,
    topics.ORDER_COMMANDS,
    topics.ORDERS,
    topics.STOCK_STATE,
    topics.ORDER_STATE,
    topics.PAYMENT_STATE,
)
"""Everything the audit reads."""

CHANGELOGS: Final = (topics.STOCK_STATE, topics.ORDER_STATE, topics.PAYMENT_STATE)


_BETWEEN_STAGES: Final = frozenset({topics.STOCK_DECISIONS.name, topics.PAYMENT_REQUESTS.name, topics.PAYMENT_RESULTS.name})

OUTCOME_LINE: Final = {
    **{"line": "int", "product_id": "string", "quantity": "long", "unit_price": "long"},
    **{"status": "string", "refusal": "string", "returned": "long"},
}


MARGIN_MS: Final = 60_000
"""By so much may the clocks of those who give out order IDs and of the brokers differ."""
COMPARED_BYTES: Final = 16 * 1024
"""Of a record that was given up and its dead letter: a very large one is cut there."""


class BadRecord(NamedTuple):
    """A record that does not belong: undecodable, or of a kind its topic does not carry."""

    place: Place
    topic: str
    why: str
    head: bytes
    size: int


class Row(NamedTuple):
    """The last changelog record of a key, still encoded, and the value `before` it."""

    partition: int
    offset: int
    value: bytes
    before: bytes | None = None

    def fields(self) -> dict[str, Any]:
        """Return the row's fields. A stray record that nobody can decode does not count: the stage goes on from the one before.

        Raises UndecodableError if neither can be decoded. (A row that its own stage spoilt is found: the one before is behind.)
        """
        try:
            return decode(self.value)[1]
        except UndecodableError:
            if self.before is None:
                raise
        return decode(self.before)[1]


class Log:
    """All topics. `partitions` is the common partition count; `prefix` goes before every topic's name.

    `later`: the same of later generations of the topics. Partitions are numbered through all of them.
    """

    def __init__(self, partitions: int, prefix: str = "", later: Sequence[tuple[str, int]] = ()) -> None:
        self.generations = Generations([(prefix, partitions), *later])
        self.partitions = self.generations.total
        self.prefix = prefix
        named = {topic: topic.named(prefix) for topic in topics.ALL}
        self.lines = Table.columnar(named[topics.ORDERS], "OrderLines")
        self.stock_commands = Table.columnar(named[topics.STOCK_COMMANDS], "StockCommands")
        self.decisions = Table.columnar(named[topics.STOCK_DECISIONS], "StockDecisions")
        self.movements = Table.columnar(named[topics.STOCK_DECISIONS], "StockMovements")
        self.levels = Table.single(named[topics.STOCK_LEVELS], "StockLevel")
        self.order_commands = Table.columnar(named[topics.ORDER_COMMANDS], "OrderCommands")
        self.imports = Table.single(named[topics.ORDER_COMMANDS], "ImportedOrder", first_line="long", lines="int")
        self.import_lines = Table(named[topics.ORDER_COMMANDS], OUTCOME_LINE, {})
        self.outcomes = Table.single(named[topics.ORDER_OUTCOMES], "OrderOutcome", first_line="long", lines="int")
        self.outcome_lines = Table(named[topics.ORDER_OUTCOMES], OUTCOME_LINE, {})
        self.refused_commands = Table.single(named[topics.ORDER_OUTCOMES], "OrderCommandRefused")
        self.requests = Table.columnar(named[topics.PAYMENT_REQUESTS], "PaymentRequests")
        self.results = Table.columnar(named[topics.PAYMENT_RESULTS], "PaymentResults")
        self.dead_letters = Table.single(named[topics.DEAD_LETTERS], "DeadLetter", digest="long", size="long")
        self.bad: list[BadRecord] = []
        self.rows: dict[str, dict[bytes, Row]] = {topic.name: {} for topic in CHANGELOGS}
        self.positions: dict[tuple[str, int], dict[str, int]] = {}
        """(changelog, partition) -> input topic -> next offset to read."""
        self.last: dict[tuple[str, int], int] = {}
        """(topic, partition) -> offset of the last record read."""
        self.ends: dict[tuple[str, int], int] = {}
        """(topic, partition) -> where the partition ended; behind the last record, for a transaction's end has an offset too."""
        self.records = 0
        self.begins_at = 0
        """Where the brokers have deleted the log's beginning: the time (ms) until which nothing of it is taken, so that all begins at once. 0: it is whole."""
        self.first: dict[tuple[str, int], int] = {}
        """(topic, partition) -> the first offset of which anything is known."""
        self._take = self._takers()

    def _takers(self) -> dict[str, Callable[[int, int, dict[str, Any], int], None]]:
        return {
            "OrderLine": _one(self.lines),
            "OrderLines": self.lines.add,
            "StockCommand": _one(self.stock_commands, StockCommandKind),
            "StockCommands": self.stock_commands.add,
            "StockDecisions": self._answers(self.decisions),
            "StockMovements": self._answers(self.movements),
            "StockLevel": _one(self.levels),
            "OrderCommand": _one(self.order_commands, OrderCommandKind),
            "OrderCommands": self.order_commands.add,
            "ImportedOrder": partial(self._with_lines, self.imports, self.import_lines),
            "OrderOutcome": partial(self._with_lines, self.outcomes, self.outcome_lines),
            "OrderCommandRefused": _one(self.refused_commands),
            "PaymentRequests": self.requests.add,
            "PaymentResults": self.results.add,
            "DeadLetter": self._dead_letter,
            # No promise hangs on what operators did about a letter: what they sent again is a record like any other.
            "DeadLetterSettled": lambda *_: None,
        }

    def add(self, topic: Topic, partition: int, offset: int, key: bytes | None, value: bytes | None, at: int = 0) -> None:
        """Take one record; a partition's records come in the order of their offsets. `at`: when the brokers took it, in ms."""
        self.records += 1
        self.last[topic.name, partition] = offset
        if at <= self.begins_at and self.begins_at and not topic.compacted:
            self.first[topic.name, partition] = offset + 1
            return
        try:
            if topic.name in self.rows:
                self._changelog(topic, Row(partition, offset, value or b""), key or b"")
            else:
                name, fields, size = decode(value)
                self._take[_belonging(name, topic)](partition, offset, fields, size)
        except UndecodableError as error:
            place = Place(topic.named(self.prefix), partition, offset)
            self.bad.append(BadRecord(place, topic.name, str(error), (value or b"")[:COMPARED_BYTES], len(value or b"")))

    def _changelog(self, topic: Topic, row: Row, key: bytes) -> None:
        if key == POSITIONS_KEY:
            _, fields, _ = decode(row.value)
            self.positions[topic.name, row.partition] = dict(zip(fields["topic"], fields["offset"], strict=True))
        elif row.value:
            earlier = self.rows[topic.name].get(key)
            self.rows[topic.name][key] = row._replace(before=earlier.value) if earlier else row
        else:
            self.rows[topic.name].pop(key, None)

    def is_old(self, order_id: int) -> bool:
        """Return whether an order may have begun in what was deleted: its ID tells when it was given out, or its row that it was decided then."""
        if not self.begins_at:
            return False
        return born(order_id) <= self.begins_at + MARGIN_MS or order_id in self.decided_before

    @cached_property
    def decided_before(self) -> frozenset[int]:
        """The orders whose rows say that they were decided before the log begins."""
        found = set[int]()
        for row in self.rows[topics.ORDER_STATE.name].values():
            with suppress(UndecodableError):
                fields = row.fields()
                if 0 < fields["decided_at"] <= self.begins_at + MARGIN_MS:
                    found.add(fields["order_id"])
        return frozenset(found)

    def is_gone(self, topic: str, partition: int, offset: int) -> bool:
        """Return whether a place (topic without prefix) lies in what was deleted."""
        return offset < self.first.get((topic, partition), 0)

    def _answers(self, table: Table) -> Callable[[int, int, dict[str, Any], int], None]:
        """They name the partition of what they answer, which is of their own generation."""

        def take(partition: int, offset: int, fields: dict[str, Any], size: int) -> None:
            table.add(partition, offset, {**fields, "partition": fields["partition"] + self.generations.of(partition).base}, size)

        return take

    def next_generation(self) -> None:
        """Everything of a generation is read, the next one follows: it must have every row itself."""
        for rows in self.rows.values():
            rows.clear()

    def _with_lines(self, orders: Table, all_lines: Table, partition: int, offset: int, fields: dict[str, Any], _size: int) -> None:
        lines = fields["lines"]
        orders.add_one(partition, offset, {**fields, "first_line": len(all_lines), "lines": len(lines)})
        all_lines.add(partition, offset, {field: [line[field] for line in lines] for field in OUTCOME_LINE}, len(lines))

    def _dead_letter(self, partition: int, offset: int, fields: dict[str, Any], _size: int) -> None:
        topic, at = self.generations.numbered(fields["topic"], fields["partition"])
        named = {"topic": topic if topic == fields["topic"] else self.prefix + topic, "partition": at}
        self.dead_letters.add_one(partition, offset, {**fields, **named, "digest": digest_of(fields["value"]), "size": len(fields["value"])})

    def leave_out_foreign(self) -> None:
        """Empty the records between stages that their reader gave up whole as no stage's: they were said by nobody.

        Had it been a stage's after all, what it answered is now unanswered, and that is found.
        """
        letters = self.dead_letters
        foreign: defaultdict[str, set[tuple[int, int]]] = defaultdict(set)
        for topic, partition, offset, reason in zip(*(letters[name] for name in ("topic", "partition", "offset", "reason")), strict=True):
            if reason == DeadLetterReason.FOREIGN_RECORD:
                foreign[topic.removeprefix(self.prefix)].add((partition, offset))
        for topic in foreign.keys() & _BETWEEN_STAGES:
            for table in self.tables_of(topic):
                table.empty(foreign[topic])

    def in_flight(self, first: Mapping[tuple[str, int], int]) -> None:
        """Say from which offset on (topic name, partition) records are in flight: evidence, but no claims."""
        by_name = {topic.named(self.prefix): topic.name for topic in topics.ALL}
        for table in self.tables():
            table.in_flight_from = {p: offset for (topic, p), offset in first.items() if topic == by_name[table.topic]}

    def tables(self) -> list[Table]:
        """Return every table."""
        return [table for table in vars(self).values() if isinstance(table, Table)]

    def tables_of(self, topic: str) -> list[Table]:
        """Return the tables that hold records of a topic, named without prefix; empty for a topic that is not read."""
        return [table for table in self.tables() if table.topic == self.prefix + topic]


def _belonging(name: str, topic: Topic) -> str:
    if name not in topic.records:
        raise UndecodableError(f"a {name} does not belong on {topic.name}")
    return name


def digest_of(value: bytes) -> int:
    """Return 8 bytes of BLAKE2b over the first COMPARED_BYTES as a signed number."""
    return int.from_bytes(hashlib.blake2b(value[:COMPARED_BYTES], digest_size=8).digest(), "big", signed=True)


def _one(table: Table, kinds: Any = None) -> Callable[[int, int, dict[str, Any], int], None]:
    def take(partition: int, offset: int, fields: dict[str, Any], _size: int) -> None:
        table.add_one(partition, offset, fields if kinds is None else {**fields, "kind": int(kinds[fields["kind"]])})

    return take
