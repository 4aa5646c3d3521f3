"""What a changelog partition says: the last row of every key, past records that no stage can have written.

A changelog is private to its stage, yet any producer with the wrong topic name can write to it. A record that cannot be a row
does not count: the last one before it stands. Opening writes that row again, so that the stray one is out of the way for good,
and gives the stray one to the dead letters. Only where nothing is left to stand (compaction keeps the last record of a
key, whoever wrote it) people must look: going on without the row would sell its stock twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final, NamedTuple, NoReturn

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from schemas import codec
from schemas.outcomes import DeadLetterReason
from schemas.partitions import partition_of
from schemas.topics import POSITIONS_KEY, Topic
from streams.config import StreamSettings
from streams.runtime import clients
from streams.runtime.clients import MisconfiguredError
from streams.runtime.positions import check_rows_known, positions_of
from streams.runtime.records import Place, StageKind

log = structlog.get_logger("holdfast.runtime")
RECORDS: Final = 10_000
"""Taken from the client's queue at a time."""
POSITIONS: Final = "TaskPositions"
MOST_KEY_BYTES: Final = 64


class Stray(NamedTuple):
    """A record that is no row: where it stands, what is wrong with it, its bytes; and the row that stands in spite of it, if any."""

    offset: int
    reason: DeadLetterReason
    detail: str
    key: bytes
    value: bytes | None
    stands: bytes | None = None


class Changelog:
    """The rows of one changelog partition, folded from its records in order.

    `suspects`: keys of which every record is decoded before it counts. Of the others only the head is looked at: a million rows
    must open in seconds, and who finds one broken later opens again with that suspicion.
    """

    def __init__(self, kind: StageKind, place: Place, suspects: Iterable[bytes] = ()) -> None:
        self._topic = kind.changelog
        self._place = place
        self._row = kind.changelog.records[0]
        self._heads = {name: frozenset(map(_head, ids)) for name, ids in codec.schema_ids().items() if name in (self._row, POSITIONS)}
        self._row_heads = self._heads[self._row]
        self._forgets = kind.forgets
        self._suspects = {POSITIONS_KEY, *suspects}
        self._deleted: set[bytes] = set()
        self.rows: dict[bytes, bytes] = {}
        self.positions: bytes | None = None
        """The last TaskPositions, once all is read."""
        self.strays: dict[bytes, Stray] = {}
        """By key; a row that comes after a stray takes it away."""

    def take(self, key: bytes, value: bytes | None, offset: int) -> None:
        """Take the next record; of a row only its last."""
        if value is not None and value[: codec.HEADER_BYTES] in self._row_heads and key not in self._suspects:
            self.rows[key] = value
        elif value is None and self._forgets and key != POSITIONS_KEY:
            self.rows.pop(key, None)
            self._deleted.add(key)
        else:
            self._look_at(key, value, offset)
            return
        if self.strays:
            self.strays.pop(key, None)

    def take_all(self, messages: Iterable[Message]) -> None:
        """Take records as the client gives them. Hot: a million of them are to open in seconds."""
        rows, heads, suspects = self.rows, self._row_heads, self._suspects
        for message in messages:
            key, value = message.key(), message.value()
            if value is not None and value[: codec.HEADER_BYTES] in heads and key and key not in suspects and not self.strays:
                rows[key] = value
            else:
                self.take(key or b"", value, int(message.offset() or 0))

    def _look_at(self, key: bytes, value: bytes | None, offset: int) -> None:
        try:
            _decode(value, POSITIONS if key == POSITIONS_KEY else self._row)
        except codec.UndecodableError as error:
            self.strays[key] = Stray(offset, error.reason, error.detail, key, value)
        else:
            assert value is not None
            self.rows[key] = value
            self.strays.pop(key, None)

    def settle(self, task: str) -> None:
        """Look at the keys, now that everything is read. Raises MisconfiguredError where a row has nothing left to stand."""
        self.positions = self.rows.pop(POSITIONS_KEY, None)
        check_rows_known(task, positions_of(self.positions), self._topic.name, codec.schema_ids()[self._row])
        for key in self._no_keys():
            self.strays[key] = _misplaced(key, self.rows.pop(key), self._topic)
        # A tombstone where nothing stands: nothing ever stood there, or it was compacted away, and then nobody knows.
        self.strays = {key: stray._replace(stands=self._standing(key)) for key, stray in self.strays.items() if stray.value is not None or self._standing(key)}
        for stray in self.strays.values():
            if stray.stands is None and stray.key not in self._deleted and self._may_be_ours(stray.key):
                self._refuse(task, stray)

    def _standing(self, key: bytes) -> bytes | None:
        return self.positions if key == POSITIONS_KEY else self.rows.get(key)

    def _may_be_ours(self, key: bytes) -> bool:
        return key == POSITIONS_KEY or (self._is_key(key) and partition_of(key, self._place.partitions) == self._place.partition)

    def _refuse(self, task: str, stray: Stray) -> NoReturn:
        raise MisconfiguredError(
            f"task {task}: the record of {self._topic.name} partition {self._place.partition} offset {stray.offset} key {stray.key!r} is no "
            f"{self._row} ({stray.reason}: {stray.detail}), and no earlier one of that key is left. Restore the row (from a copy of the topic: write it "
            f"again under its key), or, if no such {self._topic.key} was ever in use, write a tombstone (a null value) under that key; "
            "then start the worker again"
        )

    def _no_keys(self) -> list[bytes]:
        """Return the keys that no stage can have used."""
        if self._topic.key == "order_id":
            return [key for key in self.rows if not self._is_key(key)]
        # Hot: most product IDs are plain to see.
        return [key for key in self.rows if not (0 < len(key) <= MOST_KEY_BYTES and key.isascii() and b"\0" not in key) and not self._is_key(key)]

    def _is_key(self, key: bytes) -> bool:
        """Whether a stage can have used this key."""
        if self._topic.key == "order_id":
            return key.isdigit() and not key.startswith(b"0") and len(key) < 20
        return 0 < len(key) <= 4 * MOST_KEY_BYTES and b"\0" not in key and _is_text(key)


