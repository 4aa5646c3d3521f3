"""I7, cross-check: the payments stage's own rows say what it answered. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from holdfast.audit.log import Log, Row
from holdfast.audit.order_rows import forgotten_orders
from holdfast.audit.report import Report
from holdfast.audit.table import Place
from holdfast.audit.wire import UndecodableError
from schemas import topics
from schemas.outcomes import PaymentResult

Said = tuple[int, int, int, int, int]
"""Order ID, attempt, sequence (0: the charge), amount, result."""
_NAMES: Final = ("order_id", "attempt", "sequence", "amount")
_REFUNDED: Final = int(PaymentResult.REFUNDED)
_MOVED: Final = frozenset({int(PaymentResult.PAID), _REFUNDED})
"""A row need not have a charge that was declined: the stage declines some itself, without asking anybody."""


class PaymentRows:
    """Compares payment.state with payment.results. While the system is at work a row may be ahead of the results, never behind."""

    def __init__(self, log: Log, report: Report, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.live = live
        self.rows = log.rows[topics.PAYMENT_STATE.name]
        self.noted: dict[Said, Row] = {}
        """What rows say, and which row says it."""

    def check(self) -> None:
        """Check every row and every result."""
        for key, row in self.rows.items():
            self._read(key, row)
        answered, forgotten = set[Said](), forgotten_orders(self.log)
        for item, said in self._results():
            answered.add(said)
            if said[-1] in _MOVED and said not in self.noted and said[0] not in forgotten:
                self.report.add("payment_row_behind", self.log.results.place(item), "its row does not know of it", **_ids(said))
        if not self.live:
            for said in self.noted.keys() - answered:
                if not self.log.is_old(said[0]):
                    self._complain(self.noted[said], "no result says so", **_ids(said))
        self.report.count("I7", changelog_rows=len(self.rows))

    def _read(self, key: bytes, row: Row) -> None:
        try:
            fields = row.fields()
        except UndecodableError as error:
            self._complain(row, str(error))
            return
        if b"%d" % fields["order_id"] != key:
            self._complain(row, f"its key is {key!r}", order_id=fields["order_id"])
        for said in _said_by(fields):
            self.noted[said] = row

    def _results(self) -> Iterator[tuple[int, Said]]:
        """Yield the results; none that is in flight while the system is at work."""
        r = self.log.results
        for item, said in enumerate(zip(*(r[name] for name in (*_NAMES, "result")), strict=True)):
            if r.settled(item):
                yield item, said

    def _complain(self, row: Row, detail: str, **ids: Any) -> None:
        self.report.add("payment_row_differs", Place(topics.PAYMENT_STATE.named(self.log.prefix), row.partition, row.offset), detail, **ids)


def _ids(said: Said) -> dict[str, int]:
    return dict(zip(_NAMES, said, strict=False))


def _said_by(row: dict[str, Any]) -> Iterator[Said]:
    order_id = row["order_id"]
    for attempt, amount, result in zip(row["attempt"], row["amount"], row["result"], strict=True):
        yield order_id, attempt, 0, amount, result
    for attempt, sequence, amount in zip(row["refund_attempt"], row["refund_sequence"], row["refund_amount"], strict=True):
        yield order_id, attempt, sequence, amount, _REFUNDED
