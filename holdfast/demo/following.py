"""Follows the file through the pipeline until nothing is under way any more.

Quiet is: every reader's committed position stands at the end of its topic (transaction markers aside), no transaction is
open, and both were so at two looks in a row between which no record was written. That alone says that nothing will move by
itself except at a deadline; so it is quiet only when every order of the file is decided as well.
"""

import time
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass

from confluent_kafka import TopicPartition
from confluent_kafka.admin import OffsetSpec

from holdfast.demo.background import Background
from holdfast.demo.folding import Folded
from holdfast.demo.loading import Phase
from holdfast.demo.store_positions import History, StorePositions
from holdfast.lag import READERS, WAREHOUSE, LagMeter, Look
from holdfast.log_tail import explained
from holdfast.stack.addresses import Endpoints
from holdfast.stack.errors import StackError
from holdfast.topics import admin
from ingest.backfill import Report
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, ORDERS, STOCK_COMMANDS

POLL_S = 0.1
LOOK_EVERY_S = 1.0
PATIENCE_S = 120.0
REQUEST_S = 30.0
SENT_TO = (ORDERS, STOCK_COMMANDS, ORDER_COMMANDS, DEAD_LETTERS)

Show = Callable[[str], None]


class StuckError(StackError):
    """Something does not move that should; the text says what and where to look."""


@dataclass(frozen=True)
class Timing:
    """When (s since 1970) the first record was sent, None if nothing was; and when the last row was in both stores."""

    first_sent: float | None
    last_written: float

    @property
    def seconds(self) -> float:
        """From the first record to the last row; 0 where nothing was sent."""
        return max(0.0, self.last_written - self.first_sent) if self.first_sent else 0.0


class Follower:
    """Follows one load through the pipeline, from before it begins."""

    def __init__(self, at: Endpoints, prefix: str, partitions: int, order_timeout_s: float) -> None:
        self._at = at
        self._prefix = prefix
        self._partitions = partitions
        self._order_timeout_s = order_timeout_s
        self._open = ExitStack()
        self._meter = self._open.enter_context(closing(LagMeter(at.kafka, prefix, (*READERS, WAREHOUSE))))
        self._stores = self._open.enter_context(closing(StorePositions(at, prefix, partitions)))
        self._history = History()
        self._began_ms = int(time.time() * 1000)
        self._earlier: Look | None = None
        self._look = self._meter.look()
        self._looked_at = self._moved_at = time.monotonic()

    def close(self) -> None:
        """Let go of the connections."""
        self._open.close()

    def while_loading(self, load: Background[Report], phase: Phase, show: Show) -> Report:
        """Watch until the load has ended; returns its report or raises its error."""
        while load.is_running():
            self._poll()
            show(f"{phase}; {behind(self._look)}")
        return load.result()

    def until_quiet(self, fold: Callable[[], Folded], expected: int, show: Show) -> tuple[Folded, Timing]:
        """Watch until all is quiet and `expected` orders are decided; `fold` reads the log. Raises StuckError."""
        self._moved_at = time.monotonic()
        folded, folded_at = None, 0.0
        while True:
            if self._poll() and self._look.is_quiet_after(self._earlier) and self._moved_at >= folded_at:
                folded, folded_at = fold(), time.monotonic()
            written = self._all_written(folded, expected)
            if folded and written:
                return folded, Timing(self._first_sent(), written)
            show(f"everything is sent; {self._waiting_for(folded, expected)}")
            self._complain_if_stuck()

    def _all_written(self, folded: Folded | None, expected: int) -> float | None:
        """Return when the last row was in both stores, None while anything is undecided, unwritten or under way."""
        if folded is None or folded.orders.decided < expected or not self._look.is_quiet_after(self._earlier):
            return None
        return self._history.reached(folded.ends)

    # ------------------------------------------------------------------ looking

    def _poll(self) -> bool:
        """Look at the stores, and now and then at the offsets; returns whether at both."""
        time.sleep(POLL_S)
        if self._history.note(self._stores.read()):
            self._moved_at = time.monotonic()
        if time.monotonic() - self._looked_at < LOOK_EVERY_S:
            return False
        self._earlier, self._look, self._looked_at = self._look, self._meter.look(), time.monotonic()
        if (self._earlier.ends, self._earlier.positions) != (self._look.ends, self._look.positions):
            self._moved_at = time.monotonic()
        return True

    def _first_sent(self) -> float | None:
        """The brokers know: the time of the first record written since we began."""
        client = admin(self._at.kafka)
        places = [TopicPartition(topic.named(self._prefix), number) for topic in SENT_TO for number in range(self._partitions)]
        since = OffsetSpec.for_timestamp(self._began_ms)
        with explained(self._at.kafka):
            answers = [future.result() for future in client.list_offsets(dict.fromkeys(places, since), request_timeout=REQUEST_S).values()]
        times = [answer.timestamp for answer in answers if answer.offset >= 0]
        return min(times) / 1000 if times else None

    # ------------------------------------------------------------------ saying

    def _waiting_for(self, folded: Folded | None, expected: int) -> str:
        if folded and self._look.is_idle and folded.orders.decided < expected:
            return f"{expected - folded.orders.decided:,} orders wait for their deadline ({self._order_timeout_s:.0f} s)"
        return behind(self._look)

    def _complain_if_stuck(self) -> None:
        patience = PATIENCE_S if self._look.records or self._look.in_flight else PATIENCE_S + self._order_timeout_s
        still = time.monotonic() - self._moved_at
        if still > patience:
            raise StuckError(f"nothing has moved for {still:.0f} s: {behind(self._look)}. Look at `holdfast status`, `holdfast watch` and the logs it names")


def behind(look: Look) -> str:
    """Return in a few words who has how many records still to read."""
    by_stage: dict[str, int] = {}
    for lag in look.lags:
        by_stage[lag.stage] = by_stage.get(lag.stage, 0) + lag.records
    waiting = [f"{stage} {records:,}" for stage, records in by_stage.items() if records]
    if waiting:
        return f"records to read: {', '.join(waiting)}"
    return "a transaction is open" if look.in_flight else "everybody has read everything"
