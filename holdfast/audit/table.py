"""Decoded records in columns, so that a million items cost megabytes and not a million objects."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Container, Mapping
from itertools import accumulate, compress
from typing import Any, Final, NamedTuple

from holdfast.audit.wire import fields_of, items_of

MISSING: Final = -1
_SPAN: Final = 2**48
"""More offsets than a partition will have."""

_interned: dict[str, str] = {}
_same = _interned.setdefault


class Place(NamedTuple):
    """Where something stands: topic with its prefix, or a store's table; -1 where a number does not apply."""

    topic: str
    partition: int = -1
    offset: int = -1
    item: int = -1


class Table:
    """All items of one kind of record. `table["quantity"][item]` is a field of an item.

    Of a columnar record each element is an item; any other record is one item. Fields of the record as a whole
    (`heads`) stand once per record: `table.head("decided_at")[table.record[item]]`.
    """

    def __init__(self, topic: str, items: Mapping[str, Any], heads: Mapping[str, Any]) -> None:
        self.topic = topic
        self.in_flight_from: dict[int, int] = {}
        """partition -> first offset that is in flight: evidence, but no claim. Empty: nothing is."""
        self.partition, self.offset, self.start = array("i"), array("q"), array("q")
        self.record = array("q")
        self._at: dict[int, int] = {}
        self._items = {field: _column(kind) for field, kind in items.items()}
        self._heads = {field: _column(kind) for field, kind in heads.items()}
        self._singles = [*self._items.items(), *self._heads.items()]

    @classmethod
    def columnar(cls, topic: str, name: str) -> Table:
        """Make the table of a columnar record."""
        fields, items = fields_of(name), items_of(name)
        return cls(topic, {i: _element(fields[i]) for i in items}, {f: kind for f, kind in fields.items() if f not in items})

    @classmethod
    def single(cls, topic: str, name: str, **more: str) -> Table:
        """Make the table of a record that is one item: its plain fields, and `more` columns by name and Avro type."""
        plain = {field: kind for field, kind in fields_of(name).items() if kind != "bytes" and not isinstance(_element(kind), list) and not _is_nested(kind)}
        return cls(topic, {**plain, **more}, {})

    def __len__(self) -> int:
        return len(self.record)

    def __getitem__(self, field: str) -> Any:
        """Return the column of an item field."""
        return self._items[field]

    def head(self, field: str) -> Any:
        """Return the column, one element per record, of a field of whole records."""
        return self._heads[field]

    def add(self, partition: int, offset: int, fields: Mapping[str, Any], size: int) -> None:
        """Take one columnar record of `size` items."""
        self._open(partition, offset, size)
        for field, column in self._items.items():
            column.extend([_same(text, text) for text in fields[field]] if isinstance(column, list) else fields[field])
        for field, column in self._heads.items():
            column.append(fields[field])

    def add_one(self, partition: int, offset: int, fields: Mapping[str, Any]) -> None:
        """Take one record that is one item; fields it lacks are 0 or empty."""
        self._open(partition, offset, 1)
        for field, column in self._singles:
            value: Any = fields.get(field)
            if value is None:
                value = "" if isinstance(column, list) else 0
            column.append(_same(value, value) if isinstance(column, list) else value)

    def _open(self, partition: int, offset: int, size: int) -> None:
        number = len(self.offset)
        self._at[partition * _SPAN + offset] = number
        self.partition.append(partition)
        self.offset.append(offset)
        self.start.append(len(self.record))
        self.record.extend(array("q", (number,)) * size)

    def empty(self, places: Container[tuple[int, int]]) -> None:
        """Leave the records at these places (partition, offset) without items: they stand there and say nothing."""
        emptied = {number for number, place in enumerate(zip(self.partition, self.offset, strict=True)) if place in places}
        if not emptied:
            return
        kept = [number not in emptied for number in self.record]
        for field, column in self._items.items():
            rest = compress(column, kept)
            self._items[field] = list(rest) if isinstance(column, list) else bytearray(rest) if isinstance(column, bytearray) else array(column.typecode, rest)
        self.record = array("q", compress(self.record, kept))
        sizes = Counter(self.record)
        self.start = array("q", accumulate((sizes[number] for number in range(len(self.offset) - 1)), initial=0))
        self._singles = [*self._items.items(), *self._heads.items()]

    def find(self, partition: int, offset: int, index: int) -> int:
        """Return the item at a place, or MISSING."""
        items = self.items_at(partition, offset)
        return items[index] if 0 <= index < len(items) else MISSING

    def items_at(self, partition: int, offset: int) -> range:
        """Return the items of the record at a place; none if there is no such record or it has none."""
        record = self._at.get(partition * _SPAN + offset)
        if record is None:
            return range(0)
        end = self.start[record + 1] if record + 1 < len(self.start) else len(self.record)
        return range(self.start[record], end)

    def has(self, partition: int, offset: int) -> bool:
        """Return whether a record stands at a place."""
        return partition * _SPAN + offset in self._at

    def place(self, item: int) -> Place:
        """Return where an item stands."""
        record = self.record[item]
        return Place(self.topic, self.partition[record], self.offset[record], item - self.start[record])

    def partition_of(self, item: int) -> int:
        """Return the partition an item was read from."""
        return int(self.partition[self.record[item]])

    def settled(self, item: int) -> bool:
        """Return whether everything that led to this item was written before the audit's second look at the ends."""
        if not self.in_flight_from:
            return True
        record = self.record[item]
        first = self.in_flight_from.get(self.partition[record])
        return first is None or self.offset[record] < first


def _element(kind: Any) -> Any:
    return kind["items"] if isinstance(kind, dict) and kind["type"] == "array" else kind


def _is_nested(kind: Any) -> bool:
    return isinstance(kind, dict) and kind["type"] == "array"


def _column(kind: Any) -> Any:
    """Return an empty column: bytes are one code per item, booleans and codes fit one byte, texts are shared."""
    if kind == "bytes":
        return bytearray()
    if kind == "boolean":
        return array("b")
    return array("q") if kind in ("int", "long") else []
