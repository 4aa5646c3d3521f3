"""I2: every order's outcomes, one by one along the transition table. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

from holdfast.audit.log import OUTCOME_LINE, Log
from holdfast.audit.report import Report
from holdfast.audit.table import MISSING, Table
from schemas.outcomes import DECISIONS, DeadLetterReason, Refusal
from schemas.topics import STOCK_DECISIONS

DECIDED_STATUSES: Final = frozenset(status.name for status in DECISIONS)
IMPORTED: Final = "IMPORTED"
_IMPORTED: Final = ("status", "refusal", "user_id", "currency", "charged", "refunded", "placed_at", "decided_at", "changed_at")
KEPT: Final = frozenset({"CONFIRMED", "SHIPPED", "RETURNED"})
"""Statuses of an order that got its goods."""
_REASONS: Final = {
    **dict.fromkeys(KEPT, ""),
    "PAYMENT_FAILED": Refusal.PAYMENT_DECLINED.name,
    "EXPIRED": Refusal.DEADLINE_PASSED.name,
    "CANCELLED": Refusal.CANCELLED_ON_REQUEST.name,
}
_MOVES: Final = frozenset(
    {
        ("SHIPPED", "CONFIRMED", "CONFIRMED"),
        ("SHIPPED", "CONFIRMED", "SHIPPED"),
        ("RETURNED", "CONFIRMED", "CONFIRMED"),
        ("RETURNED", "SHIPPED", "SHIPPED"),
        ("RETURNED", "SHIPPED", "RETURNED"),
    }
)
"""(change, status before, status after); AMENDED leaves every status as it is."""
_LINE_MOVES: Final = frozenset({("HELD", "SHIPPED"), ("SHIPPED", "RETURNED")})
_FIXED: Final = ("user_id", "currency", "line_count", "placed_at", "decided_at", "refusal")
_FIXED_OF_LINE: Final = ("product_id", "quantity", "unit_price", "refusal")


class Outcomes:
    """Every order's outcomes: `versions[order_id]` are items of `log.outcomes`, version 1, 2, ... as far as there is no hole."""

    def __init__(self, log: Log, report: Report, *, live: bool) -> None:
        self.log = log
        self.table = log.outcomes
        self.report = report
        self.live = live
        self.versions: dict[int, list[int]] = {}
        self.placed: dict[int, int] = {}
        """order_id -> the first item of `log.lines` that names it."""
        self.imports: dict[int, list[int]] = {}
        """order_id -> items of `log.imports`: what another system has decided."""
        for item, order_id in enumerate(log.imports["order_id"]):
            self.imports.setdefault(order_id, []).append(item)
        for item, order_id in enumerate(log.lines["order_id"]):
            if order_id > 0 and order_id not in self.placed and not log.is_old(order_id):
                self.placed[order_id] = item

    def latest(self, order_id: int) -> int | None:
        """Return the item of an order's last outcome, if it has any."""
        versions = self.versions.get(order_id)
        return versions[-1] if versions else None

    def status(self, order_id: int) -> str:
        """Return an order's status by its last outcome; empty while it is undecided."""
        item = self.latest(order_id)
        return "" if item is None else str(self.table["status"][item])

    def is_imported(self, order_id: int) -> bool:
        """Return whether an order was decided by another system: its first outcome says so."""
        versions = self.versions.get(order_id, ())
        return any(self.table["change"][item] == IMPORTED for item in versions[:1])

    def lines(self, item: int) -> range:
        """Return the items of `log.outcome_lines` that belong to an outcome."""
        first = self.table["first_line"][item]
        return range(first, first + self.table["lines"][item])

    def check(self) -> None:
        """Check every order."""
        for order_id, items in self.by_order():
            if not self.log.is_old(order_id):
                self._check_order(order_id, items)
        too_old = self._too_old()
        undecided = [order_id for order_id in self.placed if order_id not in self.versions and order_id not in too_old]
        if not self.live:
            for order_id in undecided:
                self.report.add("undecided", self.log.lines.place(self.placed[order_id]), order_id=order_id)
        self.report.count("I2", orders=len(self.placed), imported=len(self.imports), outcomes=len(self.table), undecided=len(undecided))

    def _too_old(self) -> set[int]:
        """Return the orders of which lines were given up because their ID is older than rows are kept: such an order may never have been decided."""
        letters, d = self.log.dead_letters, self.log.decisions
        found = set[int]()
        for reason, topic, *place in zip(*(letters[name] for name in ("reason", "topic", "partition", "offset", "index")), strict=True):
            if reason == DeadLetterReason.ORDER_TOO_OLD and topic == STOCK_DECISIONS.named(self.log.prefix):
                item = d.find(*place)
                found |= set() if item == MISSING else {d["order_id"][item]}
        return found

    def by_order(self) -> Iterator[tuple[int, list[int]]]:
        """Yield each order with its outcomes, as they stand in the log."""
        by_order: defaultdict[int, list[int]] = defaultdict(list)
        for item, order_id in enumerate(self.table["order_id"]):
            by_order[order_id].append(item)
        return iter(by_order.items())

    def _check_order(self, order_id: int, items: list[int]) -> None:
        versions, place = self.table["version"], self.table.place
        if order_id not in self.placed and order_id not in self.imports:
            self.report.add("outcome_without_order", place(items[0]), order_id=order_id)
        self._check_places(order_id, items)
        chain: list[int] = []
        for item in sorted(items, key=versions.__getitem__):
            version, expected = versions[item], len(chain) + 1
            if version < expected:
                self.report.add("outcome_version_doubled", place(item), order_id=order_id, version=version)
                continue
            if version > expected:
                if self._is_claim(items, version):
                    self.report.add("outcome_version_missing", place(item), f"version {expected} is not there", order_id=order_id, version=version)
                break
            self.check_change(chain[-1] if chain else None, item)
            chain.append(item)
        self.versions[order_id] = chain
        decisions = [item for item in items if self.table["change"][item] == "DECIDED"]
        for item in decisions[1:]:
            self.report.add("decided_twice", place(item), order_id=order_id)

    def _is_claim(self, items: list[int], version: int) -> bool:
        return any(self.table["version"][item] >= version and self.table.settled(item) for item in items)

    def _check_places(self, order_id: int, items: list[int]) -> None:
        highest = 0
        for item in items:
            version = self.table["version"][item]
            if version < highest:
                self.report.add("outcome_out_of_order", self.table.place(item), f"after version {highest}", order_id=order_id, version=version)
            highest = max(version, highest)
            here = self.table.partition_of(item)
            home = self.log.generations.home_of_order(order_id, here)
            if here != home:
                self.report.add("outcome_misplaced", self.table.place(item), f"its partition is {home}", order_id=order_id)

    def check_change(self, before: int | None, item: int) -> None:
        """Check one outcome after the one `before` it; None: it is the first."""
        t = self.table
        change, status, refusal = t["change"][item], t["status"][item], t["refusal"][item]
        if before is None:
            if change == IMPORTED:
                self._check_import(item)
            elif change != "DECIDED" or status not in DECIDED_STATUSES:
                self._illegal(item, f"the first outcome is {change} {status}")
        else:
            self._check_move(before, item)
        if refusal != _REASONS.get(status, refusal) or (status == "REJECTED" and not refusal):
            self.report.add("wrong_refusal", t.place(item), f"{status} because of {refusal or 'nothing'}", order_id=t["order_id"][item])

    def _check_import(self, item: int) -> None:
        """What is published of an order that another system has decided is what was imported, word for word."""
        order_id = self.table["order_id"][item]
        faults = [self._import_fault(imported, item) for imported in self.imports.get(order_id, ())]
        if all(faults):
            detail = faults[0] if faults else "nobody imported it"
            self.report.add("import_differs", self.table.place(item), detail, order_id=order_id)

    def _import_fault(self, imported: int, item: int) -> str:
        i, t = self.log.imports, self.table
        wrong = [f"{name} was {i[name][imported]!r}, is {t[name][item]!r}" for name in _IMPORTED if i[name][imported] != t[name][item]]
        first, count = i["first_line"][imported], i["lines"][imported]
        lines, own = self.log.import_lines, self.lines(item)
        same = all(lines[name][first : first + count] == self.log.outcome_lines[name][own.start : own.stop] for name in OUTCOME_LINE)
        counts = t["line_count"][item] == count and t["version"][item] == 1
        return ", ".join([*wrong, *([] if same else ["other lines"]), *([] if counts else [f"version or line count differ from 1 and {count}"])])

    def _check_move(self, before: int, item: int) -> None:
        t = self.table
        change, was, status = t["change"][item], t["status"][before], t["status"][item]
        if (change, was, status) not in _MOVES and not (change == "AMENDED" and was == status):
            self._illegal(item, f"{change} from {was} to {status}")
        for field in _FIXED:
            if t[field][before] != t[field][item]:
                detail = f"{field} was {t[field][before]}, is {t[field][item]}"
                self.report.add("outcome_changed", t.place(item), detail, order_id=t["order_id"][item], version=t["version"][item])
        self._check_lines(before, item)

    def _check_lines(self, before: int, item: int) -> None:
        lines = self.log.outcome_lines
        old, new = self.lines(before), self.lines(item)
        if self._same(old, new):
            pairs = [(a, b) for a, b in zip(old, new, strict=True) if self._moves(a, b)]
        else:
            numbers = {lines["line"][i]: i for i in new}
            pairs = [(a, numbers.get(lines["line"][a], MISSING)) for a in old]
        for a, b in pairs:
            fault = "is gone" if b == MISSING else _line_fault(lines, a, b)
            if fault:
                self._illegal(item, f"line {lines['line'][a]} {fault}")

    def _same(self, old: range, new: range) -> bool:
        """Return whether two outcomes name the same lines; whole columns at a time, for most do."""
        columns = (self.log.outcome_lines[field] for field in ("line", *_FIXED_OF_LINE))
        return all(column[old.start : old.stop] == column[new.start : new.stop] for column in columns)

    def _moves(self, old: int, new: int) -> bool:
        lines = self.log.outcome_lines
        return bool(lines["status"][old] != lines["status"][new] or lines["returned"][old] != lines["returned"][new])

    def _illegal(self, item: int, detail: str) -> None:
        t = self.table
        self.report.add("illegal_transition", t.place(item), detail, order_id=t["order_id"][item], version=t["version"][item])


def _line_fault(lines: Table, old: int, new: int) -> str:
    """Return how one line changed as no line may; empty if it did not."""
    was, status = lines["status"][old], lines["status"][new]
    if was != status and (was, status) not in _LINE_MOVES:
        return f"went from {was} to {status}"
    if lines["returned"][new] < lines["returned"][old]:
        return "has fewer units returned than before"
    same = all(lines[field][old] == lines[field][new] for field in _FIXED_OF_LINE)
    return "" if same else "names another product, quantity, price or refusal than before"
