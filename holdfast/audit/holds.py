"""I3: who holds what. Every hold of every line, what became of it, and whether its order is entitled to it. Pure."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from types import MappingProxyType
from typing import Final

from holdfast.audit.log import Log
from holdfast.audit.outcomes import KEPT, Outcomes
from holdfast.audit.report import Report
from holdfast.audit.table import MISSING, Place
from schemas import topics
from schemas.outcomes import StockCommandKind

_SPAN: Final = 2**32
_SHIPPED: Final = frozenset({"SHIPPED", "RETURNED"})
Units = tuple[str, int]
"""A product and a number of units: what one hold is."""


class Holds:
    """Per line (order ID and number): its first hold, and how many holds, releases, ships and returned units it had."""

    def __init__(self, log: Log, report: Report, outcomes: Outcomes, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.outcomes = outcomes
        self.live = live
        self._product, self._quantity = log.decisions["product_id"], log.decisions["quantity"]
        self.at: dict[int, int] = {}
        """order ID and line in one number -> place in the columns below."""
        self.hold = array("q")
        self.holds, self.released, self.shipped, self.returned = array("q"), array("q"), array("q"), array("q")
        self.odd: defaultdict[int, list[Units]] = defaultdict(list)
        """Lines with more than one hold: all of them; every other line's one hold is in `hold`."""
        self.odd_released: defaultdict[int, list[Units]] = defaultdict(list)
        self.kept: Counter[int] = Counter()
        """order ID -> how many of its lines are held or shipped."""

    def check(self, reserved: Mapping[str, int], old: Mapping[str, int] = MappingProxyType({})) -> None:
        """Check every line; `reserved`: each product's reserved units as its own history gives them, `old`: those of orders that began before the log does."""
        self._read_holds()
        moves = self._read_moves()
        entitled: Counter[str] = Counter(old)
        for key, number in self.at.items():
            self._check_line(key // _SPAN, key % _SPAN, number, entitled)
        confirmed = self._check_confirmed()
        if not self.live:
            self._check_reserved(reserved, entitled)
        self.report.count("I3", confirmed_orders=confirmed, lines=len(self.at), holds=sum(self.holds), moves=moves)

    # -- reading -------------------------------------------------------------------------------------------------------

    def _read_holds(self) -> None:
        d = self.log.decisions
        orders, lines = d["order_id"], d["line"]
        for item, refusal in enumerate(d["refusal"]):
            if refusal == 0 and not self.log.is_old(orders[item]):
                self._add_hold(orders[item] * _SPAN + lines[item], item)

    def _add_hold(self, key: int, item: int) -> None:
        number = self.at.setdefault(key, len(self.hold))
        if number == len(self.hold):
            self.hold.append(item)
            for column in (self.holds, self.released, self.shipped, self.returned):
                column.append(0)
        elif number not in self.odd:
            self.odd[number] = [self._units(self.hold[number]), self._units(item)]
        else:
            self.odd[number].append(self._units(item))
        self.holds[number] += 1

    def _units(self, item: int) -> Units:
        return self._product[item], self._quantity[item]

    def _read_moves(self) -> int:
        m = self.log.movements
        orders, lines, refusals = m["order_id"], m["line"], m["refusal"]
        moves = 0
        for item, kind in enumerate(m["kind"]):
            if kind >= StockCommandKind.RELEASE and not refusals[item] and m.settled(item) and not self.log.is_old(orders[item]):
                moves += 1
                self._move(kind, self.at.get(orders[item] * _SPAN + lines[item], MISSING), item)
        return moves

    def _move(self, kind: int, number: int, item: int) -> None:
        """Take one release, ship or return; it must be of units that were held for that line and not resolved before."""
        m = self.log.movements
        units = m["product_id"][item], m["quantity"][item]
        if kind == StockCommandKind.RETURN:
            self._give_back(number, units, item)
        elif kind == StockCommandKind.REHOLD:
            self._hold_again(number, units, item)
        elif number == MISSING or not self._was_held(number, units):
            self._complain_of_move("resolved_without_hold", item, "no such units were held for that line")
        else:
            (self.released if kind == StockCommandKind.RELEASE else self.shipped)[number] += 1
            if kind == StockCommandKind.RELEASE and number in self.odd:
                self.odd_released[number].append(units)
            if self.released[number] + self.shipped[number] > self.holds[number]:
                self._complain_of_move("resolved_twice", item, f"it had {self.holds[number]} holds")

    def _hold_again(self, number: int, units: Units, item: int) -> None:
        """Take back a release: only units that the line held and does no longer."""
        if number == MISSING or not self.released[number] or not self._was_held(number, units):
            self._complain_of_move("resolved_without_hold", item, "no such units of that line were released")
            return
        self.released[number] -= 1
        if number in self.odd and units in self.odd_released[number]:
            self.odd_released[number].remove(units)

    def _was_held(self, number: int, units: Units) -> bool:
        return units in self.odd[number] if number in self.odd else units == self._units(self.hold[number])

    def unreleased(self, number: int) -> list[Units]:
        """Return the holds of a line that were not released; those shipped count as well."""
        if number in self.odd:
            return list((Counter(self.odd[number]) - Counter(self.odd_released[number])).elements())
        return [] if self.released[number] else [self._units(self.hold[number])]

    def _give_back(self, number: int, units: Units, item: int) -> None:
        product, quantity = units
        if number == MISSING or product not in {p for p, _ in self.all_holds(number)}:
            self._complain_of_move("resolved_without_hold", item, "no such line was held")
        else:
            self.returned[number] += quantity

    def all_holds(self, number: int) -> list[Units]:
        """Return every hold a line ever had."""
        return self.odd[number] if number in self.odd else [self._units(self.hold[number])]

    def number(self, order_id: int, line: int) -> int:
        """Return the place of a line that was held in the columns, or MISSING."""
        return self.at.get(order_id * _SPAN + line, MISSING)

    def first(self, order_id: int, line: int) -> int:
        """Return the decision that held a line first, or MISSING."""
        number = self.number(order_id, line)
        return MISSING if number == MISSING else int(self.hold[number])

    def _complain_of_move(self, kind: str, item: int, detail: str) -> None:
        m = self.log.movements
        ids = {name: m[name][item] for name in ("order_id", "line", "product_id", "version")}
        self.report.add(kind, m.place(item), f"{StockCommandKind(m['kind'][item]).name} of {m['quantity'][item]}: {detail}", **ids)

    # -- checking ------------------------------------------------------------------------------------------------------

    def _check_line(self, order_id: int, line: int, number: int, entitled: Counter[str]) -> None:
        status = self.outcomes.status(order_id)
        left, may_hold = self.unreleased(number), (status in KEPT or not status) and not self.outcomes.is_imported(order_id)
        if status in KEPT and left:
            self.kept[order_id] += 1
        if len(left) > may_hold and not self.live:
            self._complain("hold_not_released", order_id, line, number, f"{len(left)} of {self.holds[number]} are left, the order is {status or 'undecided'}")
        if self.shipped[number] and (status not in KEPT or self.outcomes.is_imported(order_id)):
            self._complain("shipped_unconfirmed", order_id, line, number, f"the order is {status or 'undecided'}")
        if may_hold and left and not self.shipped[number]:
            product, quantity = self._entitled(left, order_id, line)
            entitled[product] += quantity

    def _entitled(self, left: list[Units], order_id: int, line: int) -> Units:
        """Return the hold that is the line's, should there be more: the one its order's outcome names."""
        item = self.outcomes.latest(order_id)
        if len(left) == 1 or item is None:
            return left[0]
        lines = self.log.outcome_lines
        named = [(lines["product_id"][i], lines["quantity"][i]) for i in self.outcomes.lines(item) if lines["line"][i] == line]
        return next((units for units in left if units in named), left[0])

    def _check_confirmed(self) -> int:
        """Check that confirmed orders have all their lines, and what outcomes say of lines; returns how many are confirmed."""
        confirmed = 0
        for order_id, versions in self.outcomes.versions.items():
            if not versions or self.outcomes.is_imported(order_id):
                continue
            item = versions[-1]
            kept = self.outcomes.table["status"][item] in KEPT
            confirmed += kept
            if kept and self.outcomes.table.settled(versions[0]):
                self._check_complete(order_id, item)
            if self.outcomes.table.settled(item):
                self._check_outcome_lines(order_id, item, kept=kept)
        return confirmed

    def _check_complete(self, order_id: int, item: int) -> None:
        wanted, named = self.outcomes.table["line_count"][item], self.outcomes.table["lines"][item]
        numbers = {self.log.outcome_lines["line"][i] for i in self.outcomes.lines(item)}
        if named != wanted or numbers != set(range(1, wanted + 1)):
            detail = f"the outcome names {named} of {wanted} lines"
        elif self.kept[order_id] < wanted:
            detail = f"{self.kept[order_id]} of {wanted} lines are held or shipped"
        else:
            return
        self.report.add("confirmed_without_hold", self.outcomes.table.place(item), detail, order_id=order_id)

    def _check_outcome_lines(self, order_id: int, item: int, *, kept: bool) -> None:
        lines = self.log.outcome_lines
        for i in self.outcomes.lines(item):
            number = self.at.get(order_id * _SPAN + lines["line"][i], MISSING)
            fault = self._refused_fault(i, number) if number == MISSING else self._held_fault(i, number, kept=kept)
            if fault:
                kind = "returned_differs" if "came back" in fault else "line_differs"
                ids = {"order_id": order_id, "line": lines["line"][i], "product_id": lines["product_id"][i]}
                self.report.add(kind, self.outcomes.table.place(item), fault, **ids)

    def _refused_fault(self, i: int, number: int) -> str:
        status = self.log.outcome_lines["status"][i]
        return "" if status == "REFUSED" and number == MISSING else f"it is {status} but was never held"

    def _held_fault(self, i: int, number: int, *, kept: bool) -> str:
        """Return how an outcome's line and the stock stage's holds differ; what is still under way is no difference in live."""
        lines = self.log.outcome_lines
        status, quantity, returned = lines["status"][i], lines["quantity"][i], lines["returned"][i]
        gone, units = (1 if status in _SHIPPED else 0), (lines["product_id"][i], quantity)
        if kept == (status in ("RELEASED", "REFUSED")):
            return f"it is {status} in such an order"
        if status != "REFUSED" and units not in (self.unreleased(number) if kept else self.all_holds(number)):
            return f"{quantity} x {lines['product_id'][i]} is not held"
        if self.shipped[number] > gone or (self.shipped[number] < gone and not self.live):
            return f"it is {status}, the stock stage shipped it {self.shipped[number]} times"
        if self.returned[number] > returned or (self.returned[number] < returned and not self.live):
            return f"{returned} units came back by the outcome, {self.returned[number]} by the stock stage"
        whole = 0 < quantity == returned
        return "" if (status == "RETURNED") == whole and (returned == 0 or 0 < returned <= quantity) else f"it is {status}, {returned} of {quantity} came back"

    def _complain(self, kind: str, order_id: int, line: int, number: int, detail: str) -> None:
        item = self.hold[number]
        place = self.log.decisions.place(item)
        self.report.add(kind, place, detail, order_id=order_id, line=line, product_id=self.log.decisions["product_id"][item])

    def _check_reserved(self, reserved: Mapping[str, int], entitled: Mapping[str, int]) -> None:
        for product in self._products(reserved, entitled):
            found, wanted = reserved.get(product, 0), entitled.get(product, 0)
            if found != wanted:
                place = Place(topics.STOCK_DECISIONS.named(self.log.prefix), self.log.generations.home_of_product(product))
                self.report.add("reserved_differs", place, f"{found} are reserved, open and confirmed orders hold {wanted}", product_id=product)

    def _products(self, *counts: Mapping[str, int]) -> Iterator[str]:
        return iter(dict.fromkeys(product for count in counts for product in count))
