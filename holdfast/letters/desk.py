"""Reads the dead letters and settles them: what is sent in a letter's stead and the mark that says so, in one transaction.

The producer has one transactional ID for the whole shop. Opening it ends what an earlier one had under way, committed or
aborted, before the marks are read; so a letter is settled once, however often a redrive is killed and repeated, and two that
run at once cannot both settle it: the earlier is fenced.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Final, TypeVar

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from holdfast.letters.book import Book, Letter, LetterId
from holdfast.letters.errors import LetterError
from holdfast.letters.plan import Redrive, Sending
from holdfast.log_whole import Progress, partitions_of, read_whole
from schemas.codec import encode
from schemas.outcomes import DeadLetterAction
from schemas.secure import kafka_settings
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, ORDERS, STOCK_COMMANDS

T = TypeVar("T")
LETTERS_AT_ONCE: Final = 200
RECORDS_AT_ONCE: Final = 5_000
"""Of one transaction, which holds up the readers of what it writes to; a letter of more is sent in one all the same."""
REQUEST_S: Final = 10.0
PATIENCE_S: Final = 60.0
OF_A_GENERATION: Final = 10_000
"""Letters of the second generation of the topics have this added to the partition in their ID, those of the third twice this."""
HEADER: Final = "holdfast-redriven"
"""Header of a record sent again: the dead letter's topic, partition and offset."""


def read_book(kafka: str, prefixes: Sequence[str], progress: Progress = lambda _done, _total: None) -> Book:
    """Read every dead letter and every mark, one generation of the topics after the other; raises LogError."""
    book = Book()
    for number, prefix in enumerate(prefixes):
        topic = DEAD_LETTERS.named(prefix)
        found = partitions_of(kafka, [topic], [topic] if prefix == prefixes[-1] else ())
        for message in read_whole(kafka, [(topic, partition) for partition in range(found.get(topic, 0))], progress):
            book.add(number * OF_A_GENERATION + int(message.partition() or 0), int(message.offset() or 0), message.value())
    return book


@dataclass(frozen=True)
class Mark:
    """Who settles letters, and why."""

    actor: str
    note: str = ""


@dataclass(frozen=True)
class Sent:
    """One record that stands in a letter's stead."""

    letter: LetterId
    topic: str
    partition: int
    offset: int
    order_id: int


