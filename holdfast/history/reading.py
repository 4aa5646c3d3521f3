"""Reads the topics for histories."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from confluent_kafka import Message

from holdfast.history.orders import READ, Event, Place, events, marks_of
from holdfast.history.products import Answers
from holdfast.log_tail import explained
from holdfast.log_whole import Progress, beginnings, partitions_of, read_whole
from schemas.codec import Decoded, UndecodableError, decode
from schemas.topics import STOCK_DECISIONS, STOCK_LEVELS, Topic


def read_products(kafka: str, prefixes: Sequence[str], products: Collection[str], until: int | None, progress: Progress) -> Answers:
    """Read every answer about these products (none named: about all) up to a time in ms; raises LogError."""
    answers = Answers(frozenset(products) or None, until)
    marks = tuple(product.encode() for product in products)
    for _, record in _records(kafka, prefixes, (STOCK_DECISIONS,), marks, progress):
        answers.add(record.name, record.value)
    if beginning(kafka, prefixes, (STOCK_DECISIONS,)):
        for _, record in _records(kafka, prefixes, (STOCK_LEVELS,), marks, progress):
            answers.add_level(record.value)
    return answers


def beginning(kafka: str, prefixes: Sequence[str], topics: Collection[Topic] = READ) -> str:
    """Return which of the topics have lost their beginning to the brokers' retention, for people; "" where all is there. Raises LogError."""
    named = [topic.named(prefix) for prefix in prefixes for topic in topics]
    places = [(name, number) for name, count in partitions_of(kafka, named, ()).items() for number in range(count)]
    with explained(kafka):
        cut = {topic for (topic, _), at in beginnings(kafka, places).items() if at > 0}
    return ", ".join(name for name in named if name in cut or name not in {topic for topic, _ in places})


def read_order(kafka: str, prefixes: Sequence[str], order_id: int, until: int | None, progress: Progress) -> list[Event]:
    """Read what the log says of an order up to a time in ms, in the order in which the brokers took it; raises LogError."""
    rank = {topic: number for number, topic in enumerate(READ)}
    found = [event for place, record in _records(kafka, prefixes, READ, marks_of(order_id), progress) for event in events(order_id, place, record)]
    chosen = [event for event in found if until is None or event.place.at <= until]
    return sorted(chosen, key=lambda e: (e.place.at, rank[e.place.topic], e.place.partition, e.place.offset, e.item))


def _records(kafka: str, prefixes: Sequence[str], topics: Collection[Topic], marks: Collection[bytes], progress: Progress) -> Iterator[tuple[Place, Decoded]]:
    """Yield the records that hold one of the marks, of every generation of the topics that is still there.

    A look for bytes costs a hundredth of decoding, and most records are of others.
    """
    named = {topic.named(prefix): topic for prefix in prefixes for topic in topics}
    needed = [topic.named(prefixes[-1]) for topic in topics]
    partitions = [(name, number) for name, count in partitions_of(kafka, named, needed).items() for number in range(count)]
    for message in read_whole(kafka, partitions, progress):
        value = message.value() or b""
        if marks and not any(mark in value for mark in marks):
            continue
        try:
            record = decode(value)
        except UndecodableError:
            continue  # a dead letter by now, which names the order where it can be named
        topic = named[str(message.topic())]
        if record.name in topic.records:
            yield _place(message, topic), record


def _place(message: Message, topic: Topic) -> Place:
    return Place(int(message.timestamp()[1]), topic, int(message.partition() or 0), int(message.offset() or 0))
