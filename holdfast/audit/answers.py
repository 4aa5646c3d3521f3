"""I5 for orders: every line is answered once, dead-lettered, or forwarded; nothing is answered that was not asked. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter
from typing import Final

from holdfast.audit.dead_letters import CONFLICT, DeadLetters
from holdfast.audit.lines import LINE, Line, fault_of, refusal_name
from holdfast.audit.log import Log
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.report import Report
from holdfast.audit.table import MISSING
from schemas.outcomes import DeadLetterReason, Refusal
from schemas.topics import ORDERS, STOCK_DECISIONS

_NUMBERS: Final = itemgetter(0, 1, 2, 4, 5)
"""The numbers of a line: those of an invalid one are answered as they were, its texts may be clipped."""
_REPORTED: Final = frozenset({CONFLICT, DeadLetterReason.ORDER_TOO_OLD.name})
"""Why a held line may be no part of its order: the row says otherwise, or is forgotten."""
IN_FLIGHT: Final = 1
SETTLED: Final = 2
"""How a line was answered; 0: it was not. What goes with an answer in flight may lie behind what was read."""
_OF_VALID: Final = frozenset({int(Refusal.NONE), int(Refusal.PRODUCT_FROZEN), int(Refusal.INSUFFICIENT_STOCK)})


class Answers:
    """Compares `orders` and the stock stage's answers, item by item."""

    def __init__(self, log: Log, report: Report, letters: DeadLetters, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.letters = letters
        self.live = live
        self.answered = bytearray(len(log.lines))
        self.faults = bytearray(len(log.lines))
        """Refusal that an answered line deserves as invalid; 0: it is valid."""
        self.refusals: dict[int, set[str]] = {}
        """order_id -> names of the refusals its lines were answered with."""
        self._asked = [log.lines[name] for name in LINE]
        self._said = [log.decisions[name] for name in LINE]
        self._stray: Counter[Line] = Counter()

    def check(self) -> None:
        """Check every line and every answer."""
        self._read_answers()
        unanswered = sum(self._check_line(item) for item in range(len(self.log.lines)))
        if self._stray and not self.live:
            self._check_forwarded()
        self.report.count("I5", lines=len(self.log.lines), answers=len(self.log.decisions), unanswered_lines=unanswered)

    # -- answers -------------------------------------------------------------------------------------------------------

    def _read_answers(self) -> None:
        d, lines = self.log.decisions, self.log.lines
        partitions, record = d.head("partition"), d.record
        for item, (offset, index, refusal) in enumerate(zip(d["offset"], d["index"], d["refusal"], strict=True)):
            line = lines.find(partitions[record[item]], offset, index)
            if line == MISSING:
                if not self.log.is_gone(ORDERS.name, partitions[record[item]], offset):
                    self._complain("answer_without_line", item, f"orders partition {partitions[record[item]]} offset {offset} index {index}")
                continue
            if self.answered[line]:
                self._complain("line_answered_twice", item, f"{lines.place(line)}")
            self.answered[line] = SETTLED if d.settled(item) else IN_FLIGHT
            if refusal:
                self.refusals.setdefault(d["order_id"][item], set()).add(refusal_name(refusal))
            self._check_answer(item, line, refusal)

    def _check_answer(self, item: int, line: int, refusal: int) -> None:
        asked, said = self._line(self._asked, line), self._line(self._said, item)
        fault = fault_of(asked)
        self.faults[line] = fault
        if refusal not in ({fault} if fault else _OF_VALID):
            self._complain("wrong_line_refusal", item, f"answered with {refusal_name(refusal)}, it is {refusal_name(fault)}")
        elif (_NUMBERS(asked) != _NUMBERS(said)) if fault else asked != said:
            wrong = (f"{name} was {a!r}, the answer says {s!r}" for name, a, s in zip(LINE, asked, said, strict=True) if a != s)
            self._complain("answer_differs", item, ", ".join(wrong))
        if self.log.decisions.partition_of(item) != self.log.generations.home_of_order(said[0], self.log.decisions.partition_of(item)):
            self._complain("answer_differs", item, "it is on another partition than its order's")

    def _line(self, columns: Sequence[Sequence[int | str]], item: int) -> Line:
        line: tuple[int | str, ...] = tuple([column[item] for column in columns])
        return line  # type: ignore[return-value]  # one column for each field of Line

    def _complain(self, kind: str, item: int, detail: str = "") -> None:
        d = self.log.decisions
        self.report.add(kind, d.place(item), detail, order_id=d["order_id"][item], line=d["line"][item], product_id=d["product_id"][item])

    # -- lines ---------------------------------------------------------------------------------------------------------

    def _check_line(self, item: int) -> bool:
        """Check one line; returns whether it is neither answered nor given up nor on its way."""
        lines = self.log.lines
        product_id, answered = lines["product_id"][item], self.answered[item]
        place = lines.place(item)
        reasons = self.letters.reasons(ORDERS.name, *place[1:])
        is_home = self.log.generations.home_of_product(product_id, place.partition) == place.partition
        if is_home and answered and not reasons:
            if self.faults[item] and answered == SETTLED:
                self._complain_of_line("invalid_line_not_dead", item)
            return False
        return self._check_odd_line(item, reasons, is_home=is_home, answered=bool(answered))

    def _check_odd_line(self, item: int, reasons: list[str], *, is_home: bool, answered: bool) -> bool:
        line = self._line(self._asked, item)
        fault = fault_of(line)
        if fault:
            return self._check_invalid(item, fault, reasons, answered=answered)
        if answered and not is_home:
            self._complain_of_line("line_on_wrong_partition", item)
        elif answered and any(reason != CONFLICT for reason in reasons):
            self._complain_of_line("line_answered_and_dead", item, ", ".join(reasons))
        elif not answered and not reasons and not is_home:
            self._stray[line] += 1
        elif not answered and not reasons:
            self._complain_of_unanswered(item)
            return True
        return False

    def _check_invalid(self, item: int, fault: Refusal, reasons: list[str], *, answered: bool) -> bool:
        if not answered and not reasons:
            self._complain_of_unanswered(item)
            return True
        if not reasons and self.answered[item] == SETTLED:
            self._complain_of_line("invalid_line_not_dead", item, fault.name)
        if not answered and fault is not Refusal.INVALID_ORDER_ID:
            self._complain_of_unanswered(item, f"{fault.name}: it names an order, so it must be refused too")
        return False

    def _complain_of_unanswered(self, item: int, detail: str = "") -> None:
        if not self.live and not self.log.is_old(self.log.lines["order_id"][item]):
            self._complain_of_line("line_unanswered", item, detail)

    def _complain_of_line(self, kind: str, item: int, detail: str = "") -> None:
        lines = self.log.lines
        ids = {name: lines[name][item] for name in ("order_id", "line", "product_id")}
        self.report.add(kind, lines.place(item), detail, **ids)

    def _check_forwarded(self) -> None:
        """A stray line appears on its own partition at least as often as it strayed."""
        lines, arrived, where = self.log.lines, Counter[Line](), dict[Line, int]()
        ids = {line[0] for line in self._stray}
        for item, (order_id, product_id) in enumerate(zip(lines["order_id"], lines["product_id"], strict=True)):
            if order_id in ids:
                line = self._line(self._asked, item)
                here = lines.partition_of(item)
                is_home = self.log.generations.home_of_product(product_id, here) == here
                arrived[line] += is_home
                if not is_home:
                    where[line] = item
        for line, count in self._stray.items():
            if arrived[line] < count:
                self._complain_of_line("line_not_forwarded", where[line], f"strayed {count} times, arrived {arrived[line]} times")


def check_rejections(log: Log, report: Report, answers: Answers, outcomes: Outcomes) -> None:
    """I4: a rejected order has a line that was refused for the reason it gives."""
    table, rejected = log.outcomes, 0
    for order_id, versions in outcomes.versions.items():
        if not versions or outcomes.is_imported(order_id) or table["status"][versions[0]] != "REJECTED" or not table.settled(versions[0]):
            continue
        rejected += 1
        refusal, known = table["refusal"][versions[0]], answers.refusals.get(order_id, set())
        if refusal not in known:
            detail = f"rejected because of {refusal}, its lines were refused because of {', '.join(sorted(known)) or 'nothing'}"
            report.add("rejected_without_refusal", table.place(versions[0]), detail, order_id=order_id)
    report.count("I4", rejected_orders=rejected)


def check_conflicts(log: Log, report: Report, outcomes: Outcomes, letters: DeadLetters) -> None:
    """I5, at rest: a held line that its order's outcome does not name as it is has been reported as CONFLICTING_ORDER."""
    d, named, conflicts = log.decisions, _Named(log, outcomes), 0
    for item, (order_id, refusal) in enumerate(zip(d["order_id"], d["refusal"], strict=True)):
        latest = None if refusal else outcomes.latest(order_id)
        if latest is None or named.has(latest, item):
            continue
        conflicts += 1
        _, *at_answer = d.place(item)
        at_line = (d.head("partition")[d.record[item]], d["offset"][item], d["index"][item])
        if not _REPORTED.intersection(letters.reasons(STOCK_DECISIONS.name, *at_answer) + letters.reasons(ORDERS.name, *at_line)):
            report.add("conflict_not_dead", d.place(item), order_id=order_id, line=d["line"][item], product_id=d["product_id"][item])
    report.count("I5", conflicting_lines=conflicts)


class _Named:
    """Tells whether an outcome has a held line as the stock stage answered it, under the same header."""

    def __init__(self, log: Log, outcomes: Outcomes) -> None:
        self._outcomes = outcomes
        self._headers = [(log.decisions[field], log.outcomes[field]) for field in ("user_id", "currency", "line_count")]
        self._contents = [(log.decisions[field], log.outcome_lines[field]) for field in ("product_id", "quantity", "unit_price", "line")]
        self._line = log.decisions["line"]

    def has(self, latest: int, item: int) -> bool:
        if any([said[item] != named[latest] for said, named in self._headers]):
            return False
        items = self._outcomes.lines(latest)
        guess = items.start + self._line[item] - 1  # an outcome that names all its lines has them in order
        return (guess in items and self._is(item, guess)) or any(self._is(item, i) for i in items)

    def _is(self, item: int, i: int) -> bool:
        return all([said[item] == named[i] for said, named in self._contents])
