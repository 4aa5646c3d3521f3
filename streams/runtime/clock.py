"""The time a worker decides by: the brokers', so that a machine whose clock is wrong expires no order before its time.

Every transaction of a task writes its position; the brokers say when they took it. From there on the time is the sum of
that and the process's monotonic clock, which nobody sets. (Topics that carry their producers' time instead say nothing of the
brokers'; there the machine's own clock has to do.)
"""

from __future__ import annotations

import time
from typing import Any, Final

import structlog
from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME

log = structlog.get_logger("holdfast.runtime")
SUSPICIOUS_MS: Final = 5_000
"""A machine's clock that is further off is worth a word."""


class Clock:
    """One per process; `known` as soon as a broker has been heard."""

    def __init__(self) -> None:
        self.known = False
        self._ahead_ms: float | None = None
        """Brokers' time minus the monotonic clock; None: there is none to be had."""

    def now_ms(self) -> int:
        """Return the time in ms since 1970."""
        if self._ahead_ms is None:
            return time.time_ns() // 1_000_000
        return int(time.monotonic() * 1000 + self._ahead_ms)

    def delivered(self, error: Any, message: Any) -> None:
        """Hear the delivery report of a record that a broker has taken."""
        if error is None:
            self.heard(*message.timestamp())

    def heard(self, kind: int, at_ms: int) -> None:
        """A broker took a record at `at_ms`; `kind`: whose time that is. The report comes some ms later: the time lags by so much."""
        if kind == TIMESTAMP_LOG_APPEND_TIME:
            self._ahead_ms = at_ms - time.monotonic() * 1000
        if not self.known:
            self.known = True
            self._compare(at_ms if kind == TIMESTAMP_LOG_APPEND_TIME else None)

    def _compare(self, at_ms: int | None) -> None:
        off = 0 if at_ms is None else time.time_ns() // 1_000_000 - at_ms
        if at_ms is None:
            log.warning("the topics carry no time of the brokers' (message.timestamp.type is not LogAppendTime): this machine's clock has to be right")
        elif abs(off) > SUSPICIOUS_MS:
            log.warning("this machine's clock differs from the brokers', whose time counts", off_ms=off)
