"""Loads a file of invoices into the log: survey, opening stock, then everything in file order; resumable at any moment."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from typing import Any, Final, Protocol

import failpoints
from ingest.backfill_plan import Chunk, Counts, PlannedReturn, Planner, Survey, check_repeatable, chunks, opening
from ingest.config import IngestConfig
from ingest.errors import BrokerUnavailableError, ConfigError, FileError
from ingest.load_state import LoadState, Progress, load_state, resume
from ingest.log_writer import LogWriter
from ingest.order_ids import OrderIds, clock_ms
from ingest.pace import Pace
from ingest.retail_file import RetailFile
from ingest.retail_rows import is_service
from ingest.sender import Sender
from ingest.settled import QUIET_S, wait_until_settled
from ingest.taken import PATIENCE_S, wait_until_taken
from schemas.topics import ORDERS

DEFAULT_SOURCE: Final = "online-retail"
DEFAULT_SHARE: Final = Decimal("0.9")
CHUNK_ROWS: Final = 16_000
"""Rows planned, bound and sent together: enough for full records to every partition, and for few but large transactions behind them."""
SAVE_EVERY_S: Final = 0.5
ACK_TIMEOUT_S: Final = 60.0
_LISTEN_ROWS: Final = 2_000
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,31}")


class Listener(Protocol):
    """Hears how a load goes on: a phase (reading, opening, sending, settling), and how much of how much is done."""

    def __call__(self, phase: str, done: int, total: int) -> None: ...


@dataclass(frozen=True)
class Wish:
    """What to load and how. `share`: opening stock as a share of demand, None for that of the load begun before, or 0.9.

    `rate`: rows per second at most. `resend`: send everything again, under the same IDs.
    """

    path: Path
    source: str = DEFAULT_SOURCE
    share: Decimal | None = None
    rate: float | None = None
    resend: bool = False
    patience_s: float = PATIENCE_S
    quiet_s: float = QUIET_S

    def __post_init__(self) -> None:
        if not _SOURCE.fullmatch(self.source):
            raise ConfigError(f"--source is {self.source!r}: use up to 32 letters, digits, dots, dashes and underscores")


@dataclass(frozen=True)
class Report:
    """What a load did. `counts` are of the whole file; `rows_sent` are those of this run, after `resumed_at` rows of earlier ones."""

    source: str
    counts: Counts
    products: int
    services: int
    opening_units: int
    rows_sent: int = 0
    resumed_at: int = 0
    already_loaded: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as one flat JSON object."""
        own = {k: v for k, v in vars(self).items() if k not in {"counts", "source", "seconds"}}
        return {"source": self.source, **self.counts.as_dict(), **own, "seconds": round(self.seconds, 3)}


def dry_run(wish: Wish, listen: Listener) -> Report:
    """Plan a whole file and count, without any server; raises FileError."""
    began, file, counts = time.monotonic(), RetailFile(wish.path), Counts()
    survey = _survey(file, listen)
    share = DEFAULT_SHARE if wish.share is None else wish.share
    _count(file, survey, wish, counts)
    return replace(_report(wish, survey, share, counts), seconds=time.monotonic() - began)


def load(where: Callable[[], IngestConfig], wish: Wish, listen: Listener) -> Report:
    """Load a file, or what is left of it; raises FileError, LoadError, StoreError, PublishError or IdError.

    After any of them, and after a kill, the same call goes on where the brokers had everything. `where` is asked for the servers
    once the file is known to be whole.
    """
    _arm_failpoints()
    began, file = time.monotonic(), RetailFile(wish.path)
    survey, config = _survey(file, listen), where()
    with load_state(config.mysql, wish.source) as state:
        progress = _begin(state, wish, file, survey)
        counts = Counts()
        if progress.finished:
            _count(file, survey, wish, counts)
        else:
            with OrderIds(config.mysql) as ids:
                _Run(config, wish, listen, state, ids).run(file, survey, progress, counts)
    report = _report(wish, survey, Decimal(progress.share), counts)
    sent, done = counts.rows - progress.rows_done, progress.rows_done
    return replace(report, rows_sent=sent, resumed_at=done, already_loaded=progress.finished, seconds=time.monotonic() - began)


def _arm_failpoints() -> None:
    try:
        failpoints.arm_from_environment()
    except failpoints.FailpointsError as error:
        raise ConfigError(str(error)) from error


