"""What goes into a batch and what comes out of it: plain values, no Kafka client in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

from schemas.topics import Topic


class Record(NamedTuple):
    """One record as read: the logical topic name (without prefix), where it stood, its key and bytes."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class Write(NamedTuple):
    """One record to be written in the batch's transaction; value None is a tombstone."""

    topic: Topic
    partition: int
    key: bytes | None
    value: bytes | None


class Place(NamedTuple):
    """Which partition a task owns, out of how many."""

    partition: int
    partitions: int


class RowsLike(Protocol):
    """The rows of a stage, as far as a table shows them."""

    def find(self, key: Any, /) -> Any: ...
    def keys_all(self) -> Iterator[Any]: ...
    def count_all(self) -> int: ...


class Stage(Protocol):
    """The rows of one task and the pure decision over them. Made anew whenever the task opens."""

    @property
    def rows(self) -> RowsLike: ...

    def restore(self, rows: dict[bytes, bytes]) -> None:
        """Take the changelog's rows: key -> last value."""

    def decide(self, records: Sequence[Record], now: int) -> list[Write]:
        """Decide one batch (`now` in ms): changes the rows, returns everything to be written, changed rows included."""

    def is_due(self, now: int) -> bool:
        """Whether a deadline has passed, so that a timer batch is wanted."""

    def expire(self, now: int) -> list[Write]:
        """Decide every deadline that has passed: a timer batch."""


class StageKind(NamedTuple):
    """A stage by name: what it reads, where its rows are kept, how its state is made."""

    name: str
    inputs: tuple[Topic, ...]
    changelog: Topic
    new: Callable[[Place], Stage]
