"""Pure: records in the order of their partitions become one batch to store, with one row per thing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS
from sinks import plain
from sinks.alarms import Alarm, of_level, of_outcome
from sinks.rows import LEVEL, OUTCOME, Level, Outcome, Partition, Record, UnstorableError, read

K = TypeVar("K")


class Move(NamedTuple):
    """A partition's position in a store: where it must stand before the batch, and where it stands after it."""

    expected: int
    next: int


@dataclass
class Batch:
    """What to store: the newest version of each product and order, by ID; each user's first and last order time (ms)."""

    products: dict[str, Level] = field(default_factory=dict)
    orders: dict[int, Outcome] = field(default_factory=dict)
    users: dict[str, tuple[int, int]] = field(default_factory=dict)
    merged: set[int] = field(default_factory=set)
    """Orders of which the batch has had more than one version."""
    unstorable: list[tuple[Record, UnstorableError]] = field(default_factory=list)
    alarms: list[Alarm] = field(default_factory=list)
    """Of every record, also those that a later one of the batch replaces."""
    ends: dict[Partition, int] = field(default_factory=dict)
    """The offset behind the last record of each partition."""

    @property
    def lines(self) -> int:
        """How many order lines the batch holds."""
        return sum(map(_lines, self.orders.values()))


def fold(records: Iterable[Record]) -> Batch:
    """Return the batch that these records add up to, however they are mixed; nothing is raised for a bad record."""
    batch = Batch()
    for record in records:
        add(batch, record)
    return batch


def add(batch: Batch, record: Record) -> None:
    """Add one record to the batch. A record older than what is there changes nothing but the position."""
    batch.ends[record.topic, record.partition] = record.offset + 1
    data = record.value
    if data is not None and record.stream == ORDER_OUTCOMES.name and (order := plain.order(data)) is not None:
        _keep_order(batch, order.order_id, order)
        _widen(batch.users, order.user_id, order.placed_at)
    elif data is not None and record.stream == STOCK_LEVELS.name and (product := plain.product(data)) is not None:
        _keep_newest(batch.products, product.product_id, product)
    else:
        _add_any(batch, record)


def _add_any(batch: Batch, record: Record) -> None:
    try:
        name, value = read(record)
    except UnstorableError as error:
        batch.unstorable.append((record, error))
        return
    if name == LEVEL:
        batch.alarms.extend(of_level(value))
        _keep_newest(batch.products, value["product_id"], value)
    elif name == OUTCOME:
        batch.alarms.extend(of_outcome(value))
        _keep_order(batch, value["order_id"], value)
        _widen(batch.users, value["user_id"], value["placed_at"])


def chunks(records: Sequence[Record], max_bytes: int) -> Iterator[Sequence[Record]]:
    """Cut the records into runs whose values together hold `max_bytes` at most, or a single record that is larger."""
    start = size = 0
    for i, record in enumerate(records):
        length = len(record.value or b"")
        if i > start and size + length > max_bytes:
            yield records[start:i]
            start, size = i, 0
        size += length
    if start < len(records):
        yield records[start:]


def moves(positions: Mapping[Partition, int], ends: Mapping[Partition, int]) -> dict[Partition, Move]:
    """Return how a batch moves the positions it touches, in a fixed order so that two writers never wait for each other.

    A batch that would move one backwards was read from somewhere else than its position: that is a bug.
    """
    found = {partition: Move(positions[partition], end) for partition, end in sorted(ends.items()) if end != positions[partition]}
    assert all(move.next > move.expected for move in found.values()), f"positions would go backwards: {found}"
    return found


def _lines(outcome: Outcome) -> int:
    return outcome.lines if isinstance(outcome, plain.Order) else len(outcome["lines"])


def _keep_order(batch: Batch, order_id: int, value: Outcome) -> None:
    if order_id in batch.orders:
        batch.merged.add(order_id)
    _keep_newest(batch.orders, order_id, value)


def _keep_newest(held: dict[K, Mapping[str, Any]], key: K, value: Mapping[str, Any]) -> None:
    known = held.get(key)
    if known is None or known["version"] < value["version"]:
        held[key] = value


def _widen(users: dict[str, tuple[int, int]], user_id: str, placed_at: int) -> None:
    first, last = users.get(user_id) or (placed_at, placed_at)
    users[user_id] = (first if first < placed_at else placed_at), (last if last > placed_at else placed_at)
