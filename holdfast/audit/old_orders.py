"""Where the log's beginning was deleted: orders that may have begun there, by their rows. Pure.

A row of order.state is all that the orders stage knows of an order. What is left of the log has to agree with it, and so have the payments
stage's row and both stores. An order whose row was forgotten (HOLDFAST_ORDER_RETENTION), and of which the log says nothing any more, has nothing
that a store's row could be compared with; those are counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from holdfast.audit.log import Log, Row
from holdfast.audit.order_rows import OrderRows, forgotten_orders
from holdfast.audit.outcomes import IMPORTED, Outcomes
from holdfast.audit.report import Report
from holdfast.audit.stores import LINE_FIELDS, Stores, digest_of_lines
from holdfast.audit.table import Place, Table
from holdfast.audit.wire import UndecodableError
from schemas import topics, views
from schemas.outcomes import MAX_ID_LENGTH, MAX_TIME, LineStatus, OrderStatus, PaymentResult, Refusal

_STATUSES: Final = {int(status): status.name for status in OrderStatus}
_LINES: Final = {int(status): status.name for status in LineStatus}
_REFUSALS: Final = {int(refusal): refusal.name if refusal else "" for refusal in Refusal}
_INVALID: Final = frozenset(refusal.name for refusal in Refusal if refusal.is_invalid_line)
_SAME: Final = ("user_id", "currency", "charged", "refunded", "line_count", "placed_at", "decided_at", "version")
_OF_IMPORT: Final = ("user_id", "currency", "charged", "refunded", "line_count", "placed_at", "decided_at")
_MYSQL: Final = ("store_row_missing", "store_row_differs")
_REDIS: Final = ("cache_missing", "cache_differs")


class Truth(NamedTuple):
    """What an order is known to be: columns of views.ORDERS, as far as they are known, and its lines, if they are."""

    header: Mapping[str, Any]
    lines: list[dict[str, Any]] | None

    @property
    def is_storable(self) -> bool:
        """A refused order may name no user or no product at all; the sinks give such an outcome up."""
        names = [self.header["user_id"], *(line["product_id"] for line in self.lines or ())]
        return all(1 <= len(name) <= MAX_ID_LENGTH for name in names) and all(0 <= self.header[at] <= MAX_TIME for at in ("placed_at", "decided_at"))


class OldOrders:
    """The orders that may be older than the log. Of a log that is whole there are none."""

    def __init__(self, log: Log, report: Report, outcomes: Outcomes, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.outcomes = outcomes
        self.live = live
        self.rows: dict[int, dict[str, Any]] = {}
        self.last: dict[int, int] = {}
        """order_id -> the last outcome that is left of it."""
        self.unknown = 0
        """Rows of the stores that nothing is left to compare with."""
        self._topic = topics.ORDER_STATE.named(log.prefix)
        if log.begins_at:
            self._read_rows()

    def _read_rows(self) -> None:
        for key, row in self.log.rows[topics.ORDER_STATE.name].items():
            if not key.isdigit() or not self.log.is_old(int(key)):
                continue  # order_rows.py checks it
            try:
                fields = row.fields()
            except UndecodableError as error:
                self.report.add("row_differs", self._place(row), str(error))
                continue
            self.rows[int(key)] = fields
            if fields["order_id"] != int(key):
                self.report.add("row_differs", self._place(row), f"its key is {key!r}", order_id=fields["order_id"])

    def _place(self, row: Row | None = None) -> Place:
        return Place(self._topic) if row is None else Place(self._topic, row.partition, row.offset)

    def check(self) -> None:
        """Check each old order's outcomes that are left, and its rows."""
        if not self.log.begins_at:
            return
        for order_id, items in self.outcomes.by_order():
            if self.log.is_old(order_id):
                self._check_chain(order_id, sorted(items, key=self.log.outcomes["version"].__getitem__))
        compared = OrderRows(self.log, self.report, self.outcomes, live=self.live)
        for order_id, row in self.rows.items():
            self._check_row(order_id, row, compared)
        self._check_forgotten()
        if not self.live:
            self._check_money()
        self.report.count("I2", older_orders=len(self.rows))

    def _check_chain(self, order_id: int, items: list[int]) -> None:
        versions, before = self.log.outcomes["version"], None
        for item in items:
            if before is not None and versions[item] == versions[before]:
                self.report.add("outcome_version_doubled", self.log.outcomes.place(item), order_id=order_id, version=versions[item])
                continue
            if before is not None and versions[item] > versions[before] + 1 and self.log.outcomes.settled(item):
                self.report.add("outcome_version_missing", self.log.outcomes.place(item), order_id=order_id, version=versions[item])
            elif before is not None or (versions[item] == 1 and self.log.outcomes["change"][item] != IMPORTED):  # what was imported may be gone
                self.outcomes.check_change(before, item)
            before = item
        self.last[order_id] = items[-1]

    def _check_row(self, order_id: int, row: Mapping[str, Any], compared: OrderRows) -> None:
        last = self.last.get(order_id)
        if last is None:
            return
        version = self.log.outcomes["version"][last]
        if row["version"] == version and row["status"] != OrderStatus.IMPORTED:
            if wrong := compared.differences(dict(row), last):
                self.report.add("row_differs", self._place(), ", ".join(wrong), order_id=order_id, version=version)
        elif row["version"] != version and not self.live:
            kind = "row_behind" if row["version"] < version else "row_differs"
            self.report.add(kind, self._place(), f"it is at version {row['version']}, the last outcome is {version}", order_id=order_id)

    def _check_forgotten(self) -> None:
        forgotten = forgotten_orders(self.log)
        for order_id in self.last.keys() - self.rows.keys() - forgotten if not self.live else ():
            self.report.add("row_behind", self._place(), "it has no row", order_id=order_id)

    def _check_money(self) -> None:
        """What the orders stage's row says was charged and refunded is what the payments stage's row says."""
        rows = self.log.rows[topics.PAYMENT_STATE.name]
        for order_id, row in self.rows.items():
            if row["status"] == OrderStatus.IMPORTED or not row["attempt"]:
                continue
            paid, refunded = _moved(rows.get(b"%d" % order_id), row["attempt"])
            if (paid, refunded) != (row["charged"], row["refunded"]):
                detail = f"it says {paid} paid and {refunded} refunded, the order's row {row['charged']} and {row['refunded']}"
                self.report.add("payment_row_differs", Place(topics.PAYMENT_STATE.named(self.log.prefix)), detail, order_id=order_id, attempt=row["attempt"])
            if row["status"] == OrderStatus.CONFIRMED and row["charged"] != (cost := _cost(_lines_of(row))):
                self.report.add("paid_other_amount", self._place(), f"paid {row['charged']}, its lines cost {cost}", order_id=order_id)

    def entitled(self) -> Counter[str]:
        """Return how many units of each product these orders hold."""
        found = Counter[str]()
        for row in self.rows.values():
            if row["status"] <= OrderStatus.CONFIRMED:
                for product, quantity, status in zip(row["product_id"], row["quantity"], row["line_status"], strict=True):
                    found[product] += quantity if status == LineStatus.HELD else 0
        return found

    # -- stores ----------------------------------------------------------------------------------------------------------

    def check_stores(self, stores: Stores) -> None:
        """Compare the stores' rows of old orders with what is known of them."""
        if not self.log.begins_at:
            return
        truths = dict(self._truths())
        self._check_headers(stores.mysql[views.ORDERS], truths, _MYSQL)
        self._check_headers(stores.cache["order"], truths, _REDIS)
        self._check_lines(stores.mysql[views.ORDER_LINES], truths)

    def _truths(self) -> Iterator[tuple[int, Truth]]:
        for order_id in self.rows.keys() | self.last.keys():
            row, last = self.rows.get(order_id), self.last.get(order_id)
            truth = _truth_of_row(row) if last is None and row is not None else self._truth_of_outcome(last) if last is not None else None
            if truth is not None and truth.is_storable:
                yield order_id, truth

    def _truth_of_outcome(self, item: int) -> Truth:
        t, lines = self.log.outcomes, self.log.outcome_lines
        header = {name: t[name][item] for name in views.ORDER_COLUMNS if name != "order_id"}
        return Truth(header, [{name: lines[name][i] for name in LINE_FIELDS} for i in self.outcomes.lines(item)])

    def _check_headers(self, rows: Table, truths: Mapping[int, Truth], kinds: tuple[str, str]) -> None:
        seen = set[int]()
        for number, order_id in enumerate(rows["order_id"]):
            if not self.log.is_old(order_id):
                continue
            seen.add(order_id)
            truth = truths.get(order_id)
            if truth is None:
                self.unknown += 1
            elif not self._is_under_way(rows["version"][number], truth):
                wrong = [f"{c} is {rows[c][number]!r}, it was left as {v!r}" for c, v in truth.header.items() if rows[c][number] != v]
                if kinds is _REDIS and truth.lines is not None and rows["lines"][number] != digest_of_lines(truth.lines):
                    wrong.append("its lines differ from what was left")
                if wrong:
                    self.report.add(kinds[1], Place(rows.topic), ", ".join(wrong), order_id=order_id)
        for order_id in truths.keys() - seen if not self.live else ():
            self.report.add(kinds[0], Place(rows.topic), order_id=order_id)

    def _check_lines(self, rows: Table, truths: Mapping[int, Truth]) -> None:
        found: dict[int, dict[int, int]] = {}
        for number, (order_id, line) in enumerate(zip(rows["order_id"], rows["line"], strict=True)):
            if order_id in truths:
                found.setdefault(order_id, {})[line] = number
        for order_id, truth in truths.items():
            there = found.get(order_id, {})
            if truth.lines is not None and not (self.live and not there):
                self._check_order_lines(rows, order_id, truth, there)

    def _check_order_lines(self, rows: Table, order_id: int, truth: Truth, there: dict[int, int]) -> None:
        version = truth.header["version"]
        for line in truth.lines or ():
            number = there.pop(line["line"], None)
            if number is None:
                self.report.add("store_row_missing", Place(rows.topic), order_id=order_id, line=line["line"])
            elif not self._is_under_way(rows["version"][number], truth):
                known = {**line, "version": version}
                if wrong := [f"{c} is {rows[c][number]!r}, it was left as {v!r}" for c, v in known.items() if rows[c][number] != v]:
                    self.report.add("store_row_differs", Place(rows.topic), ", ".join(wrong), order_id=order_id, line=line["line"])
        for number in there:
            self.report.add("store_row_extra", Place(rows.topic), order_id=order_id, line=number)

    def _is_under_way(self, version: int, truth: Truth) -> bool:
        return self.live and version != truth.header.get("version", version)


