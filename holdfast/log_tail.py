"""Reads topics, all partitions, without a group: nothing is committed and nobody's work is taken away."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager

from confluent_kafka import OFFSET_BEGINNING, OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition

from generations.readers import reader_settings
from holdfast.stack.errors import StackError

AT_ONCE = 1_000
METADATA_S = 30.0


class LogError(StackError):
    """The topics cannot be read; the text says why."""


class LogTail:
    """What has been committed to topics; `starts` says of each, by its name on the brokers, whether from its beginning."""

    def __init__(self, bootstrap: str, starts: Mapping[str, bool]) -> None:
        self._bootstrap = bootstrap
        self._consumer = Consumer(reader_settings(bootstrap, "holdfast.tail"))
        with explained(bootstrap):
            self._unread = self._assign(starts)

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    @property
    def is_at_end(self) -> bool:
        """Whether every partition has been read to its end at least once."""
        return not self._unread

    def read(self, seconds: float) -> list[Message]:
        """Return the next records, at most 1,000; waits for them up to `seconds`. Raises LogError."""
        with explained(self._bootstrap):
            return [message for message in self._consumer.consume(AT_ONCE, seconds) if self._is_record(message)]

    def to_end(self) -> Iterator[Message]:
        """Yield every record up to the ends."""
        while not self.is_at_end:
            yield from self.read(0.2)

    def _assign(self, starts: Mapping[str, bool]) -> set[tuple[str, int]]:
        present = self._consumer.list_topics(timeout=METADATA_S).topics
        for topic in starts:
            if topic not in present:
                raise LogError(f"topic {topic} does not exist: run `holdfast topics create`")
        places = [(topic, number) for topic in starts for number in present[topic].partitions]
        self._consumer.assign([TopicPartition(topic, number, OFFSET_BEGINNING if starts[topic] else OFFSET_END) for topic, number in places])
        return set(places)

    def _is_record(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._PARTITION_EOF:
            self._unread.discard((str(message.topic()), int(message.partition() or 0)))
        elif not error.retriable():
            raise KafkaException(error)
        return False


def whole(bootstrap: str, topics: Iterable[str]) -> Iterator[Message]:
    """Yield every committed record of these topics, from the beginning to the end as it is now."""
    tail = LogTail(bootstrap, dict.fromkeys(topics, True))
    try:
        yield from tail.to_end()
    finally:
        tail.close()


@contextmanager
def explained(bootstrap: str) -> Iterator[None]:
    """Turn Kafka's exceptions into one a person can use."""
    try:
        yield
    except KafkaException as error:
        raise LogError(f"Kafka at {bootstrap} cannot be read: {error.args[0].str()}") from error
