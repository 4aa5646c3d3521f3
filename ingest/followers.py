"""Follow topics of answers for those who wait: read from now on, and hand each record to whoever watches its key.

Only records that somebody watches are decoded. A reader runs in a thread while anybody watches, and for a little longer.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Collection, Hashable, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

from confluent_kafka import Consumer, KafkaException, Message, TopicPartition

from ingest.errors import BrokerUnavailableError
from ingest.generation import Where
from schemas.codec import UndecodableError, decode, record_name
from schemas.secure import kafka_settings

log = logging.getLogger(__name__)

IDLE_S: Final = 30.0
"""A reader goes on for so long after its last watcher left: the next one need not wait until it has found its place."""
_POLL_S: Final = 0.05
_TIMEOUT_S: Final = 10.0
_BATCH: Final = 1_000

Found: TypeAlias = list[tuple[Hashable, Any]]
Pick: TypeAlias = Callable[[Message, Collection[Hashable]], Iterable[tuple[Hashable, Any]]]
"""What of one record is watched, by key. Called in the reader's thread; may raise UndecodableError."""


class Said(NamedTuple):
    """A record and where it stands in its topic."""

    name: str
    value: Mapping[str, Any]
    partition: int
    offset: int


def said(message: Message) -> Said:
    """Decode a record; raises UndecodableError."""
    name, value, _ = decode(message.value())
    return Said(name, value, message.partition() or 0, message.offset() or 0)


def pick_outcome(message: Message, watched: Collection[Hashable]) -> Iterable[tuple[Hashable, Any]]:
    """Pick OrderOutcome and OrderCommandRefused of watched orders: (key bytes of the order, Said)."""
    key = message.key()
    return [(key, said(message))] if key in watched else ()


def pick_movements(message: Message, watched: Collection[Hashable]) -> Iterable[tuple[Hashable, Any]]:
    """Pick items of StockMovements of watched commands: ((command ID, product ID), the item's fields)."""
    if not watched or record_name(message.value()) != "StockMovements":
        return ()
    value = decode(message.value()).value
    columns = {name: column for name, column in value.items() if name not in {"partition", "decided_at"}}
    keys = zip(value["command_id"], value["product_id"], strict=True)
    return [(key, {name: column[at] for name, column in columns.items()}) for at, key in enumerate(keys) if key in watched]


class Watch:
    """What comes for one key, in the order of the log. Use as a context manager."""

    def __init__(self, follower: Follower, key: Hashable) -> None:
        self._follower = follower
        self.key = key
        self.values: asyncio.Queue[Any] = asyncio.Queue()

    async def next(self, deadline: float) -> Any | None:
        """Return the next value, None if none came before `deadline` (the event loop's time, in s)."""
        try:
            async with asyncio.timeout_at(deadline):
                return await self.values.get()
        except TimeoutError:
            return None

    def __enter__(self) -> Watch:
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.forget(self)


