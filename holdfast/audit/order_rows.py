"""I2, cross-check: the orders stage's own rows say what it published. Pure."""

from __future__ import annotations

from typing import Any, Final

from holdfast.audit.log import Log, Row
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.report import Report
from holdfast.audit.table import Place
from holdfast.audit.wire import UndecodableError
from schemas import topics
from schemas.outcomes import LineStatus, OrderStatus, PaymentKind, Refusal

_SAME: Final = ("user_id", "currency", "line_count", "placed_at", "decided_at")
_LINE: Final = ("line", "product_id", "quantity", "unit_price", "returned")
_MONEY: Final = ("charged", "refunded")
"""What a payment result changes in the row a moment before it is published; compared at rest only."""
_STATUSES: Final = {int(status): status.name for status in OrderStatus}
_LINES: Final = {int(status): status.name for status in LineStatus}
_REFUSALS: Final = {int(refusal): refusal.name if refusal else "" for refusal in Refusal}


def check_order_rows(log: Log, report: Report, outcomes: Outcomes, *, live: bool) -> None:
    """Compare each row of order.state with the order's outcome of the row's version; at rest that is the last one."""
    rows = log.rows[topics.ORDER_STATE.name]
    checked = OrderRows(log, report, outcomes, live=live)
    for key, row in rows.items():
        if not (key.isdigit() and log.is_old(int(key))):
            checked.check(key, row)
    forgotten = forgotten_orders(log)
    if not live:
        for order_id, versions in outcomes.versions.items():
            if versions and b"%d" % order_id not in rows and not (order_id in forgotten and _is_over(log, outcomes, versions[-1])):
                why = "it was forgotten before it was over" if order_id in forgotten else "it has no row"
                report.add("row_behind", Place(topics.ORDER_STATE.named(log.prefix)), why, order_id=order_id)
    report.count("I2", changelog_rows=len(rows), forgotten_rows=len(forgotten))


def forgotten_orders(log: Log) -> set[int]:
    """Return the orders whose rows were forgotten after the time for which they are kept: the orders stage tells the payments stage."""
    requests = log.requests
    return {order_id for order_id, kind in zip(requests["order_id"], requests["kind"], strict=True) if kind == PaymentKind.FORGET}


def _is_over(log: Log, outcomes: Outcomes, latest: int) -> bool:
    return log.outcomes["status"][latest] != "CONFIRMED" and all(log.outcome_lines["status"][line] != "HELD" for line in outcomes.lines(latest))


class OrderRows:
    """Compares rows with outcomes, whose columns it looks up once: there are as many rows as orders."""

    def __init__(self, log: Log, report: Report, outcomes: Outcomes, *, live: bool) -> None:
        self.report = report
        self.outcomes = outcomes
        self.live = live
        self._topic = topics.ORDER_STATE.named(log.prefix)
        self._names = ("status", "refusal", *(_SAME if live else (*_SAME, *_MONEY)))
        self._columns = [outcomes.table[name] for name in self._names]
        self._lines = [log.outcome_lines[name] for name in (*_LINE, "status")]

    def check(self, key: bytes, row: Row) -> None:
        """Check one row."""
        place = Place(self._topic, row.partition, row.offset)
        try:
            fields = row.fields()
        except UndecodableError as error:
            self.report.add("row_differs", place, str(error))
            return
        if b"%d" % fields["order_id"] != key:
            self.report.add("row_differs", place, f"its key is {key!r}", order_id=fields["order_id"])
        self._check_version(place, fields)

    def _check_version(self, place: Place, row: dict[str, Any]) -> None:
        order_id, version = row["order_id"], row["version"]
        versions = self.outcomes.versions.get(order_id, [])
        if not self.live and version < len(versions):
            self.report.add("row_behind", place, f"it is at version {version}, the last outcome is {len(versions)}", order_id=order_id)
        elif version > len(versions):
            if not self.live:
                self.report.add("row_differs", place, f"it is at version {version}, the last outcome is {len(versions)}", order_id=order_id)
        elif row["status"] == OrderStatus.IMPORTED:
            self._check_imported(place, row, versions)
        elif version:
            wrong = self.differences(row, versions[version - 1])
            if wrong:
                self.report.add("row_differs", place, ", ".join(wrong), order_id=order_id, version=version)

    def _check_imported(self, place: Place, row: dict[str, Any], versions: list[int]) -> None:
        """The row of an order that another system has decided says no more than is needed to know it again."""
        order_id = row["order_id"]
        if not self.outcomes.is_imported(order_id):
            self.report.add("row_differs", place, "it is an imported order's, the outcome says otherwise", order_id=order_id)
            return
        table = self.outcomes.table
        wrong = [
            f"{name} is {row[name]!r}, the outcome says {table[name][versions[0]]!r}" for name in (*_SAME, *_MONEY) if row[name] != table[name][versions[0]]
        ]
        if wrong:
            self.report.add("row_differs", place, ", ".join(wrong), order_id=order_id)

    def differences(self, row: dict[str, Any], item: int) -> list[str]:
        """Return how a row differs from the outcome of its version."""
        noted = [_STATUSES.get(row["status"]), _REFUSALS.get(row["refusal"]), *[row[name] for name in self._names[2:]]]
        said = [column[item] for column in self._columns]
        wrong = [f"{n} is {a!r}, the outcome says {b!r}" for n, a, b in zip(self._names, noted, said, strict=True) if a != b] if noted != said else []
        return wrong if self._same_lines(row, item) else [*wrong, "its lines differ from the outcome's"]

    def _same_lines(self, row: dict[str, Any], item: int) -> bool:
        """Compare column by column; a row has its lines in the order in which they were heard of."""
        items = self.outcomes.lines(item)
        columns = [*[row[name] for name in _LINE], [_LINES.get(status) for status in row["line_status"]]]
        if len(row["line"]) > 1:
            order = sorted(range(len(row["line"])), key=row["line"].__getitem__)
            columns = [[column[i] for i in order] for column in columns]
        return columns == [list(column[items.start : items.stop]) for column in self._lines]
