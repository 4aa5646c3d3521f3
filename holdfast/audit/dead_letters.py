"""I5: what was given up. Each dead letter names a record that is there, and every record that cannot be read is named. Pure."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from holdfast.audit.log import COMPARED_BYTES, BadRecord, Log, digest_of
from holdfast.audit.report import Report
from schemas import topics
from schemas.outcomes import DeadLetterReason

STAGES: Final = frozenset({"stock", "orders", "payments"})
"""They give up in the transaction that takes the record, so exactly once; the sinks may say it again after a crash."""
WHOLE: Final = -1
_KNOWN: Final = frozenset(topic.name for topic in topics.ALL)
_PRIVATE: Final = frozenset({topics.DEAD_LETTERS.name, topics.STOCK_STATE.name, topics.ORDER_STATE.name, topics.PAYMENT_STATE.name})
_COMPACTED: Final = frozenset(topic.name for topic in topics.ALL if topic.compacted)
Where = tuple[str, int, int]
"""Topic without prefix, partition, offset."""


class DeadLetters:
    """The dead letters by what they name: `at[topic, partition, offset]` are (index, reason, stage)."""

    def __init__(self, log: Log, report: Report, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.live = live
        self.at: defaultdict[Where, list[tuple[int, str, str]]] = defaultdict(list)
        self._items: defaultdict[Where, list[int]] = defaultdict(list)
        letters = log.dead_letters
        names = ("topic", "partition", "offset", "index", "reason", "stage")
        for item, (topic, partition, offset, index, reason, stage) in enumerate(zip(*(letters[name] for name in names), strict=True)):
            where = (topic.removeprefix(log.prefix), partition, offset)
            self.at[where].append((index, reason, stage))
            self._items[where].append(item)

    def reasons(self, topic: str, partition: int, offset: int, index: int) -> list[str]:
        """Return why an item was given up; empty if it was not. A letter about the whole record is about each item."""
        if not self.at:
            return []
        return [reason for at, reason, _ in self.at.get((topic, partition, offset), ()) if at in (index, WHOLE)]

    def check(self) -> None:
        """Check every dead letter and every bad record."""
        bad = {(record.topic, record.place.partition, record.place.offset): record for record in self.log.bad}
        for where, record in bad.items():
            told = record.topic in _COMPACTED and self.log.begins_at  # perhaps, in what was deleted
            if where not in self.at and not self.live and not told and record.topic != topics.DEAD_LETTERS.name:  # what is bad there is where it belongs
                self.report.add("undecodable_not_dead", record.place, record.why)
        for where in self.at:
            if where[0] in _KNOWN and where[0] not in _PRIVATE:
                self._check_letters(where, bad.get(where))
        self.report.count("I5", dead_letters=len(self.log.dead_letters), undecodable=len(bad))

    def _check_letters(self, where: Where, bad: BadRecord | None) -> None:
        if self.log.is_gone(*where):
            return
        if bad is None and not any(table.has(*where[1:]) for table in self.log.tables_of(where[0])):
            for item in filter(self.log.dead_letters.settled, self._items[where]):
                if where[0] not in _COMPACTED:  # where the record may be gone by now
                    self._complain("dead_letter_without_record", item)
            return
        seen: set[tuple[int, str, str]] = set()
        for item, letter in zip(self._items[where], self.at[where], strict=True):
            if letter in seen and letter[2] in STAGES:
                self._complain("dead_letter_doubled", item)
            seen.add(letter)
            if bad is not None and not self._carries(item, bad):
                self._complain("dead_letter_differs", item)
            if bad is None and not self._is_there(where, letter[0]):
                self._complain("dead_letter_without_record", item)

    def _carries(self, item: int, bad: BadRecord) -> bool:
        """Return whether a letter has its record as it was, or the beginning of a very large one."""
        size = self.log.dead_letters["size"][item]
        if size != bad.size and not COMPARED_BYTES <= size < bad.size:
            return False
        return bool(self.log.dead_letters["digest"][item] == digest_of(bad.head[:size]))

    def _is_there(self, where: Where, index: int) -> bool:
        topic, partition, offset = where
        return index == WHOLE or any(index in range(len(t.items_at(partition, offset))) for t in self.log.tables_of(topic))

    def _complain(self, kind: str, item: int) -> None:
        letters = self.log.dead_letters
        what = f"{letters['stage'][item]}: {letters['topic'][item]} partition {letters['partition'][item]} offset {letters['offset'][item]}"
        self.report.add(kind, letters.place(item), f"{what} index {letters['index'][item]}: {letters['reason'][item]}")


CONFLICT: Final = DeadLetterReason.CONFLICTING_ORDER.name
