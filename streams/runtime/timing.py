"""How long a task's transactions take, for Prometheus and as spans, and a word about one that takes long."""

from __future__ import annotations

import time
from contextlib import AbstractContextManager
from typing import Final

import structlog

from streams.runtime.batch import Batch
from streams.runtime.records import StageKind
from streams.runtime.spans import spans_of
from telemetry import figures

log = structlog.get_logger("holdfast.runtime")
LONG_SECONDS: Final = 0.3
"""Others wait for what a transaction says until it is committed. One that decides as much as it should stays below this."""


class Timing:
    """Of one task."""

    def __init__(self, task: str, kind: StageKind, prefix: str) -> None:
        self.spans = spans_of(kind, prefix)
        self._task = task
        self._begun = 0.0
        self._records = figures.RECORDS.labels(kind.name)
        self._batches = figures.BATCH_RECORDS.labels(kind.name)
        self._decides = figures.DECIDE_SECONDS.labels(kind.name)
        self._transactions = figures.TRANSACTION_SECONDS.labels(kind.name)

    def begin(self, batch: Batch) -> AbstractContextManager[None]:
        """A batch was taken; its transaction begins, and within the block it is decided."""
        self._begun = time.monotonic()
        return self.spans.begin(batch)

    def decided(self) -> float:
        """Everything is with the producer; return how long that took, in seconds."""
        took = time.monotonic() - self._begun
        self._decides.observe(took)
        return took

    def committed(self, batch: Batch) -> None:
        """The batch counts."""
        took = time.monotonic() - self._begun
        self._transactions.observe(took)
        self._records.inc(len(batch.records))
        self._batches.observe(len(batch.records))
        if took > LONG_SECONDS:
            log.info("a transaction took long", task=self._task, seconds=round(took, 3), records=len(batch.records))
