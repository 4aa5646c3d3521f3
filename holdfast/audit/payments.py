"""I5 for payments and I7: every request has one result, and the money is where the order says it is. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.audit.dead_letters import DeadLetters
from holdfast.audit.holds import Holds
from holdfast.audit.log import Log
from holdfast.audit.outcomes import KEPT, Outcomes
from holdfast.audit.report import Report
from holdfast.audit.table import MISSING, Table
from schemas.outcomes import DeadLetterReason, PaymentKind, PaymentResult, Refusal
from schemas.topics import PAYMENT_REQUESTS, PAYMENT_RESULTS

_FIXED: Final = ("amount", "currency")
_HEADER: Final = ("currency", "payment_token", "user_id")
_RESULTS: Final = frozenset(
    {
        (int(PaymentKind.CHARGE), int(PaymentResult.PAID)),
        (int(PaymentKind.CHARGE), int(PaymentResult.DECLINED)),
        (int(PaymentKind.REFUND), int(PaymentResult.REFUNDED)),
        (int(PaymentKind.REFUND), int(PaymentResult.DECLINED)),
    }
)
Key = tuple[int, int, int, int]
"""Kind, order ID, attempt, sequence."""


@dataclass(slots=True)
class Money:
    """One order's money, minor units: paid per attempt, refunded per attempt, and refunds declined that people were told of."""

    paid: Counter[int] = field(default_factory=Counter)
    refunded: Counter[int] = field(default_factory=Counter)
    declined: int = 0
    owed: int = 0
    last: int = MISSING

    @property
    def kept(self) -> int:
        return self.paid.total() - self.refunded.total() - self.owed


