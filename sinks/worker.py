"""The one loop: poll, write, commit. Whatever goes wrong, the way back is one: ask the store where it stands, read from there."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, Protocol

import structlog

import failpoints
from sinks import batch
from sinks.alarms import Alarm
from sinks.config import Settings
from sinks.dead_letters import DeadLetters
from sinks.errors import NotNowError, PositionMovedError
from sinks.rows import Partition
from sinks.source import Polled, Source
from sinks.store import Store
from telemetry import figures, traces

log = structlog.get_logger()

POLL_S: Final = 0.2
CHECK_EVERY_S: Final = 1.0
FIRST_DELAY_S: Final = 0.1
LONGEST_DELAY_S: Final = 3.0
REMIND_EVERY_S: Final = 30.0
ALARMS_SAID: Final = 5
"""Of a batch, in the log; all of them are counted."""


class Stop(Protocol):
    """Says whether the loop is to end (threading.Event does)."""

    def is_set(self) -> bool: ...


def back_off(failures: int, wanted_s: float, jitter: float) -> float:
    """Return how long to wait (s) after so many failures in a row: doubling, between a half and the whole by `jitter` 0..1."""
    grown: float = min(LONGEST_DELAY_S, FIRST_DELAY_S * 2 ** min(failures - 1, 10))
    return max(wanted_s, grown) * (0.5 + jitter / 2)


class Worker:
    """Keeps one store up to date with the log. `announce` hears of each new set of partitions."""

    def __init__(
        self, settings: Settings, source: Source, store: Store, dead_letters: DeadLetters, announce: Callable[[Iterable[Partition]], None] = lambda _: None
    ) -> None:
        self._settings = settings
        self._source = source
        self._store = store
        self._dead_letters = dead_letters
        self._announce = announce
        self._joined = False
        self._positions: dict[Partition, int] | None = None
        self._ends: dict[Partition, int] = {}
        self._checked_at = 0.0
        self._failures = 0
        self._failing_since = 0.0
        self._said_at = 0.0

    def run(self, stop: Stop) -> None:
        """Work until `stop` is set: the batch in hand is finished, the group is left. Raises what nobody foresaw."""
        try:
            while not stop.is_set():
                self._step(stop)
            self._reach("stopping")
            self._source.commit(self._positions or {}, now=True)
        finally:
            self._source.close()
            self._store.close()
            self._dead_letters.close()

    def _reach(self, step: str) -> None:
        failpoints.reach(f"sink-{self._store.name}.{step}")

    def _step(self, stop: Stop) -> None:
        try:
            if self._positions is None or self._source.changed or self._source.is_blind:
                self._open()
            self._take()
        except NotNowError as error:
            self._failed("not now; waiting", error)
            self._wait(error.delay_s, stop)
        except PositionMovedError as error:
            self._failed("the store stands somewhere else; going on from there", error)
            # Not at once: two writers that each believe a partition theirs would drive each other in circles.
            self._wait(0, stop)

    def _open(self) -> None:
        """Go on from where the store stands."""
        if self._source.is_blind:
            log.warning("the client lost sight of the group or of a partition; taking a new one", store=self._store.name)
            self._source.renew()
            self._joined = False
        if not self._joined:
            self._source.join()
            self._joined = True
            self._reach("joined")
        assigned = self._source.assigned
        self._positions, self._ends = None, {}
        positions = self._store.open(assigned) if assigned else {}
        if positions:
            self._reach("positions-read")
        self._source.start(self._source.starts(positions))
        self._positions, self._checked_at = positions, time.monotonic()
        self._announce(assigned)
        if positions:
            log.info("reading", store=self._store.name, partitions={f"{topic}[{number}]": at for (topic, number), at in sorted(positions.items())})

    def _take(self) -> None:
        polled = self._source.poll(POLL_S)
        if self._source.changed:
            return
        self._ends.update(polled.ends)
        if polled.records:
            self._reach("polled")
            self._write(polled)
        elif not polled:
            self._idle()

    def _write(self, polled: Polled) -> None:
        with traces.batch(f"sink {self._store.name} batch", polled.causes, {**traces.counted(len(polled.records)), "holdfast.store": self._store.name}):
            for some in batch.chunks(polled.records, self._settings.sink_batch_bytes):
                self._keep(batch.fold(some))

    def _keep(self, folded: batch.Batch) -> None:
        """Write one batch with its positions; only then do we stand behind it."""
        positions = self._held()
        moves = batch.moves(positions, folded.ends)
        self._reach("folded")
        self._alarm(folded.alarms)
        self._dead_letters.send(folded.unstorable, time.time_ns() // 1_000_000)
        if folded.unstorable:
            self._reach("dead-letters-sent")
        with figures.SINK_BATCH_SECONDS.labels(self._store.name).time():
            self._store.write(folded, moves)
        self._reach("committed")
        positions.update(folded.ends)
        self._reach("moved")
        self._count(folded)
        self._checked_at = time.monotonic()
        self._recovered()
        self._source.commit(positions)
        self._reach("group-committed")

    def _alarm(self, alarms: Sequence[Alarm]) -> None:
        """A broken promise is stored like everything else, for the stores follow the log; but people have to know at once."""
        for alarm in alarms:
            figures.ALARMS.labels(alarm.promise).inc()
        for alarm in alarms[:ALARMS_SAID]:
            log.error("a promise is broken: run `holdfast audit --live`", promise=alarm.promise, what=alarm.text, store=self._store.name)

    def _count(self, folded: batch.Batch) -> None:
        for kind, rows in (("product", len(folded.products)), ("order", len(folded.orders)), ("line", folded.lines)):
            figures.SINK_ROWS.labels(self._store.name, kind).inc(rows)

    def _idle(self) -> None:
        """Nothing to read: stand at the very end, behind the transaction markers, and look whether the store is still what it was."""
        positions = self._held()
        ends = {partition: end for partition, end in self._ends.items() if end > positions[partition]}
        self._ends = {}
        if ends:
            self._keep(batch.Batch(ends=ends))
        elif positions and time.monotonic() - self._checked_at >= CHECK_EVERY_S:
            self._store.check(positions)
            self._checked_at = time.monotonic()
            self._recovered()
            self._source.commit(positions)

    def _failed(self, what: str, error: Exception) -> None:
        """Count a failure, and say so: the first of a row, then one now and then."""
        now = time.monotonic()
        self._failures += 1
        figures.SINK_FAILURES.labels(self._store.name).inc()
        if self._failures == 1:
            self._failing_since = self._said_at = now
            log.warning(what, store=self._store.name, reason=str(error))
        elif now - self._said_at >= REMIND_EVERY_S:
            self._said_at = now
            log.warning("still not", store=self._store.name, reason=str(error), for_s=round(now - self._failing_since), attempts=self._failures)

    def _wait(self, wanted_s: float, stop: Stop) -> None:
        """Read nothing for a while, but answer the group, so that the partitions stay ours."""
        self._positions = None
        if self._joined:
            self._source.stop()
        until = time.monotonic() + back_off(self._failures, wanted_s, random.random())  # noqa: S311 (jitter)
        while not stop.is_set() and (left := until - time.monotonic()) > 0:
            self._pause(min(left, POLL_S))

    def _pause(self, seconds: float) -> None:
        if self._joined:
            self._source.poll(seconds)
        else:
            time.sleep(seconds)

    def _recovered(self) -> None:
        if self._failures:
            log.info("going on", store=self._store.name, after_s=round(time.monotonic() - self._failing_since, 1), attempts=self._failures)
        self._failures = 0

    def _held(self) -> dict[Partition, int]:
        assert self._positions is not None, "written before the store said where it stands"
        return self._positions


def by_topic(partitions: Iterable[Partition]) -> Mapping[str, list[int]]:
    """Return the partition numbers of each topic, sorted."""
    found: dict[str, list[int]] = {}
    for topic, number in sorted(partitions):
        found.setdefault(topic, []).append(number)
    return found
