"""Another system's history into the log: as decided orders, or as live ones; resumable at any moment."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from ingest.backfill import ACK_TIMEOUT_S, SAVE_EVERY_S, Listener
from ingest.backfill_plan import PlannedDeadLetter
from ingest.columns import LineItem, encode_lines
from ingest.config import IngestConfig
from ingest.errors import BrokerUnavailableError, LoadError
from ingest.history.mapping import Map, read_map
from ingest.history.orders import Counts, HistoryOrder, Orders, Piece, imported
from ingest.history.sources import Source, open_source
from ingest.load_state import LoadState, Progress, load_state
from ingest.log_writer import LogWriter
from ingest.order_ids import OrderIds, clock_ms
from ingest.pace import Pace
from ingest.sender import Sender
from schemas.codec import encode
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS

ACTOR: Final = "backfill"
DECIDED: Final = "decided"
CHUNK_ROWS: Final = 2_000
_LISTEN_PIECES: Final = 500


@dataclass(frozen=True)
class Wish:
    """What to take in and how: `decided` orders go to the stores as they are, others are decided here. `rate`: rows per second at most."""

    map_path: Path
    where: str
    decided: bool = True
    rate: float | None = None

    @property
    def mode(self) -> str:
        """How it is noted: a source goes on as it began."""
        return DECIDED if self.decided else "live"


@dataclass
class Report:
    """What a backfill did. `counts` are of the whole source; `rows_sent` of this run, after `resumed_at` rows of earlier ones."""

    source: str
    mode: str
    counts: Counts = field(default_factory=Counts)
    rows_sent: int = 0
    resumed_at: int = 0
    already_done: bool = False
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return it as one flat JSON object."""
        own = {name: value for name, value in vars(self).items() if name not in {"counts", "seconds"}}
        return {**own, **self.counts.as_dict(), "seconds": round(self.seconds, 3)}


def dry_run(wish: Wish, listen: Listener) -> Report:
    """Read the whole source and count; nothing is sent, and no server of ours is asked. Raises IngestErrors."""
    began, mapped = time.monotonic(), read_map(wish.map_path, decided=wish.decided)
    source, report = open_source(wish.where, mapped), Report(mapped.source, wish.mode)
    for at, _ in enumerate(Orders(mapped, report.counts, decided=wish.decided).pieces(source.rows())):
        if at % _LISTEN_PIECES == 0:
            listen("reading", *source.progress())
    listen("reading", 1, 1)
    report.seconds = time.monotonic() - began
    return report


def backfill(where: Callable[[], IngestConfig], wish: Wish, listen: Listener) -> Report:
    """Send a source, or what is left of it; raises IngestErrors. After any of them, and after a kill, the same call goes on."""
    began, mapped = time.monotonic(), read_map(wish.map_path, decided=wish.decided)
    source, config = open_source(wish.where, mapped), where()
    with load_state(config.mysql, mapped.source) as state:
        progress = _begin(state, mapped.source, source, wish.mode)
        report = Report(mapped.source, wish.mode, resumed_at=progress.rows_done, already_done=progress.finished)
        if not progress.finished:
            with OrderIds(config.mysql) as ids:
                _Run(config, wish, mapped, state, ids, listen).run(source, progress, report)
    report.rows_sent = max(report.counts.rows - report.resumed_at, 0)
    report.seconds = time.monotonic() - began
    return report


def _begin(state: LoadState, name: str, source: Source, mode: str) -> Progress:
    before = state.read()
    if before is None:
        progress = Progress(source.name, "", 0, mode, opened=True)
        state.begin(progress)
        return progress
    if before.share != mode:
        what = f"as {before.share} orders" if before.share in {DECIDED, "live"} else "by `holdfast load`"
        raise LoadError(f"source {name!r} was taken in {what}: give this one a `source` of its own, or go on as it began")
    return before


