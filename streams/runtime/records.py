"""What goes into a batch and what comes out of it: plain values, no Kafka client in sight."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
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
    def check_some(self) -> None: ...


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

    def committed(self) -> None:
        """What was decided since the last call is committed: now it may be acted on outside the log."""

    def patience(self) -> float | None:
        """Return how long an idle read may wait, in seconds, before `is_due` is asked again; None: the usual time."""
        ...

    def held_back(self) -> Mapping[str, int]:
        """Return topic -> offset of the oldest record that was taken and whose answer is still to come from outside: lag, to others."""
        ...

    def close(self) -> None:
        """The rows are given up: whatever is under way outside the log is somebody else's now."""


class DecidesAlone:
    """What every stage has in common that asks nobody outside the log."""

    def committed(self) -> None:
        """Nothing waits for the commit."""

    def patience(self) -> float | None:
        return None

    def held_back(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        """Nothing is under way outside."""


class BrokenRowError(Exception):
    """A row of the changelog cannot be made of what is recorded under its key (the key's bytes)."""

    def __init__(self, key: bytes, why: str) -> None:
        super().__init__(f"row {key!r}: {why}")
        self.key = key


class StageKind(NamedTuple):
    """A stage by name: what it reads, where its rows are kept, how its state is made.

    `forgets`: it deletes rows, so a tombstone on its changelog may be its own. `voice`: an output of whose partition p the
    stage's task p is the only writer: what it has said there, it has decided.
    """

    name: str
    inputs: tuple[Topic, ...]
    changelog: Topic
    new: Callable[[Place], Stage]
    voice: Topic
    forgets: bool = False
