"""I6: every row and every hash against the fold of stock.levels and order.outcomes. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from holdfast.audit.log import Log
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.report import Report
from holdfast.audit.stores import LINE_FIELDS, Stores, digest_of_lines
from holdfast.audit.table import Place, Table
from schemas import views
from schemas.outcomes import MAX_ID_LENGTH, MAX_TIME

NONE: Final = -1
SKIP: Final = -2
"""The log has no record any more that a row could be compared with."""
_MYSQL: Final = ("store_row_missing", "store_row_extra", "store_row_differs")
_REDIS: Final = ("cache_missing", "cache_extra", "cache_differs")


class StoreRows:
    """Compares the stores with the log. In live a row may be of any version that the log has."""

    def __init__(self, log: Log, stores: Stores, report: Report, outcomes: Outcomes, *, live: bool) -> None:
        self.log = log
        self.stores = stores
        self.report = report
        self.outcomes = outcomes
        self.live = live
        self.levels: dict[tuple[str, int], int] = {}
        """(product, version) -> its record on stock.levels."""
        self.last_level: dict[str, int] = {}
        self.last_outcome: dict[int, int] = {}

    def check(self) -> None:
        """Check every row and every hash."""
        self._fold_levels()
        self._fold_outcomes()
        mysql, cache = self.stores.mysql, self.stores.cache
        self._check_products(mysql[views.PRODUCTS], _MYSQL)
        self._check_products(cache["stock"], _REDIS)
        self._check_orders(mysql[views.ORDERS], _MYSQL)
        self._check_orders(cache["order"], _REDIS)
        self._check_lines(mysql[views.ORDER_LINES])
        self._check_users(mysql[views.USERS])
        for order_id, line, shard, wanted in self.stores.misplaced:
            self._complain_of_line("store_row_extra", mysql[views.ORDER_LINES], order_id, line, f"on shard {shard}, its product's lines are on {wanted}")
        for place, why in self.stores.malformed:
            self.report.add("cache_differs", place, why)
        self.report.count("I6", **{f"{name}_rows": len(table) for name, table in mysql.items()})
        self.report.count("I6", **{f"{name}_hashes": len(table) for name, table in cache.items()})

    def _fold_levels(self) -> None:
        levels = self.log.levels
        for item, (product, version) in enumerate(zip(levels["product_id"], levels["version"], strict=True)):
            if 1 <= len(product) <= MAX_ID_LENGTH:
                self.levels[product, version] = item
                if version >= levels["version"][self.last_level.get(product, item)]:
                    self.last_level[product] = item

    def _fold_outcomes(self) -> None:
        for order_id, versions in self.outcomes.versions.items():
            last = next((item for item in reversed(versions) if self._is_storable(item)), None)
            if last is not None:
                self.last_outcome[order_id] = last

    def _is_storable(self, item: int) -> bool:
        """A refused order may name no user or no product at all; the sinks dead-letter such an outcome."""
        t, lines = self.log.outcomes, self.log.outcome_lines["product_id"]
        times = all(0 <= t[name][item] <= MAX_TIME for name in ("placed_at", "decided_at", "changed_at"))
        return times and 1 <= len(t["user_id"][item]) <= MAX_ID_LENGTH and all(1 <= len(lines[i]) <= MAX_ID_LENGTH for i in self.outcomes.lines(item))

    # -- products and orders -------------------------------------------------------------------------------------------

    def _check_products(self, rows: Table, kinds: tuple[str, str, str]) -> None:
        def find(row: int) -> int:
            product = rows["product_id"][row]
            if self.live and product in self.last_level:
                return self.levels.get((product, rows["version"][row]), self._compacted(product, rows["version"][row]))
            return self.last_level.get(product, NONE)

        seen = self._compare(rows, kinds, find, self.log.levels, views.PRODUCT_COLUMNS)
        self._check_missing(rows, kinds[0], [product for product in self.last_level if product not in seen])

    def _compacted(self, product: str, version: int) -> int:
        """A version between those that compaction left cannot be compared; one behind the last cannot be."""
        last = self.last_level[product]
        return last if version > self.log.levels["version"][last] else SKIP

    def _check_orders(self, rows: Table, kinds: tuple[str, str, str]) -> None:
        def find(row: int) -> int:
            order_id = rows["order_id"][row]
            if self.log.is_old(order_id):
                return SKIP  # old_orders.py compares it
            last = self.last_outcome.get(order_id, NONE)
            return self._version(order_id, rows["version"][row], last) if self.live and last != NONE else last

        seen = self._compare(rows, kinds, find, self.log.outcomes, views.ORDER_COLUMNS)
        self._check_missing(rows, kinds[0], [order_id for order_id in self.last_outcome if order_id not in seen])

    def _version(self, order_id: int, version: int, last: int) -> int:
        """Return the order's outcome of a version; the last one if it has no such version, so that the row differs."""
        versions = self.outcomes.versions[order_id]
        return versions[version - 1] if 1 <= version <= len(versions) else last

    def _compare(self, rows: Table, kinds: tuple[str, str, str], find: Callable[[int], int], truth: Table, columns: Sequence[str]) -> set[Any]:
        """Compare each row with the record that `find` gives for it; returns the keys of the rows."""
        key, seen = columns[0], set[Any]()
        for row, name in enumerate(rows[key]):
            seen.add(name)
            item = find(row)
            if item == NONE:
                self._complain(kinds[1], rows, key, name)
            elif item != SKIP:
                wrong = [f"{c} is {rows[c][row]!r}, the log says {truth[c][item]!r}" for c in columns if rows[c][row] != truth[c][item]]
                if rows is self.stores.cache["order"] and rows["lines"][row] != self._digest(item):
                    wrong.append("its lines differ from the log's")
                if wrong:
                    self._complain(kinds[2], rows, key, name, ", ".join(wrong))
        return seen

    def _digest(self, item: int) -> int:
        lines = self.log.outcome_lines
        return digest_of_lines([{name: lines[name][i] for name in LINE_FIELDS} for i in self.outcomes.lines(item)])

    def _check_missing(self, rows: Table, kind: str, names: Sequence[str | int]) -> None:
        if not self.live:
            for name in names:
                self._complain(kind, rows, "product_id" if isinstance(name, str) else "order_id", name)

    def _complain(self, kind: str, rows: Table, key: str, name: str | int, detail: str = "") -> None:
        ids: dict[str, str | int] = {key: name}
        self.report.add(kind, Place(rows.topic), detail, **ids)

    # -- order lines and users -----------------------------------------------------------------------------------------

    def _check_lines(self, rows: Table) -> None:
        by_order: dict[int, dict[int, int]] = {}
        for row, (order_id, line) in enumerate(zip(rows["order_id"], rows["line"], strict=True)):
            by_order.setdefault(order_id, {})[line] = row
        for order_id, found in by_order.items():
            if self.log.is_old(order_id):
                continue
            item = self.last_outcome.get(order_id, NONE)
            if item == NONE:
                for line in found:
                    self._complain_of_line("store_row_extra", rows, order_id, line)
                continue
            if self.live:
                item = self._version(order_id, max(rows["version"][row] for row in found.values()), item)
            self._check_order_lines(rows, order_id, item, found)
        if not self.live:
            for order_id, item in self.last_outcome.items():
                if order_id not in by_order:
                    self._check_order_lines(rows, order_id, item, {})

    def _check_order_lines(self, rows: Table, order_id: int, item: int, found: dict[int, int]) -> None:
        lines, version = self.log.outcome_lines, self.log.outcomes["version"][item]
        for i in self.outcomes.lines(item):
            line = lines["line"][i]
            row = found.pop(line, None)
            if row is None:
                self._complain_of_line("store_row_missing", rows, order_id, line)
                continue
            wrong = [f"{name} is {rows[name][row]!r}, the log says {lines[name][i]!r}" for name in LINE_FIELDS if rows[name][row] != lines[name][i]]
            if rows["version"][row] != version:
                wrong.append(f"version is {rows['version'][row]}, the log says {version}")
            if wrong:
                self._complain_of_line("store_row_differs", rows, order_id, line, ", ".join(wrong))
        for line in found:
            self._complain_of_line("store_row_extra", rows, order_id, line)

    def _complain_of_line(self, kind: str, rows: Table, order_id: int, line: int, detail: str = "") -> None:
        self.report.add(kind, Place(rows.topic), detail, order_id=order_id, line=line)

    def _check_users(self, rows: Table) -> None:
        wanted = self._users()
        columns = [rows[name] for name in views.USER_COLUMNS]
        for user_id, first, last in zip(*columns, strict=True):
            times = wanted.pop(user_id, None)
            if times is None:
                if not self.log.begins_at:
                    self.report.add("store_row_extra", Place(rows.topic), user_id=user_id)
            elif times != (first, last) and not self._may_be(times, first, last):
                detail = f"first and last order at {first} and {last}, the log says {times[0]} and {times[1]}"
                self.report.add("store_row_differs", Place(rows.topic), detail, user_id=user_id)
        if not self.live:
            for user_id in wanted:
                self.report.add("store_row_missing", Place(rows.topic), user_id=user_id)

    def _may_be(self, times: tuple[int, int], first: int, last: int) -> bool:
        """Return whether a user's row may say so: sinks may be under way, and orders before the log begins may be older, and newer, than those in it."""
        if self.log.begins_at:
            return self.live or (first <= times[0] and times[1] <= last)
        return self.live and times[0] <= first <= last <= times[1]

    def _users(self) -> dict[str, tuple[int, int]]:
        users: dict[str, tuple[int, int]] = {}
        for user_id, at in self._orders_of_users():
            first, last = users.get(user_id, (at, at))
            users[user_id] = min(first, at), max(last, at)
        return users

    def _orders_of_users(self) -> Iterator[tuple[str, int]]:
        t = self.log.outcomes
        for item in self.last_outcome.values():
            yield t["user_id"][item], t["placed_at"][item]