class _Run:
    """One run that has something to send."""

    def __init__(self, config: IngestConfig, wish: Wish, mapped: Map, state: LoadState, ids: OrderIds, listen: Listener) -> None:
        self._config = config
        self._wish = wish
        self._map = mapped
        self._state = state
        self._ids = ids
        self._listen = listen
        self._writer = LogWriter(config.kafka, config.topic_prefix, ack_timeout_s=ACK_TIMEOUT_S, linger_ms=20)
        self._saved_at = 0.0
        self._boundaries: deque[tuple[int, str]] = deque()
        """Last row and digest of each chunk that is not known to be acknowledged."""

    def run(self, source: Source, progress: Progress, report: Report) -> None:
        sender = HistorySender(self._writer, self._bind, source.name, progress.rows_done, clock_ms)
        sender.of(self._map.source, decided=self._wish.decided)
        size = CHUNK_ROWS if self._wish.rate is None else max(1, min(CHUNK_ROWS, int(self._wish.rate / 10)))
        pace, chunk, last = Pace(self._wish.rate), list[Piece](), Piece(0, "", None, [])
        for last in _unsent(Orders(self._map, report.counts, decided=self._wish.decided).pieces(source.rows()), progress, self._map.source):
            chunk.append(last)
            if last.last_row - (self._boundaries[-1][0] if self._boundaries else progress.rows_done) >= size:
                self._send(sender, chunk, progress)
                chunk = []
                self._listen("sending", *source.progress())
                pace.wait(last.last_row - progress.rows_done, sender.check)
        self._send(sender, chunk, progress)
        self._flush(sender)
        self._state.save(replace(progress, rows_done=max(last.last_row, progress.rows_done), digest=last.digest, rows=report.counts.rows))
        self._state.finish()
        self._listen("sending", 1, 1)

    def _send(self, sender: HistorySender, chunk: list[Piece], progress: Progress) -> None:
        if chunk:
            self._boundaries.append((chunk[-1].last_row, chunk[-1].digest))
            sender.send_pieces(chunk)
        if time.monotonic() - self._saved_at >= SAVE_EVERY_S:
            self._saved_at = time.monotonic()
            self._save(sender, progress)

    def _save(self, sender: HistorySender, progress: Progress) -> None:
        """Note the last chunk of which the brokers have everything."""
        done: tuple[int, str] | None = None
        while len(self._boundaries) > 1 and self._boundaries[0][0] <= sender.acknowledged.rows:
            done = self._boundaries.popleft()
        if done is not None:
            self._state.save(replace(progress, rows_done=done[0], digest=done[1]))

    def _bind(self, homes: Mapping[str, int]) -> Mapping[str, int]:
        partitions = self._writer.partitions(ORDERS) if homes else 0
        return self._state.bind(sorted(homes), lambda names: self._ids.take_for([homes[name] for name in names], partitions)) if homes else {}

    def _flush(self, sender: HistorySender) -> None:
        left = self._writer.flush()
        sender.check()
        if left:
            raise BrokerUnavailableError(f"{left:,} records are not acknowledged by {self._config.kafka}: run the same command again")


def _unsent(pieces: Iterator[Piece], progress: Progress, source: str) -> Iterator[Piece]:
    """Yield what was not sent before; raises LoadError where what was sent is not how the source begins."""
    is_same = progress.rows_done == 0
    for piece in pieces:
        is_same = is_same or (piece.last_row, piece.digest) == (progress.rows_done, progress.digest)
        if piece.last_row > progress.rows_done and is_same:
            yield piece
        elif piece.last_row >= progress.rows_done and not is_same:
            break
    if not is_same:
        what = f"the first {progress.rows_done:,} rows of source {source!r} are not those that were sent before"
        raise LoadError(f"{what}: put back what it was, or name it anew")


class HistorySender(Sender):
    """Sends orders of a history, in chunks of pieces."""

    def of(self, source: str, *, decided: bool) -> None:
        """Say whose history it is, and how it is sent."""
        self._source = source
        self._decided = decided

    def send_pieces(self, pieces: list[Piece]) -> None:
        """Queue everything of a chunk; raises PublishError."""
        pending = self.acknowledged.open(pieces[-1].last_row)
        orders = [piece.order for piece in pieces if piece.order]
        ids = self._bind(_homes(orders, self._writer.partitions(ORDERS)))
        numbered = [(order.header.order_id or ids[order.header.external_id], order) for order in orders]
        if self._decided:
            self._send_decided(numbered, pending)
        else:
            count = self._writer.partitions(ORDERS)
            items = ((product_partition(item.product_id, count), item) for order_id, order in numbered for item in _items(order_id, order))
            self._send_columns(ORDERS, items, encode_lines, pending)
        for dead in (letter for piece in pieces for letter in piece.dead):
            self._send_dead_letter(PlannedDeadLetter(*dead), pending)
        self.acknowledged.close(pending)
        self.check()

    def _send_decided(self, numbered: list[tuple[int, HistoryOrder]], pending: Any) -> None:
        count, now = self._writer.partitions(ORDER_COMMANDS), self._clock()
        for order_id, order in numbered:
            value = encode("ImportedOrder", imported(order, order_id, self._source, now, ACTOR))
            self._send(ORDER_COMMANDS, order_partition(order_id, count), b"%d" % order_id, value, pending)


def _homes(orders: Iterable[HistoryOrder], partitions: int) -> dict[str, int]:
    """Return the partition on which each order that gets an ID of ours should lie: its first product's."""
    return {o.header.external_id: product_partition(o.lines[0].product_id, partitions) for o in orders if not o.header.order_id}


def _items(order_id: int, order: HistoryOrder) -> list[LineItem]:
    h, count = order.header, len(order.lines)
    return [
        LineItem(order_id, n, count, x.product_id, x.quantity, x.unit_price, h.currency, h.user_id, h.payment_token, h.placed_at)
        for n, x in enumerate(order.lines, 1)
    ]