class Follower:
    """One topic's watchers and its reader. All methods are for the event loop's thread."""

    def __init__(self, kafka: str, where: Callable[[], Where], pick: Pick, loop: asyncio.AbstractEventLoop) -> None:
        self._kafka = kafka
        self.where = where
        self._pick = pick
        self._loop = loop
        self._watched: dict[Hashable, set[Watch]] = {}
        self._reader: _Reader | None = None
        self._idle: asyncio.TimerHandle | None = None

    async def watch(self, key: Hashable) -> Watch:
        """Watch a key: whatever is written after this call returned is seen. Raises BrokerUnavailableError."""
        watch = Watch(self, key)
        self._watched.setdefault(key, set()).add(watch)
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None
        try:
            await self._started()
        except BaseException:
            self.forget(watch)
            raise
        return watch

    def forget(self, watch: Watch) -> None:
        """Watch no more."""
        watches = self._watched.get(watch.key, set())
        watches.discard(watch)
        if not watches:
            self._watched.pop(watch.key, None)
        if not self._watched and self._idle is None:
            self._idle = self._loop.call_later(IDLE_S, self._stop)

    async def close(self) -> None:
        """Stop reading."""
        if self._idle is not None:
            self._idle.cancel()
        reader = self._stop()
        if reader is not None:
            await asyncio.to_thread(reader.thread.join)

    async def _started(self) -> None:
        if self._reader is None:
            self._reader = _Reader(self)
        reader = self._reader
        try:
            await asyncio.shield(reader.ready)
        except KafkaException as error:
            if self._reader is reader:
                self._reader = None
            raise BrokerUnavailableError(f"the brokers do not say where {self.where().topic} ends: {error.args[0].str()}") from error

    def _stop(self) -> _Reader | None:
        reader, self._reader, self._idle = self._reader, None, None
        if reader is not None:
            reader.stopping.set()
        return reader

    # What the reader's thread uses.

    def consumer(self, topic: str) -> Consumer:
        """Return a consumer that stands at the topic's end; raises KafkaException."""
        own = {
            **kafka_settings(self._kafka),
            "group.id": "holdfast.gateway",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
            "log_level": 2,
        }
        consumer = Consumer(own)
        try:
            at = _partitions(consumer, topic)
            # The end as a number: asked for by name, it would be looked up only when the first fetch is made.
            ends = [consumer.get_watermark_offsets(one, timeout=_TIMEOUT_S)[1] for one in at]
            consumer.assign([TopicPartition(topic, one.partition, end) for one, end in zip(at, ends, strict=True)])
        except KafkaException:
            consumer.close()
            raise
        return consumer

    def pick(self, messages: Iterable[Message], base: int) -> Found:
        """Return what of these records is watched; `base` is added to their offsets."""
        found: Found = []
        for message in messages:
            if message.error() is not None:
                continue
            try:
                found.extend((key, _placed(value, base)) for key, value in self._pick(message, self._watched))
            except UndecodableError as error:
                log.warning("%s[%s] at %s is not followed: %s", message.topic(), message.partition(), message.offset(), error)
        return found

    def hand_over(self, found: Found) -> None:
        """Give to the watchers what was found; from the reader's thread."""
        self._loop.call_soon_threadsafe(self._take, found)

    def call(self, action: Callable[[], object]) -> None:
        """Run an action in the event loop; from the reader's thread."""
        self._loop.call_soon_threadsafe(action)

    def _take(self, found: Found) -> None:
        for key, value in found:
            for watch in self._watched.get(key, ()):
                watch.values.put_nowait(value)

    def new_ready(self) -> asyncio.Future[None]:
        """Return what a reader fulfils once it stands at the end."""
        return self._loop.create_future()


class _Reader:
    """The thread: finds the topic's end, says that it is ready, reads on until told to stop."""

    def __init__(self, follower: Follower) -> None:
        self._follower = follower
        self.ready = follower.new_ready()
        self.stopping = threading.Event()
        self.thread = threading.Thread(target=self._run, name="follower", daemon=True)
        self.thread.start()

    def _run(self) -> None:
        where = self._follower.where()
        try:
            consumer = self._follower.consumer(where.topic)
        except KafkaException as error:
            why = error
            self._follower.call(lambda: self.ready.set_exception(why))
            return
        self._follower.call(lambda: self.ready.set_result(None))
        try:
            while not self.stopping.is_set():
                messages = consumer.consume(_BATCH, _POLL_S)
                if found := self._follower.pick(messages, where.base):
                    self._follower.hand_over(found)
                if not messages and self._follower.where() != where:
                    where = _gone_on(consumer, where, self._follower.where())
        finally:
            consumer.close()


def _partitions(consumer: Consumer, topic: str) -> list[TopicPartition]:
    return [TopicPartition(topic, number) for number in consumer.list_topics(topic, timeout=_TIMEOUT_S).topics[topic].partitions]


def _gone_on(consumer: Consumer, before: Where, after: Where) -> Where:
    """Go on in the topic of a new generation, from its beginning; where the brokers do not answer, later."""
    try:
        at = _partitions(consumer, after.topic)
    except KafkaException as error:
        log.warning("%s cannot be followed yet: %s", after.topic, error)
        return before
    consumer.assign([TopicPartition(one.topic, one.partition, 0) for one in at])
    return after


def _placed(value: Any, base: int) -> Any:
    return value._replace(offset=value.offset + base) if base and isinstance(value, Said) else value
