"""Reads the log once more, from its beginning: what became of the orders, and up to where the stores must have it."""

from collections.abc import Collection
from dataclasses import dataclass

from confluent_kafka import Message

from holdfast.demo.file_orders import FileOrders
from holdfast.demo.store_positions import Positions, in_every_store
from holdfast.log_tail import whole
from schemas.codec import UndecodableError, decode
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES, STOCK_LEVELS


@dataclass(frozen=True)
class Folded:
    """The orders, and behind which records both stores have to stand to hold everything."""

    orders: FileOrders
    ends: Positions


def fold(bootstrap: str, prefix: str, order_ids: Collection[int], file_name: str) -> Folded:
    """Fold order.outcomes and dead-letters as they are now; raises LogError."""
    orders = FileOrders(order_ids, file_name)
    ends: dict[tuple[str, int], int] = {}
    stored = {topic.named(prefix) for topic in (ORDER_OUTCOMES, STOCK_LEVELS)}
    levels = STOCK_LEVELS.named(prefix)
    for message in whole(bootstrap, [*stored, DEAD_LETTERS.named(prefix)]):
        place, offset = _place(message)
        if place[0] in stored:
            ends[place] = max(ends.get(place, 0), offset + 1)
        if place[0] != levels:
            _take_in(orders, message)
    return Folded(orders, in_every_store((*place, end) for place, end in ends.items()))


def _take_in(orders: FileOrders, message: Message) -> None:
    try:
        orders.add(decode(message.value()))
    except UndecodableError:
        # No order of ours; the sinks have put it into the dead letters.
        return


def _place(message: Message) -> tuple[tuple[str, int], int]:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    return (topic, partition), offset
