"""What `holdfast watch` sees: how much passes, who is behind, what died."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from rich.columns import Columns
from rich.console import RenderableType
from rich.table import Table

from holdfast.lag import READERS, WAREHOUSE, Lag, LagMeter, Look
from holdfast.letters.book import Book
from holdfast.log_tail import LogTail
from holdfast.tally import Tally, rates
from schemas.codec import Decoded, UndecodableError, decode
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES, ORDERS, STOCK_DECISIONS, STOCK_LEVELS

_FROM_BEGINNING = {ORDERS: False, STOCK_DECISIONS: False, ORDER_OUTCOMES: False, DEAD_LETTERS: True}
"""Rates are of now; the open dead letters are shown all, they are few and none may be overlooked."""


@dataclass(frozen=True)
class Sight:
    """One look. `per_second`: over the last interval; `seen`: since watching began, dead letters all there ever were;
    `dead_letters`: those that are open, by reason."""

    at: float
    seconds: float
    per_second: dict[str, float]
    seen: dict[str, int]
    lag: tuple[Lag, ...]
    in_flight: bool
    dead_letters: dict[str, int]

    def document(self) -> dict[str, Any]:
        """The sight for programs."""
        document = asdict(self)
        document["lag"] = [{"stage": lag.stage, "topic": lag.topic, "records": lag.records, "partitions": list(lag.unread)} for lag in self.lag]
        return document


class Watcher:
    """Looks at one pipeline again and again. Needs Kafka alone. `listen` hears of every record, those of stock.levels as well."""

    def __init__(self, bootstrap: str, prefix: str = "", listen: Callable[[Decoded], None] | None = None) -> None:
        starts = _FROM_BEGINNING if listen is None else {**_FROM_BEGINNING, STOCK_LEVELS: False}
        self._listen = listen or (lambda _: None)
        self._warehouse = prefix + WAREHOUSE.group
        self._meter = LagMeter(bootstrap, prefix, (*READERS, WAREHOUSE))
        self._tail = LogTail(bootstrap, {topic.named(prefix): start for topic, start in starts.items()})
        self._tally = Tally()
        self._letters = Book(with_bytes=False)
        self._letters_are_on = DEAD_LETTERS.named(prefix)
        while not self._tail.is_at_end:
            self._take_in(0.2)
        # A gap of transaction markers is told from a gap of records by its staying the same.
        self._meter.look()
        self._before = self._tally.figures()
        self._before_at = time.monotonic()

    def close(self) -> None:
        """Let go of the connections."""
        self._tail.close()
        self._meter.close()

    def watch(self, seconds: float) -> Sight:
        """Watch for so long, then say what was seen."""
        until = self._before_at + seconds
        while (left := until - time.monotonic()) > 0:
            self._take_in(min(left, 0.2))
        look = self._meter.look()
        now, figures = time.monotonic(), self._tally.figures()
        per_second = rates(self._before, figures, now - self._before_at)
        open_letters = dict(+self._letters.open)
        sight = Sight(time.time(), round(now - self._before_at, 3), per_second, figures, self._lags(look), look.in_flight, open_letters)
        self._before, self._before_at = figures, now
        return sight

    def _lags(self, look: Look) -> tuple[Lag, ...]:
        """A shop may ship otherwise: a warehouse of ours that never worked is not behind."""
        ours = any(group == self._warehouse for group, _ in look.positions)
        return tuple(lag for lag in look.lags if ours or lag.stage != WAREHOUSE.stage)

    def _take_in(self, seconds: float) -> None:
        for message in self._tail.read(seconds):
            if message.topic() == self._letters_are_on:
                self._letters.add(int(message.partition() or 0), int(message.offset() or 0), message.value())
            try:
                record = decode(message.value())
            except UndecodableError:
                self._tally.unreadable += 1
                continue
            self._tally.add(record)
            self._listen(record)


# ---------------------------------------------------------------------- for people

_SHOWN = {
    "order_lines": "order lines in",
    "line_decisions": "lines decided",
    "stock_commands": "stock commands done",
    "orders_decided": "orders decided",
    "confirmed": "  confirmed",
    "rejected": "  rejected",
    "payment_failed": "  payment failed",
    "expired": "  expired",
    "cancelled": "  cancelled",
    "shipped": "shipments",
    "returned": "returns",
    "commands_refused": "order commands refused",
}


def picture(sight: Sight) -> RenderableType:
    """Return the sight as tables, side by side where there is room."""
    return Columns([_rates_table(sight), _lag_table(sight), _dead_letters_table(sight)], padding=(1, 4))


def _rates_table(sight: Sight) -> Table:
    table = Table("", "per second", "seen", box=None, pad_edge=False)
    for column in table.columns[1:]:
        column.justify = "right"
    for name, title in _SHOWN.items():
        table.add_row(title, f"{sight.per_second[name]:,.0f}", f"{sight.seen[name]:,}")
    return table


def _lag_table(sight: Sight) -> Table:
    table = Table("stage", "reads", "lag (records)", box=None, pad_edge=False)
    table.columns[2].justify = "right"
    for lag in sight.lag:
        table.add_row(lag.stage, lag.topic, f"[yellow]{lag.records:,}[/]" if lag.records else "0")
    return table


def _dead_letters_table(sight: Sight) -> Table:
    table = Table("dead letters", "open", box=None, pad_edge=False)
    table.columns[1].justify = "right"
    for reason, count in sorted(sight.dead_letters.items()):
        table.add_row(reason, f"[red]{count:,}[/]")
    if not sight.dead_letters:
        table.add_row("none", "0")
    return table
