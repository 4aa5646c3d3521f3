"""A span per batch, with links to what its records come from (telemetry/traces.py); nothing at all while spans are off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from confluent_kafka import Message, Producer

from schemas.topics import Topic
from streams.config import StreamSettings
from streams.runtime.batch import Batch
from streams.runtime.clients import Reader
from streams.runtime.records import Record, StageKind
from telemetry import traces
from telemetry.context import Causes
from telemetry.traces import Span, Tracing


class NoSpans:
    """Of one task while spans are off."""

    def reader(self, settings: StreamSettings, inputs: Sequence[Topic], partition: int) -> Reader:
        """Return a reader that stands nowhere yet."""
        return Reader(settings, inputs, partition, {})

    def begin(self, batch: Batch) -> AbstractContextManager[None]:  # noqa: ARG002 - nobody hears of it
        """A batch is decided, within the block."""
        return nullcontext()

    def producer(self, producer: Producer) -> Any:
        """Return what the batch's records are written with."""
        return producer

    def acting(self) -> AbstractContextManager[None]:
        """What is done outside the log follows from the batch, within the block."""
        return nullcontext()

    def end(self, error: str = "") -> None:
        """The batch's transaction has ended."""


class BatchSpans(NoSpans):
    """Of one task."""

    def __init__(self, kind: StageKind, tracing: Tracing, prefix: str) -> None:
        self._kind = kind
        self._tracing = tracing
        self._unmarked = kind.changelog.named(prefix)
        self._reader: TracedReader | None = None
        self._causes = Causes()
        self._attributes: Mapping[str, str | int] = {}
        self._began_ns = 0
        self._span: Span | None = None

    def reader(self, settings: StreamSettings, inputs: Sequence[Topic], partition: int) -> Reader:
        self._reader = TracedReader(settings, inputs, partition, {})
        return self._reader

    def begin(self, batch: Batch) -> AbstractContextManager[None]:
        self._began_ns = traces.now_ns()
        self._causes = Causes() if batch.is_timer or self._reader is None else self._reader.causes
        self._attributes = {**traces.counted(len(batch.records)), "holdfast.stage": batch.stage, "holdfast.partition": batch.partition}
        return traces.noting(self._causes)

    def producer(self, producer: Producer) -> Any:
        """The span begins here, so that it has links to all that came up while deciding; its time is the batch's."""
        if not self._attributes:
            return producer
        if self._span is None:
            self._span = self._tracing.batch(f"{self._kind.name} batch", self._causes, self._attributes, self._began_ns)
        return MarkingProducer(producer, self._unmarked, self._span.headers() or None)

    def acting(self) -> AbstractContextManager[None]:
        return traces.within(self._span)

    def end(self, error: str = "") -> None:
        if self._span is not None:
            self._span.end(error)
        self._span, self._attributes = None, {}


class TracedReader(Reader):
    """Also keeps in mind which contexts are in the headers of the records that the last read gave."""

    causes: Causes = Causes()

    def read(self, limit: int, patience: float | None = None, gather: float = 0.0) -> list[Record]:
        self.causes = Causes()
        return super().read(limit, patience, gather)

    def _step(self, message: Message) -> Record | None:
        record = super()._step(message)
        if record is not None:
            self.causes.note(message.headers())
        return record


class MarkingProducer:
    """Writes with the headers of a span; rows need none."""

    def __init__(self, producer: Producer, unmarked: str, headers: list[tuple[str, bytes]] | None) -> None:
        self._produce: Any = producer.produce
        self._unmarked = unmarked
        self._headers = headers
        self.poll = producer.poll

    def produce(self, topic: str, *write: Any) -> None:
        if topic == self._unmarked or self._headers is None:
            self._produce(topic, *write)
        else:
            self._produce(topic, *write, headers=self._headers)


def spans_of(kind: StageKind, prefix: str) -> NoSpans:
    """Return the spans of one task."""
    tracing = traces.current()
    return NoSpans() if tracing is None else BatchSpans(kind, tracing, prefix)