class Payments:
    """Compares payment.requests and payment.results, then each order's money with its outcome."""

    def __init__(self, log: Log, report: Report, outcomes: Outcomes, holds: Holds, letters: DeadLetters) -> None:
        self.log = log
        self.report = report
        self.outcomes = outcomes
        self.holds = holds
        self.letters = letters
        self.live = outcomes.live
        self.requests: dict[Key, int] = {}
        self.money: defaultdict[int, Money] = defaultdict(Money)
        self._answered: set[Key] = set()
        self._sequences: defaultdict[tuple[int, int], list[int]] = defaultdict(list)

    def check(self) -> None:
        """Check every request, every result and every order."""
        for item in range(len(self.log.requests)):
            self._check_request(item)
        for item in range(len(self.log.results)):
            self._check_result(item)
        unanswered = self._check_unanswered()
        self._check_sequences()
        for money in self.money.values():
            self._check_attempts(money)
        for order_id in self.outcomes.versions.keys() | self.money.keys():
            self._check_order(order_id)
        results = self.log.results["result"]
        self.report.count("I5", payment_requests=len(self.log.requests), payment_results=len(results), unanswered_payment_requests=unanswered)
        self.report.count("I7", orders_with_payments=len(self.money), paid=results.count(PaymentResult.PAID), refunded=results.count(PaymentResult.REFUNDED))

    # -- requests and results ------------------------------------------------------------------------------------------

    def _key(self, table: Table, item: int) -> Key:
        return table["kind"][item], table["order_id"][item], table["attempt"][item], table["sequence"][item]

    def _check_request(self, item: int) -> None:
        r = self.log.requests
        if self.log.is_old(r["order_id"][item]):
            return
        if self.letters.at and DeadLetterReason.INVALID_COMMAND.name in self.letters.reasons(PAYMENT_REQUESTS.name, *r.place(item)[1:]):
            return
        key = self._key(r, item)
        if key[0] == PaymentKind.FORGET:
            return  # no payment; order_rows.py reads these
        if key in self.requests:
            self._complain("payment_asked_twice", r, item)
            return
        self.requests[key] = item
        if key[0] == PaymentKind.REFUND:
            self._sequences[key[1], key[2]].append(item)
        elif r.settled(item):
            self._check_charge(item)

    def _check_charge(self, item: int) -> None:
        """A charge is for the sum of the order's lines, each as it was held first; of two orders under one ID, for one of them."""
        fault = self._charge_fault(item)
        if fault and not self._fits_some_lines(item):
            self._complain("charged_otherwise", self.log.requests, item, fault)

    def _charge_fault(self, item: int) -> str:
        r, d = self.log.requests, self.log.decisions
        first = self.holds.first(r["order_id"][item], 1)
        if first == MISSING:
            return "line 1 of the order was never held"
        count = min(d["line_count"][first], 1000)
        lines = [self.holds.first(r["order_id"][item], line) for line in range(1, count + 1)]
        if MISSING in lines:
            return f"line {lines.index(MISSING) + 1} of the order was never held"
        amount = sum(d["quantity"][i] * d["unit_price"][i] for i in lines)
        wrong = [f"{name} is {r[name][item]!r}" for name in _HEADER if r[name][item] not in {d[name][i] for i in lines}]
        if amount != r["amount"][item]:
            wrong.append(f"amount is {r['amount'][item]}, the lines cost {amount}")
        return ", ".join(wrong)

    def _fits_some_lines(self, item: int) -> bool:
        """Return whether lines with the charge's header were held that are a whole order and can cost its amount. Slow; seldom needed."""
        r, d = self.log.requests, self.log.decisions
        wanted = (r["order_id"][item], *(r[name][item] for name in _HEADER))
        costs: defaultdict[int, defaultdict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
        for i, order_id in enumerate(d["order_id"]):
            if order_id == wanted[0] and not d["refusal"][i] and (order_id, *(d[name][i] for name in _HEADER)) == wanted:
                costs[d["line_count"][i]][d["line"][i]].append(d["quantity"][i] * d["unit_price"][i])
        whole = [lines.values() for count, lines in costs.items() if set(lines) == set(range(1, count + 1))]
        return any(sum(map(min, lines)) <= r["amount"][item] <= sum(map(max, lines)) for lines in whole)

    def _check_result(self, item: int) -> None:
        r, q = self.log.results, self.log.requests
        if self.log.is_old(r["order_id"][item]):
            return
        key = self._key(r, item)
        request = self.requests.get(key)
        if request is None:
            self._complain("payment_without_request", r, item)
        elif key in self._answered:
            self._complain("payment_answered_twice", r, item)
        else:
            self._answered.add(key)
            wrong = [f"{name} was {q[name][request]}, the result says {r[name][item]}" for name in _FIXED if q[name][request] != r[name][item]]
            if wrong:
                self._complain("payment_differs", r, item, ", ".join(wrong))
        if (key[0], r["result"][item]) not in _RESULTS:
            self._complain("wrong_result", r, item, f"result {r['result'][item]}")
        self._book(item)

    def _book(self, item: int) -> None:
        r = self.log.results
        money, attempt, amount = self.money[r["order_id"][item]], r["attempt"][item], r["amount"][item]
        result, kind = r["result"][item], r["kind"][item]
        money.last = item
        if result == PaymentResult.PAID:
            if money.paid:
                self._complain("paid_twice", r, item, f"attempts {', '.join(map(str, money.paid))} were paid before")
            money.paid[attempt] += amount
        elif result == PaymentResult.REFUNDED:
            # A refund in flight may belong to a return whose outcome lies behind what was read.
            money.refunded[attempt] += amount if r.settled(item) else 0
        elif kind == PaymentKind.REFUND:
            money.owed += amount if self._is_reported(item) else 0
        else:
            money.declined += 1

    def _is_reported(self, item: int) -> bool:
        return DeadLetterReason.REFUND_DECLINED.name in self.letters.reasons(PAYMENT_RESULTS.name, *self.log.results.place(item)[1:])

    def _check_unanswered(self) -> int:
        open_requests = [item for key, item in self.requests.items() if key not in self._answered]
        if not self.live:
            for item in open_requests:
                self._complain("payment_unanswered", self.log.requests, item)
        return len(open_requests)

    def _check_sequences(self) -> None:
        r = self.log.requests
        for items in self._sequences.values():
            for expected, item in enumerate(sorted(items, key=r["sequence"].__getitem__), 1):
                if r["sequence"][item] != expected:
                    self._complain("refund_out_of_sequence", r, item, f"refund {expected} is not there")
                    break

    # -- orders --------------------------------------------------------------------------------------------------------

    def _check_attempts(self, money: Money) -> None:
        for attempt, refunded in money.refunded.items():
            paid = money.paid[attempt]
            if not paid:
                self._complain("refund_without_payment", self.log.results, money.last, f"attempt {attempt}")
            elif refunded > paid:
                self._complain("refund_exceeds_payment", self.log.results, money.last, f"attempt {attempt}: {refunded} of {paid}")

    def _check_order(self, order_id: int) -> None:
        item, money = self.outcomes.latest(order_id), self.money.get(order_id, Money())
        if item is None or not self.log.outcomes.settled(item):
            return
        amount, back = self._value_of(item)
        status = self.log.outcomes["status"][item]
        if self.outcomes.is_imported(order_id):
            self._check_imported(item, money)
            return
        if self.log.outcomes["amount"][item] != amount:
            self._complain_of_order("outcome_money_differs", item, f"amount is {self.log.outcomes['amount'][item]}, its lines cost {amount}")
        if status in KEPT:
            self._check_kept(item, money, amount, back)
        elif status == "PAYMENT_FAILED" and not money.declined:
            self._complain_of_order("wrong_result", item, "no charge was declined")
        elif money.kept and not self.live:
            self._complain_of_order("money_kept", item, f"{status}: paid {money.paid.total()}, refunded {money.refunded.total()}")
        if not self.live:
            self._check_outcome(item, money)

    def _check_imported(self, item: int, money: Money) -> None:
        """What another system charged is no charge of ours: whatever was paid here goes back."""
        if money.kept and not self.live:
            self._complain_of_order("money_kept", item, f"imported: paid {money.paid.total()} here, refunded {money.refunded.total()}")

    def _value_of(self, item: int) -> tuple[int, int]:
        """Return what an outcome's valid lines cost, and what its returned units did."""
        lines, items = self.log.outcome_lines, self.outcomes.lines(item)
        quantities, prices, returned, refusals = (lines[name] for name in ("quantity", "unit_price", "returned", "refusal"))
        amount = sum(quantities[i] * prices[i] for i in items if refusals[i] not in _INVALID)
        return amount, sum(returned[i] * prices[i] for i in items)

    def _check_kept(self, item: int, money: Money, amount: int, back: int) -> None:
        paid, refunded = money.paid.total(), money.refunded.total() + money.owed
        if amount and not paid:
            self._complain_of_order("not_paid", item, f"its lines cost {amount}")
        elif paid != amount:
            self._complain_of_order("paid_other_amount", item, f"paid {paid}, its lines cost {amount}")
        if refunded > back or (refunded < back and not self.live):
            kind = "money_kept" if back == amount and refunded < back else "refunds_differ_from_returns"
            self._complain_of_order(kind, item, f"refunded {refunded}, the units that came back cost {back}")

    def _check_outcome(self, item: int, money: Money) -> None:
        """At rest an outcome's charged, refunded and attempt are what the results of that attempt add up to."""
        t = self.log.outcomes
        attempt = t["attempt"][item] or next(iter(money.paid), 0)
        found = (money.paid[attempt], money.refunded[attempt], attempt if money.paid[attempt] else 0)
        said = (t["charged"][item], t["refunded"][item], t["attempt"][item])
        if found != said:
            detail = f"charged, refunded and attempt are {found[0]}, {found[1]}, {found[2]} by the results, {said[0]}, {said[1]}, {said[2]} by the outcome"
            self._complain_of_order("outcome_money_differs", item, detail)

    def _complain(self, kind: str, table: Table, item: int, detail: str = "") -> None:
        ids: dict[str, Any] = {name: table[name][item] for name in ("order_id", "attempt", "sequence", "amount")}
        self.report.add(kind, table.place(item), detail, **ids)

    def _complain_of_order(self, kind: str, item: int, detail: str) -> None:
        t = self.log.outcomes
        self.report.add(kind, t.place(item), detail, order_id=t["order_id"][item], version=t["version"][item])


_INVALID: Final = frozenset(refusal.name for refusal in Refusal if refusal.is_invalid_line)
