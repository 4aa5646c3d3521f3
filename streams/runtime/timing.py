"""How long a task's transactions take, for Prometheus, and a word about one that takes long."""

from __future__ import annotations

import time
from typing import Final

import structlog

from streams.runtime.batch import Batch
from streams.runtime.records import StageKind
from telemetry import figures

log = structlog.get_logger("holdfast.runtime")
LONG_SECONDS: Final = 0.3
"""Others wait for what a transaction says until it is committed. One that decides as much as it should stays below this."""


class Timing:
    """Of one task."""

    def __init__(self, task: str, kind: StageKind) -> None:
        self._task = task
        self._begun = 0.0
        self._records = figures.RECORDS.labels(kind.name)
        self._batches = figures.BATCH_RECORDS.labels(kind.name)
        self._decides = figures.DECIDE_SECONDS.labels(kind.name)
        self._transactions = figures.TRANSACTION_SECONDS.labels(kind.name)

    def begin(self) -> None:
        """A batch was taken; its transaction begins."""
        self._begun = time.monotonic()

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
