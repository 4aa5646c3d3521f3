"""Collects what a batch says, in columns per destination, and turns it into writes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas import codec
from schemas.outcomes import MAX_ITEMS, DeadLetterReason
from schemas.topics import DEAD_LETTERS, Topic
from streams.runtime.records import Record, Write
from telemetry import figures

MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a dead letter's value. A broker measures compressed batches, so a record of any size can reach a topic."""
MOST_KEY_BYTES: Final = 64 * 1024
MOST_DETAIL: Final = 2_000
"""Characters: texts of the record, or of a payment provider, are part of it."""


class Columns:
    """Items of one columnar record type, kept as tuples per destination partition."""

    def __init__(self, topic: Topic, name: str, columns: Sequence[str], codes: Sequence[str] = ()) -> None:
        self._topic = topic
        self._name = name
        self._columns = tuple(columns)
        self._codes = frozenset(codes)
        self.items: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)

    def writes(self, common: Mapping[str, Any]) -> Iterator[Write]:
        """Yield one columnar record per destination (more for very many items); `common` are the whole record's fields."""
        encode = codec.encoder(self._name)
        for partition, items in self.items.items():
            for start in range(0, len(items), MAX_ITEMS):
                value = {**common, **self._transposed(items[start : start + MAX_ITEMS])}
                yield Write(self._topic, partition, None, encode(value))

    def _transposed(self, items: Sequence[tuple[Any, ...]]) -> dict[str, Any]:
        columns = zip(self._columns, zip(*items, strict=True), strict=True)
        return {name: bytes(values) if name in self._codes else values for name, values in columns}


class DeadLetters:
    """Items and records a stage gives up, each with the reason and the bytes as they were."""

    def __init__(self, stage: str) -> None:
        self._stage = stage
        self._letters: list[tuple[int, bytes, dict[str, Any]]] = []

    def add(self, record: Record, index: int, reason: DeadLetterReason | str, detail: str, order_id: int | None = None, *, item: bytes | None = None) -> None:
        """Give up item `index` of a record, or the whole record (index -1).

        `item`: the item as a record of its own, carried where it stood among others; otherwise the record as it was.
        """
        value = record.value or b""
        if item is not None and codec.record_name(value) in codec.COLUMNAR:
            value = item
        if len(value) > MOST_BYTES:
            detail, value = f"{detail} (the first {MOST_BYTES} of {len(value)} bytes are kept here)", value[:MOST_BYTES]
        letter = {
            **{"stage": self._stage, "topic": record.topic, "partition": record.partition, "offset": record.offset, "index": index},
            **{"reason": str(reason), "detail": detail[:MOST_DETAIL], "order_id": order_id, "key": record.key and record.key[:MOST_KEY_BYTES], "value": value},
        }
        figures.DEAD_LETTERS.labels(self._stage, letter["reason"]).inc()
        self._letters.append((record.partition, record.topic.encode(), letter))

    def writes(self, now: int) -> Iterator[Write]:
        for partition, key, letter in self._letters:
            yield Write(DEAD_LETTERS, partition, key, codec.encode("DeadLetter", {**letter, "died_at": now}))


def decode_or_give_up(record: Record, topic: Topic, dead: DeadLetters) -> codec.Decoded | None:
    """Decode a record that belongs on `topic`; anything else goes to the dead letters."""
    try:
        decoded = codec.decode(record.value)
    except codec.UndecodableError as error:
        dead.add(record, -1, error.reason, error.detail)
        return None
    if decoded.name not in topic.records:
        dead.add(record, -1, DeadLetterReason.WRONG_RECORD, f"a {decoded.name} does not belong on {topic.name}, which carries {', '.join(topic.records)}")
        return None
    return decoded