def _misplaced(key: bytes, value: bytes, topic: Topic) -> Stray:
    """A row under a key that none has. Where it stands is not known any more: offsets are not kept for rows."""
    return Stray(-1, DeadLetterReason.WRONG_RECORD, f"no {topic.key} has this key", key, value)


def _is_text(key: bytes) -> bool:
    try:
        return len(key.decode()) <= MOST_KEY_BYTES
    except UnicodeDecodeError:
        return False


def _head(schema_id: int) -> bytes:
    return codec.MAGIC + schema_id.to_bytes(codec.HEADER_BYTES - 1, "big")


def _decode(value: bytes | None, name: str) -> None:
    """Raise UndecodableError unless these bytes are a record of that name."""
    if value is None:
        raise codec.UndecodableError(DeadLetterReason.WRONG_RECORD, f"a tombstone where a {name} stood, and this stage deletes none")
    found = codec.decode(value).name
    if found != name:
        raise codec.UndecodableError(DeadLetterReason.WRONG_RECORD, f"a {found} where a {name} belongs")


def read(settings: StreamSettings, changelog: Changelog, topic: Topic, partition: int, progress: Callable[[int], None]) -> None:
    """Read one changelog partition into `changelog`, in bulk, to the end of the log.

    To its very end: a transaction that a stranger left open holds a committed reader up before it, with rows of ours behind.
    """
    consumer = clients.bulk_reader(settings)
    try:
        clients.connect(consumer, settings, topic)
        at = TopicPartition(topic.named(settings.topic_prefix), partition, OFFSET_BEGINNING)
        consumer.assign([at])
        for messages in until_the_end(consumer, at, clients.POLL_SECONDS):
            changelog.take_all(messages)
            progress(len(changelog.rows))
    finally:
        consumer.close()


def until_the_end(consumer: Consumer, at: TopicPartition, wait: float) -> Iterator[list[Message]]:
    while True:
        messages = clients.consume(consumer, RECORDS, wait)
        ends = [message for message in messages if message.error() is not None]
        for end in ends:
            if clients.code_of(end) != KafkaError._PARTITION_EOF:
                raise KafkaException(end.error())
        yield [message for message in messages if message.error() is None] if ends else messages
        if ends and _is_whole(int(ends[-1].offset() or 0), consumer.get_watermark_offsets(at, cached=True)[1]):
            return


def _is_whole(read_to: int, high_watermark: int) -> bool:
    """Whether a committed reader that has come to its end has come to the log's."""
    if read_to < high_watermark:
        log.warning("an open transaction holds the changelog up, waiting for its end", read_to=read_to, end=high_watermark)
    return read_to >= high_watermark