class _Run:
    """One run of a load that has something to send."""

    def __init__(self, config: IngestConfig, wish: Wish, listen: Listener, state: LoadState, ids: OrderIds) -> None:
        self._config = config
        self._wish = wish
        self._listen = listen
        self._state = state
        self._ids = ids
        self._bound: dict[str, int] = {}
        self._writer = LogWriter(config.kafka, config.topic_prefix, ack_timeout_s=ACK_TIMEOUT_S, linger_ms=20)
        self._saved_at = 0.0

    def run(self, file: RetailFile, survey: Survey, progress: Progress, counts: Counts) -> None:
        if not progress.opened:
            self._open(survey, file.name, progress.share)
            failpoints.reach("load.opening-taken")
            progress = replace(progress, opened=True)
            self._state.save(progress)
            failpoints.reach("load.opened")
        sender = Sender(self._writer, self._bind, file.name, progress.rows_done, clock_ms)
        pace = Pace(self._wish.rate)
        returns: list[PlannedReturn] = []
        for chunk in _planned(file, survey, self._wish, counts, progress.rows_done, returns):
            sender.send_chunk(chunk)
            failpoints.reach("load.chunk-sent")
            self._save_now_and_then(progress, sender.acknowledged.rows)
            self._listen("sending", chunk.last_row, survey.rows)
            pace.wait(chunk.last_row - progress.rows_done, sender.check)
        self._flush(sender)
        if file.digest != progress.digest:
            raise FileError(f"{file.path} changed while it was being loaded: put back what it was, then run the same command again")
        failpoints.reach("load.acknowledged")
        self._state.save(replace(progress, rows_done=survey.rows))
        failpoints.reach("load.rows-done")
        self._return(returns, sender, survey.rows)
        failpoints.reach("load.returns-acknowledged")
        self._state.finish()
        failpoints.reach("load.finished")

    def _return(self, returns: list[PlannedReturn], sender: Sender, rows: int) -> None:
        """Send the returns once the orders are decided and, where a warehouse works, shipped; a second time they change nothing."""
        if returns:
            self._listen("settling", 0, 1)
            wait_until_settled(self._config.kafka, self._writer.prefix, self._wish.quiet_s)
            self._listen("settling", 1, 1)
        for at in range(0, len(returns), CHUNK_ROWS):
            sender.send_chunk(Chunk(rows, list(returns[at : at + CHUNK_ROWS])))
        self._flush(sender)

    def _open(self, survey: Survey, file_name: str, share: str) -> None:
        """Nothing may be ordered before the stock is there; the topics of the two have no order between them."""
        commands = opening(survey, self._wish.source, Fraction(share))
        self._listen("opening", 0, 1)
        sender = Sender(self._writer, self._bind, file_name, 0, clock_ms)
        sender.send_chunk(Chunk(0, list(commands)))
        failpoints.reach("load.opening-sent")
        self._flush(sender)
        failpoints.reach("load.opening-acknowledged")
        wait_until_taken(self._config.kafka, self._writer.prefix, sender.positions, self._taken, self._wish.patience_s)

    def _taken(self, done: int, total: int) -> None:
        self._listen("opening", done, total)

    def _bind(self, homes: Mapping[str, int]) -> Mapping[str, int]:
        new = [name for name in homes if name not in self._bound]
        if new:
            partitions = self._writer.partitions(ORDERS)
            self._bound |= self._state.bind(new, lambda names: self._ids.take_for([homes[name] for name in names], partitions))
            failpoints.reach("load.bound")
        return self._bound

    def _save_now_and_then(self, progress: Progress, rows_done: int) -> None:
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            failpoints.reach("load.saving")
            self._state.save(replace(progress, rows_done=rows_done))
            failpoints.reach("load.saved")
            self._saved_at = time.monotonic()

    def _flush(self, sender: Sender) -> None:
        left = self._writer.flush()
        sender.check()
        if left:
            raise BrokerUnavailableError(f"{left:,} records are not acknowledged by {self._config.kafka}: run the same command again")


def _planned(file: RetailFile, survey: Survey, wish: Wish, counts: Counts, start: int, returns: list[PlannedReturn]) -> Iterator[Chunk]:
    size = CHUNK_ROWS if wish.rate is None else max(1, min(CHUNK_ROWS, int(wish.rate / 10)))
    return chunks(file.rows(), Planner(survey, wish.source), counts, start, size, returns)


def _count(file: RetailFile, survey: Survey, wish: Wish, counts: Counts) -> None:
    """Plan every row and keep none."""
    for chunk in _planned(file, survey, wish, counts, survey.rows, []):
        raise AssertionError(f"rows beyond the last: {chunk.last_row}")


def _survey(file: RetailFile, listen: Listener) -> Survey:
    survey = Survey()
    for row in file.rows():
        survey.add(row)
        if row.number % _LISTEN_ROWS == 0:
            listen("reading", *file.progress())
    _, size = file.progress()
    listen("reading", size, size)
    return survey


def _begin(state: LoadState, wish: Wish, file: RetailFile, survey: Survey) -> Progress:
    share = DEFAULT_SHARE if wish.share is None else wish.share
    fresh = Progress(file.name, file.digest, survey.rows, str(share))
    before = state.read()
    progress = resume(before, fresh, wish.share is not None, wish.resend, wish.source)
    if wish.resend:
        check_repeatable(survey)
    if progress.rows_done == 0 and not progress.opened and not progress.finished:
        state.begin(progress)
        failpoints.reach("load.begun")
    return progress


def _report(wish: Wish, survey: Survey, share: Decimal, counts: Counts) -> Report:
    services = sum(map(is_service, survey.products()))
    units = sum(command.quantity for command in opening(survey, wish.source, Fraction(share)))
    return Report(wish.source, counts, len(survey.products()), services, units)
