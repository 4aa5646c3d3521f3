"""A worker that notes what each of its batches waited for: `faust -A bench.waits_worker worker`, as `python -m bench.latency --waits` starts it.

Writes a JSON list per line into the file that HOLDFAST_BENCH_WAITS names; bench/waits.py reads them.
"""

from __future__ import annotations

import gc
import json
import os
import time
from pathlib import Path
from typing import Any

from streams.runtime import tasks
from streams.runtime.batch import Batch
from streams.runtime.records import Record
from streams.runtime.task import Task

notes = Path(os.environ["HOLDFAST_BENCH_WAITS"]).open("a", buffering=1)  # noqa: SIM115 -- as long as the worker
begun = 0.0


def note(*fields: object) -> None:
    notes.write(json.dumps(fields) + "\n")


class NotingTask(Task):
    """As a task; `at` are the moments at which its batch came to the steps of bench/waits.py."""

    at: list[float]

    def _taken(self, *how: Any) -> list[Record]:
        self.at = [time.monotonic()]
        records = super()._taken(*how)
        self.at.append(time.monotonic())
        return records

    async def _offer(self, records: list[Record]) -> None:
        self.at.append(time.monotonic())
        await super()._offer(records)
        note(self.kind.name, len(records), *self.at, time.monotonic())

    def begin(self, batch: Batch) -> None:
        self.at.append(time.monotonic())
        super().begin(batch)
        self.at.append(time.monotonic())

    def _commit(self) -> bool:
        self.at.append(time.monotonic())
        try:
            return super()._commit()
        finally:
            self.at.append(time.monotonic())


def collected(phase: str, info: dict[str, Any]) -> None:
    """Note each of Python's collections of garbage."""
    global begun
    if phase == "start":
        begun = time.monotonic()
    else:
        note("gc", info["generation"], begun, time.monotonic())


vars(tasks)["Task"] = NotingTask
gc.callbacks.append(collected)

from streams.app import app  # noqa: E402 -- it makes its tasks of the class that it finds

__all__ = ["app"]
