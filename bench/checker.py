"""Whether the outcomes of a run are right: one per order, never below zero, equal to the fold of the input. Pure."""

from __future__ import annotations

from array import array
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple

from bench.work import FIRST_ORDER, Work, quantity

UNKNOWN: Final = -1
"""`available` of an outcome that does not say how many units were left."""

SPELLED_OUT, AS_THE_FOLD = 1, 2
"""How an answer was taken: by itself, or in a column that is exactly what the fold says."""


class Order(Enum):
    """In which order a program decides the orders of one product."""

    LOG = "as they stand in the log: every answer is known beforehand"
    ANY = "in any order: the answers must form some order"


@dataclass
class Verdict:
    """What the checker found; `problems` are counted by kind, each with its first example."""

    orders: int
    answered: int
    reserved: int
    problems: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)

    @property
    def right(self) -> bool:
        return not self.problems

    def note(self, kind: str, example: str, times: int = 1) -> None:
        self.problems[kind] += times
        self.examples.setdefault(kind, example)

    def text(self) -> str:
        """Return `right`, or what is wrong in one line."""
        return "right" if self.right else "WRONG: " + "; ".join(f"{n} x {kind} (first: {self.examples[kind]})" for kind, n in self.problems.items())


class Fold(NamedTuple):
    """The outcome of each order when they are decided one after the other as they stand in the log."""

    product_ids: list[str]
    reserved: bytearray
    available: array[int]


@lru_cache(maxsize=2)
def fold_of(work: Work) -> Fold:
    """Decide every order of the work."""
    names = [f"p{product}" for product in range(work.mix.products)]
    left = [work.opening(product) for product in range(work.mix.products)]
    products = work.products()
    reserved, available = bytearray(work.orders), array("q", bytes(8 * work.orders))
    for i, product in enumerate(products):
        units = quantity(i)
        if left[product] >= units:
            left[product] -= units
            reserved[i] = 1
        available[i] = left[product]
    return Fold([names[product] for product in products], reserved, available)