class Desk:
    """Settles dead letters. Open one before the book is read whose letters it settles; then nothing is settled twice."""

    def __init__(self, kafka: str, prefix: str = "") -> None:
        self._prefix = prefix
        names = [topic.named(prefix) for topic in (ORDERS, STOCK_COMMANDS, ORDER_COMMANDS)]
        self.partitions = min(partitions_of(kafka, names).values())
        self._failed: list[KafkaError] = []
        self._producer = Producer(_settings(kafka, prefix))
        self._call(lambda: self._producer.init_transactions(PATIENCE_S))

    def redrive(self, groups: Sequence[Sequence[Redrive]], mark: Mark) -> Iterator[list[Sent]]:
        """Send the groups' records and mark their letters, some hundreds at a time; yields what each transaction sent."""
        for batch in _batches(groups):
            work = [(one, one.sendings(self.partitions)) for one in batch]
            yield self._transact(partial(self._send, work, mark))

    def discard(self, letters: Sequence[Letter], mark: Mark) -> Iterator[int]:
        """Mark letters as of no use; yields how many each transaction marked."""
        for start in range(0, len(letters), RECORDS_AT_ONCE):
            some = letters[start : start + RECORDS_AT_ONCE]
            self._transact(partial(self._throw_away, some, mark))
            yield len(some)

    def close(self) -> None:
        """Let go of the brokers; nothing is under way between two calls."""
        with suppress(KafkaException, SystemError):  # one that was fenced says so at every call
            self._producer.flush(0)

    def _throw_away(self, letters: Sequence[Letter], mark: Mark) -> None:
        for letter in letters:
            self._mark(letter, DeadLetterAction.DISCARDED, (), mark)

    def _send(self, work: Sequence[tuple[Redrive, list[Sending]]], mark: Mark) -> list[Sent]:
        sent: dict[LetterId, list[Sent]] = {one.letter.id: [] for one, _ in work}
        for one, sendings in work:
            for sending in sendings:
                self._produce(one.letter.id, sending, sent[one.letter.id])
        self._flush()  # the mark names the offsets
        for one, _ in work:
            self._mark(one.letter, DeadLetterAction.REDRIVEN, sent[one.letter.id], mark)
        return [each for some in sent.values() for each in some]

    def _produce(self, letter: LetterId, sending: Sending, sent: list[Sent]) -> None:
        name = sending.topic.named(self._prefix)

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                self._failed.append(error)
            else:
                sent.append(Sent(letter, sending.topic.name, sending.partition, int(message.offset() or 0), sending.order_id))

        origin = f"{DEAD_LETTERS.name}/{letter.partition}/{letter.offset}".encode()
        self._put(name, sending.value, sending.key, sending.partition, on_delivery=delivered, headers=[(HEADER, origin)])

    def _mark(self, letter: Letter, action: DeadLetterAction, sent: Sequence[Sent], mark: Mark) -> None:
        records = [{"topic": s.topic, "partition": s.partition, "offset": s.offset, "order_id": s.order_id} for s in sent]
        fields = {"partition": letter.id.partition, "offset": letter.id.offset, "action": action.name, "sent": records}
        said = {"actor": mark.actor, "note": mark.note, "settled_at": time.time_ns() // 1_000_000}
        value = encode("DeadLetterSettled", {**fields, **said})
        self._put(DEAD_LETTERS.named(self._prefix), value, letter.fields["topic"].encode(), letter.id.partition % OF_A_GENERATION % self.partitions)

    def _put(self, *what: Any, **more: Any) -> None:
        while True:
            try:
                self._producer.produce(*what, **more)
                return
            except BufferError:
                self._producer.poll(0.1)

    def _flush(self) -> None:
        left = self._producer.flush(PATIENCE_S)
        if self._failed:
            raise LetterError(_explained(self._failed[0]))
        if left:
            raise LetterError(f"{left} records were not acknowledged within {PATIENCE_S:.0f} s: nothing of this step is in the log. Run it again")

    def _transact(self, work: Callable[[], T]) -> T:
        """Do the work in a transaction of its own: all of it is in the log, or nothing."""
        self._failed.clear()
        self._call(self._producer.begin_transaction)
        try:
            done = work()
            self._call(lambda: self._producer.commit_transaction(REQUEST_S))
        except BaseException as error:
            fatal = self._abort()
            if isinstance(error, KeyboardInterrupt) or (fatal is None and not isinstance(error, SystemError)):
                raise
            raise LetterError(_explained(fatal) if fatal else _UNEXPLAINED) from error
        return done

    def _abort(self) -> KafkaError | None:
        """End the transaction: left open, it would hold up every reader behind it until the brokers lose patience.

        Returns why this producer is of no use any more, or None. The client says a fatal error within whatever is called next,
        there as a bare SystemError; asked again it gives the reason.
        """
        for _ in range(2):
            try:
                self._producer.abort_transaction(REQUEST_S)
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                return error if error.fatal() or error.code() in _FENCED else None
            except SystemError:
                continue
            return None
        return None

    def _call(self, ask: Callable[[], T]) -> T:
        """Ask again while the answer may still come. What stays unknown the next Desk ends, and its book shows which way."""
        until = time.monotonic() + PATIENCE_S
        while True:
            try:
                return ask()
            except KafkaException as exception:
                error: KafkaError = exception.args[0]
                if not error.retriable() or time.monotonic() > until:
                    raise LetterError(_explained(error)) from exception

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()


def _explained(error: KafkaError) -> str:
    if error.code() in _FENCED:
        return "another redrive or discard has begun since: this one stops. Run it again when the other is done: what was settled is not settled twice"
    return f"Kafka did not do what was asked: {error.str()}. Run it again: what was settled is not settled twice"


_UNEXPLAINED: Final = "the Kafka client gave up and did not say why. Run it again: what was settled is not settled twice"
_FENCED: Final = frozenset({KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH})


def _batches(groups: Sequence[Sequence[Redrive]]) -> Iterator[list[Redrive]]:
    """Cut the groups into batches; a group stays whole."""
    batch: list[Redrive] = []
    for group in groups:
        records = sum(len(one.items) for one in (*batch, *group))
        if batch and (len(batch) + len(group) > LETTERS_AT_ONCE or records > RECORDS_AT_ONCE):
            yield batch
            batch = []
        batch = [*batch, *group]
    if batch:
        yield batch


def _settings(kafka: str, prefix: str) -> dict[str, str | int | bool]:
    return {
        **kafka_settings(kafka),
        "transactional.id": f"{prefix}holdfast.dead-letters",
        "transaction.timeout.ms": 10_000,
        "compression.type": "lz4",
        "linger.ms": 5,
        "message.max.bytes": DEAD_LETTERS.max_message_bytes,
        "log_level": 2,
    }
