"""I2, cross-check: the orders stage's own rows say what it published. Pure."""

from __future__ import annotations

from typing import Any, Final

from holdfast.audit.log import Log, Row
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.report import Report
from holdfast.audit.table import Place
from holdfast.audit.wire import UndecodableError, decode
from schemas import topics
from schemas.outcomes import LineStatus, OrderStatus, Refusal

_SAME: Final = ("user_id", "currency", "line_count", "placed_at", "decided_at")
_LINE: Final = ("line", "product_id", "quantity", "unit_price", "returned")
_COLUMNS: Final = (*_LINE, "status")
_MONEY: Final = ("charged", "refunded")
"""What a payment result changes in the row a moment before it is published; compared at rest only."""
_STATUSES: Final = {int(status): status.name for status in OrderStatus}
_LINES: Final = {int(status): status.name for status in LineStatus}
_REFUSALS: Final = {int(refusal): refusal.name if refusal else "" for refusal in Refusal}


def check_order_rows(log: Log, report: Report, outcomes: Outcomes, *, live: bool) -> None:
    """Compare each row of order.state with the order's outcome of the row's version; at rest that is the last one."""
    rows = log.rows[topics.ORDER_STATE.name]
    for key, row in rows.items():
        place = Place(topics.ORDER_STATE.named(log.prefix), row.partition, row.offset)
        fields = _fields(report, row, place)
        if fields is None:
            continue
        if b"%d" % fields["order_id"] != key:
            report.add("row_differs", place, f"its key is {key!r}", order_id=fields["order_id"])
        _check_row(report, place, fields, outcomes, live=live)
    if not live:
        for order_id, versions in outcomes.versions.items():
            if versions and b"%d" % order_id not in rows:
                report.add("row_behind", Place(topics.ORDER_STATE.named(log.prefix)), "it has no row", order_id=order_id)
    report.count("I2", changelog_rows=len(rows))


def _fields(report: Report, row: Row, place: Place) -> dict[str, Any] | None:
    try:
        return decode(row.value)[1]
    except UndecodableError as error:
        report.add("row_differs", place, str(error))
        return None


def _check_row(report: Report, place: Place, row: dict[str, Any], outcomes: Outcomes, *, live: bool) -> None:
    order_id, version = row["order_id"], row["version"]
    versions = outcomes.versions.get(order_id, [])
    if not live and version < len(versions):
        report.add("row_behind", place, f"it is at version {version}, the last outcome is {len(versions)}", order_id=order_id)
    elif version > len(versions):
        if live:
            return
        report.add("row_differs", place, f"it is at version {version}, the last outcome is {len(versions)}", order_id=order_id)
    elif version:
        wrong = _differences(row, versions[version - 1], outcomes, live=live)
        if wrong:
            report.add("row_differs", place, ", ".join(wrong), order_id=order_id, version=version)


def _differences(row: dict[str, Any], item: int, outcomes: Outcomes, *, live: bool) -> list[str]:
    table = outcomes.table
    said = {"status": _STATUSES.get(row["status"]), "refusal": _REFUSALS.get(row["refusal"])}
    said |= {name: row[name] for name in (_SAME if live else (*_SAME, *_MONEY))}
    wrong = [f"{name} is {value!r}, the outcome says {table[name][item]!r}" for name, value in said.items() if table[name][item] != value]
    return wrong if _same_lines(row, item, outcomes) else [*wrong, "its lines differ from the outcome's"]


def _same_lines(row: dict[str, Any], item: int, outcomes: Outcomes) -> bool:
    """Compare column by column; a row has its lines in the order in which they were heard of."""
    lines, items = outcomes.log.outcome_lines, outcomes.lines(item)
    columns = [row[name] for name in _LINE] + [[_LINES.get(status) for status in row["line_status"]]]
    order = sorted(range(len(row["line"])), key=row["line"].__getitem__) if len(row["line"]) > 1 else ()
    if order:
        columns = [[column[i] for i in order] for column in columns]
    return all([column == list(lines[name][items.start : items.stop]) for name, column in zip(_COLUMNS, columns, strict=True)])
