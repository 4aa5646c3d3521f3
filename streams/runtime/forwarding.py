"""Counts what came in on a wrong partition and was sent on to the right one: somebody produces with another partitioner."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from streams.runtime.records import StageKind, Write

log = structlog.get_logger("holdfast.runtime")


class Forwarding:
    """Of one task."""

    def __init__(self, task: str, kind: StageKind) -> None:
        self._task = task
        self._inputs = frozenset(topic.name for topic in kind.inputs)
        self.in_all = 0

    def note(self, writes: Iterable[Write]) -> None:
        """Count the records among a batch's writes that go back to an input, and say so."""
        now = sum(1 for write in writes if write.topic.name in self._inputs)
        if now:
            self.in_all += now
            log.warning("records of another partition forwarded", task=self._task, now=now, in_all=self.in_all)