def _truth_of_row(row: Mapping[str, Any]) -> Truth | None:
    """Return what an order's row says of it, in the words of its outcome; None while nothing was published of it."""
    if not row["version"]:
        return None
    if row["status"] == OrderStatus.IMPORTED:  # its row says no more than is needed to know it again
        return Truth({name: row[name] for name in _OF_IMPORT}, None)
    lines = _lines_of(row)
    said = {
        "attempt": row["attempt"] if row["charged"] else 0,
        "status": _STATUSES.get(row["status"]),
        "refusal": _REFUSALS.get(row["refusal"]),
        "amount": _cost(lines),
    }
    return Truth({**said, **{name: row[name] for name in _SAME}}, lines)


def _lines_of(row: Mapping[str, Any]) -> list[dict[str, Any]]:
    columns = (row["line"], row["product_id"], row["quantity"], row["unit_price"], row["line_status"], row["line_refusal"], row["returned"])
    found = [dict(zip(LINE_FIELDS, line, strict=True)) for line in zip(*columns, strict=True)]
    for line in found:
        line["status"], line["refusal"] = _LINES.get(line["status"]), _REFUSALS.get(line["refusal"])
    return sorted(found, key=lambda line: int(line["line"]))


def _cost(lines: list[dict[str, Any]]) -> int:
    return sum(line["quantity"] * line["unit_price"] for line in lines if line["refusal"] not in _INVALID)


