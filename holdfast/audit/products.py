"""I1 and, for stock, I4: walks every product through its versions and compares what each record says of it. Pure."""

from __future__ import annotations

from operator import itemgetter
from typing import Any, Final

from holdfast.audit.lines import refusal_name
from holdfast.audit.log import Log, Row
from holdfast.audit.opening import Opening, Openings
from holdfast.audit.report import Report
from holdfast.audit.shelf import NUMBERS, Count, Numbers, Shelf, is_balanced
from holdfast.audit.table import MISSING, Place
from holdfast.audit.timeline import Said, Timelines
from holdfast.audit.wire import UndecodableError
from schemas import topics
from schemas.outcomes import Refusal, StockCommandKind

_STATED: Final = (*NUMBERS, "tracked", "frozen")
_stated = itemgetter(*_STATED)


class Products:
    """Checks every product; afterwards `reserved` has each product's reserved units at its last version."""

    def __init__(self, log: Log, report: Report, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.live = live
        self.reserved: dict[str, int] = {}
        self.states: list[tuple[Row, dict[str, Any]]] = []
        self.timelines = Timelines(log)
        self._add_states()
        self._shelf = Shelf()
        self._openings = Openings(log)
        self.opened = 0
        """How many products began before the log does."""
        self._product = ""
        self._checks = (self._hold, self._move, self._refused_line, self._refused_move, self._level, self._state)
        d, m = log.decisions, log.movements
        self._quantity, self._available, self._refusal = d["quantity"], d["available"], d["refusal"]
        self._move_columns = [m[name] for name in NUMBERS]
        self._level_columns = [log.levels[name] for name in _STATED]

    def _add_states(self) -> None:
        for row in self.log.rows[topics.STOCK_STATE.name].values():
            try:
                fields = row.fields()
            except UndecodableError as error:
                self.report.add("state_differs", self._state_place(row), str(error))
                continue
            self.timelines.add_state(fields["product_id"], fields["version"], len(self.states))
            self.states.append((row, fields))

    def check(self) -> None:
        """Check every product."""
        versions = 0
        for product in self.timelines.entries:
            versions += self._walk(product)
        self._check_order_of_levels()
        holds = self._refusal.count(0)
        self.report.count("I1", products=len(self.timelines.entries), versions=versions, levels=len(self.log.levels), changelog_rows=len(self.states))
        self.report.count("I4", refused_lines=len(self._refusal) - holds, held_lines=holds)

    def _walk(self, product: str) -> int:
        """Fold one product; returns how many versions it has."""
        self._product = product
        last = self.timelines.last.get(product, 0)
        opening = self._opening(product)
        version, self._shelf = opening
        said_last = stated_last = 0
        for at, said, item in self.timelines.of(product):
            if at > last and self.live:
                break
            if at < opening.version or (at == opening.version and said <= Said.MOVE):
                continue
            if said <= Said.MOVE:
                if not self._follows(at, version, said, item):
                    continue
                version = at
            elif at != version:
                self._unknown_version(at, version, said, item)
                continue
            self._checks[said](item)
            said_last = at if said == Said.LEVEL else said_last
            stated_last = at if said == Said.STATE else stated_last
        self.reserved[product] = self._shelf.numbers[1]
        if not self.live:
            self._check_last("level_behind", topics.STOCK_LEVELS.named(self.log.prefix), said_last, version)
            self._check_last("state_behind", topics.STOCK_STATE.named(self.log.prefix), stated_last, version)
        return version

    def _opening(self, product: str) -> Opening:
        """Return how a product stood before its first change: it was nothing, unless the log's beginning is gone."""
        found = self._openings.of(list(self.timelines.of(product)), self._last_state(product)) if self.log.begins_at else None
        self.opened += found is not None
        return found or Opening(0, Shelf())

    def _last_state(self, product: str) -> dict[str, Any] | None:
        return next((self.states[item][1] for _, said, item in self.timelines.of(product) if said == Said.STATE), None)

    def _follows(self, at: int, version: int, said: int, item: int) -> bool:
        """Note a hole or a double; returns whether the change is the product's next."""
        if at == version + 1:
            return True
        place, product = self._place(said, item), self._product
        if at <= version:
            self.report.add("version_doubled", place, "this version was made before", product_id=product, version=at)
            return False
        self.report.add("version_missing", place, f"the version before it in the log is {version}", product_id=product, version=at)
        return True

    def _unknown_version(self, at: int, version: int, said: int, item: int) -> None:
        kind = {Said.LEVEL: "level_unknown", Said.STATE: "state_differs"}.get(Said(said), "numbers_differ")
        self.report.add(kind, self._place(said, item), f"the product has no version {at} (it has {version})", product_id=self._product, version=at)

    def _check_last(self, kind: str, topic: str, stated: int, version: int) -> None:
        if stated < version:
            place = Place(topic, self.log.generations.home_of_product(self._product))
            self.report.add(kind, place, f"the last one there is {stated or 'none'}", product_id=self._product, version=version)

    def _place(self, said: int, item: int) -> Place:
        if said == Said.STATE:
            return self._state_place(self.states[item][0])
        table = self.log.levels if said == Said.LEVEL else self.log.decisions if said in (Said.HOLD, Said.REFUSED_LINE) else self.log.movements
        return table.place(item)

    def _state_place(self, row: Row) -> Place:
        return Place(topics.STOCK_STATE.named(self.log.prefix), row.partition, row.offset)

    # -- changes -------------------------------------------------------------------------------------------------------

    def _hold(self, item: int) -> None:
        shelf = self._shelf
        if shelf.frozen:
            self._complain("held_though_frozen", Said.HOLD, item)
        shelf.hold(self._quantity[item])
        self._check_sound(Said.HOLD, item)
        stated = self._available[item]
        if stated != shelf.numbers[0]:
            self._complain("numbers_differ", Said.HOLD, item, f"available is {shelf.numbers[0]}, the record says {stated}")
            a, r, sh, i, w, b = shelf.numbers
            shelf.numbers = stated, r, sh, i + stated - a, w, b  # go on from what was said, or every later record would differ

    def _move(self, item: int) -> None:
        kind, shelf = self.log.movements["kind"][item], self._shelf
        if kind == StockCommandKind.COUNT:
            self._count(item)
        else:
            shelf.move(kind, self.log.movements["quantity"][item], self._decided_at(item))
        self._check_sound(Said.MOVE, item)
        self._check_stated(item, Said.MOVE)

    def _decided_at(self, item: int) -> int:
        return int(self.log.movements.head("decided_at")[self.log.movements.record[item]])

    def _counted(self, item: int) -> Count | None:
        """Return what a COUNT says, from the command it answers; None where the command is not to be found (I5 says so)."""
        m = self.log.movements
        command = self.log.stock_commands.find(m.head("partition")[m.record[item]], m["offset"][item], m["index"][item])
        if command == MISSING:
            return None
        return Count(m["quantity"][item], min(self.log.stock_commands["as_of"][command], self._decided_at(item)))

    def _count(self, item: int) -> None:
        count = self._counted(item)
        if count is None or count.at <= self.log.begins_at > 0:  # of when nothing is known any more
            self._shelf.numbers = self._numbers(item)
            return
        expected, forgotten = self._shelf.correction(count), self._shelf.is_forgotten(count.at)
        refusal = self._shelf.count(count)
        if forgotten or refusal != self.log.movements["refusal"][item] or self._shelf.numbers != self._numbers(item):
            detail = "it comes too late to be compared" if forgotten else f"the books and the count are {expected} units apart"
            self._complain("count_unexplained", Said.MOVE, item, detail)

    def _check_sound(self, said: Said, item: int) -> None:
        if self._shelf.is_negative:
            self._complain("oversold", said, item, _described(self._shelf.numbers))

    def _numbers(self, item: int) -> Numbers:
        a, r, s, i, w, b = [column[item] for column in self._move_columns]
        return a, r, s, i, w, b

    def _check_stated(self, item: int, said: Said) -> None:
        stated = self._numbers(item)
        if not is_balanced(stated):
            self._complain("identity_broken", said, item, _described(stated))
        if stated != self._shelf.numbers:
            self._complain("numbers_differ", said, item, f"{_described(self._shelf.numbers)}; the record says {_described(stated)}")
            self._shelf.numbers = stated

    # -- refusals ------------------------------------------------------------------------------------------------------

    def _refused_line(self, item: int) -> None:
        shelf, refusal = self._shelf, self._refusal[item]
        available, quantity = shelf.numbers[0], self._quantity[item]
        if self._available[item] != available:
            self._complain("numbers_differ", Said.REFUSED_LINE, item, f"available is {available}, the record says {self._available[item]}")
        if refusal == Refusal.PRODUCT_FROZEN:
            if not shelf.frozen:
                self._complain("refused_not_frozen", Said.REFUSED_LINE, item)
        elif refusal != Refusal.INSUFFICIENT_STOCK or shelf.frozen or not shelf.tracked or available >= quantity:
            detail = f"{available} available for {quantity}" + ("" if shelf.tracked else ", untracked") + (", frozen" if shelf.frozen else "")
            self._complain("refused_with_stock", Said.REFUSED_LINE, item, f"{detail}; refused with {refusal_name(refusal)}")

    def _refused_move(self, item: int) -> None:
        self._check_stated(item, Said.REFUSED_MOVE)
        kind, refusal = self.log.movements["kind"][item], self.log.movements["refusal"][item]
        if not self._is_just(kind, refusal, item):
            self._complain("command_refused_unjustly", Said.REFUSED_MOVE, item, f"{refusal_name(refusal)}: {_described(self._shelf.numbers)}")

    def _is_just(self, kind: int, refusal: int, item: int) -> bool:
        if kind in (StockCommandKind.WRITE_OFF, StockCommandKind.REHOLD):
            return refusal == Refusal.INSUFFICIENT_STOCK and self.log.movements["quantity"][item] > self._shelf.numbers[0]
        if kind in (StockCommandKind.TRACK, StockCommandKind.UNTRACK):
            return refusal == Refusal.ALREADY_DECIDED and self._shelf.numbers[1] > 0
        count = self._counted(item) if kind == StockCommandKind.COUNT else None
        return count is not None and refusal == Refusal.COUNT_TOO_OLD and self._shelf.is_forgotten(count.at)

    # -- what is said of a state ---------------------------------------------------------------------------------------

    def _level(self, item: int) -> None:
        levels = self.log.levels
        stated = tuple([column[item] for column in self._level_columns])
        self._compare("level_differs", Said.LEVEL, item, stated)
        if not is_balanced(stated):
            self._complain("identity_broken", Said.LEVEL, item, _described(stated[: len(NUMBERS)]))
        here = levels.partition_of(item)
        if here != self.log.generations.home_of_product(self._product, here):
            self._complain("level_misplaced", Said.LEVEL, item)

    def _state(self, item: int) -> None:
        self._compare("state_differs", Said.STATE, item, _stated(self.states[item][1]))

    def _compare(self, kind: str, said: Said, item: int, stated: tuple[int, ...]) -> None:
        found = (*self._shelf.numbers, self._shelf.tracked, self._shelf.frozen)
        if found != stated:
            wrong = (f"{name} is {int(f)}, the record says {int(s)}" for name, f, s in zip(_STATED, found, stated, strict=True) if f != s)
            self._complain(kind, said, item, ", ".join(wrong))

    def _complain(self, kind: str, said: Said, item: int, detail: str = "") -> None:
        ids: dict[str, int | str] = {"product_id": self._product}
        if said in (Said.HOLD, Said.REFUSED_LINE):
            ids |= {"version": self.log.decisions["version"][item], "order_id": self.log.decisions["order_id"][item], "line": self.log.decisions["line"][item]}
        elif said in (Said.MOVE, Said.REFUSED_MOVE):
            ids |= {"version": self.log.movements["version"][item], "command_id": self.log.movements["command_id"][item]}
        self.report.add(kind, self._place(said, item), detail, **ids)

    def _check_order_of_levels(self) -> None:
        levels, highest = self.log.levels, dict[str, int]()
        for item, (product, version) in enumerate(zip(levels["product_id"], levels["version"], strict=True)):
            if version < highest.get(product, 0):
                self.report.add("level_backwards", levels.place(item), f"after version {highest[product]}", product_id=product, version=version)
            highest[product] = max(version, highest.get(product, 0))


def _described(numbers: tuple[int, ...]) -> str:
    return ", ".join(f"{name} {number}" for name, number in zip(NUMBERS, numbers, strict=True))