class Checker:
    """Takes every outcome of a run in any order, then judges."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.products = work.products()
        self.answers = bytearray(work.orders)
        self.reserved = bytearray(work.orders)
        self.available = array("q", bytes(8 * work.orders))
        self.verdict = Verdict(work.orders, 0, 0)
        self._held_units: dict[int, int] | None = None

    def take(self, order_id: int, product_id: str, units: int, reserved: bool, available: int) -> None:
        """Take one outcome; `available`: units left after it, or UNKNOWN."""
        i = order_id - FIRST_ORDER
        if not 0 <= i < self.work.orders:
            self.verdict.note("outcome of an order that was never sent", f"order {order_id}")
            return
        if int(product_id[1:]) != self.products[i] or units != quantity(i):
            self.verdict.note("outcome that contradicts its order", f"order {i}: {units} of {product_id}")
        if self.answers[i]:
            self.verdict.note("second outcome", f"order {i}")
            return
        self.answers[i] = SPELLED_OUT
        self.reserved[i] = reserved
        self.available[i] = available
        self.verdict.answered += 1
        self.verdict.reserved += reserved

    def take_columns(
        self, order_ids: Sequence[int], product_ids: Sequence[str], units: Sequence[int], reserved: Sequence[bool], available: Sequence[int]
    ) -> None:
        """Take many outcomes: quickly where they are what the fold of the log says, else one by one."""
        numbers = [order_id - FIRST_ORDER for order_id in order_ids]
        if not self._are_the_folds(numbers, (product_ids, units, reserved, available)):
            for each in zip(order_ids, product_ids, units, reserved, available, strict=True):
                self.take(*each)
            return
        for i in numbers:
            self.answers[i] = AS_THE_FOLD
        self.verdict.answered += len(numbers)
        self.verdict.reserved += sum(reserved)

    def _are_the_folds(self, numbers: list[int], said: tuple[Sequence[object], ...]) -> bool:
        """Whether these are first outcomes of different orders, each as the fold has it."""
        if not numbers or min(numbers) < 0 or max(numbers) >= self.work.orders or len(set(numbers)) < len(numbers):
            return False
        fold = fold_of(self.work)
        columns = (fold.product_ids, None, fold.reserved, fold.available)
        expected = ([quantity(i) for i in numbers] if column is None else [column[i] for i in numbers] for column in columns)
        return not any(self.answers[i] for i in numbers) and all(list(a) == b for a, b in zip(said, expected, strict=True))

    def _spell_out(self) -> None:
        """Note what the answers say that were taken as the fold's."""
        if AS_THE_FOLD not in self.answers:
            return
        fold = fold_of(self.work)
        for i, answer in enumerate(self.answers):
            if answer == AS_THE_FOLD:
                self.answers[i], self.reserved[i], self.available[i] = SPELLED_OUT, fold.reserved[i], fold.available[i]

    def take_stock(self, product_id: str, available: int) -> None:
        """Take a product's row as the program's own store has it at the end, after every outcome."""
        product = int(product_id[1:])
        held = self._held().get(product, 0)
        if available != self.work.opening(product) - held:
            self.verdict.note("row that is not the fold of its outcomes", f"{product_id}: {available} left, {held} of {self.work.opening(product)} reserved")

    def _held(self) -> dict[int, int]:
        if self._held_units is None:
            self._spell_out()
            self._held_units = defaultdict(int)
            for i, product in enumerate(self.products):
                if self.reserved[i]:
                    self._held_units[product] += quantity(i)
        return self._held_units

    def judge(self, order: Order) -> Verdict:
        """Judge all that was taken."""
        missing = self.answers.count(0)
        if missing:
            self.verdict.note("order without an outcome", f"order {self.answers.index(0)}", missing)
        if order is Order.LOG:
            self._compare_with_fold()
        else:
            self._find_an_order()
        return self.verdict

    def _compare_with_fold(self) -> None:
        if SPELLED_OUT not in self.answers:
            return
        fold = fold_of(self.work)
        for i, answer in enumerate(self.answers):
            said, right = (bool(self.reserved[i]), self.available[i]), (bool(fold.reserved[i]), fold.available[i])
            if answer == SPELLED_OUT and said != right:
                self.verdict.note("outcome other than the fold's", f"order {i} (reserved, left): {said}, not {right}")

    def _find_an_order(self) -> None:
        """Stock only falls, so the holds of a product in the order of what they left must lead from its opening down without a gap."""
        self._spell_out()
        chains: dict[int, list[int]] = defaultdict(list)
        for i, product in enumerate(self.products):
            if self.answers[i]:
                chains[product].append(i)
        for product, orders in chains.items():
            if any(self.available[i] == UNKNOWN for i in orders):
                self._check_sums(product, orders)
            else:
                self._check_chain(product, orders)

    def _check_sums(self, product: int, orders: list[int]) -> None:
        left = self.work.opening(product) - sum(quantity(i) for i in orders if self.reserved[i])
        if left < 0:
            self.verdict.note("product oversold", f"p{product} by {-left}")
        for i in orders:
            if not self.reserved[i] and quantity(i) <= left:
                self.verdict.note("refusal without reason", f"order {i}: {quantity(i)} asked, {left} left at the end")

    def _check_chain(self, product: int, orders: list[int]) -> None:
        left = self.work.opening(product)
        seen = {left}
        for i in sorted((i for i in orders if self.reserved[i]), key=lambda i: -self.available[i]):
            left -= quantity(i)
            seen.add(left)
            if self.available[i] != left or left < 0:
                self.verdict.note("reservation that does not follow from the one before", f"order {i}: {self.available[i]} left, {left} expected")
                return
        for i in orders:
            if not self.reserved[i] and (quantity(i) <= self.available[i] or self.available[i] not in seen):
                self.verdict.note("refusal without reason", f"order {i}: {quantity(i)} asked, {self.available[i]} left")