def _moved(row: Row | None, attempt: int) -> tuple[int, int]:
    """Return what a payments row says was paid, and was refunded, by an attempt (minor units)."""
    try:
        fields = row.fields() if row is not None else None
    except UndecodableError:
        return -1, -1
    if fields is None:
        return 0, 0
    charges = zip(fields["attempt"], fields["amount"], fields["result"], strict=True)
    refunds = zip(fields["refund_attempt"], fields["refund_amount"], strict=True)
    return sum(a for n, a, result in charges if n == attempt and result == PaymentResult.PAID), sum(a for n, a in refunds if n == attempt)


def beginning(log: Log, products: int, old: OldOrders) -> list[str]:
    """Return what a report has to say of a log without its beginning."""
    since = datetime.fromtimestamp(log.begins_at / 1000, UTC).isoformat(timespec="milliseconds")
    return [
        f"the brokers have deleted the log's beginning: it is checked from {since} on; {products:,} products and {len(old.rows):,} orders that "
        "began before that are taken as their rows have them, and what the stores say of them is compared with these",
        "not checked: how these came to be so; commands that left no trace; dead letters, payments and journals' entries of the time before",
        *([f"not checked: {old.unknown:,} rows of the stores, for their orders are in nobody's log or rows any more"] if old.unknown else []),
    ]
