"""The checker finds what it is there to find: every kind of wrong outcome, in both orders of deciding."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.checker import UNKNOWN, Checker, Order, Verdict
from bench.work import FIRST_ORDER, MIXES, Mix, Work, quantity

WORK = Work(Mix("few", "few", 7), 200)
Outcome = tuple[int, str, int, bool, int]


def fold(work: Work, order: list[int] | None = None) -> list[Outcome]:
    """Return the outcomes of deciding the orders one after the other, in the log's order or another."""
    left = {product: work.opening(product) for product in range(work.mix.products)}
    products, outcomes = work.products(), []
    for i in order or range(work.orders):
        held = left[products[i]] >= quantity(i)
        left[products[i]] -= quantity(i) if held else 0
        outcomes.append((FIRST_ORDER + i, f"p{products[i]}", quantity(i), held, left[products[i]]))
    return outcomes


def judged(outcomes: list[Outcome], order: Order, work: Work = WORK) -> Verdict:
    checker = Checker(work)
    for outcome in outcomes:
        checker.take(*outcome)
    return checker.judge(order)


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("mix", ["uniform", "hot10", "one"])
def test_the_fold_is_right_and_has_both_answers(mix: str, order: Order) -> None:
    work = Work(MIXES[mix], 5_000)
    verdict = judged(fold(work), order, work)
    assert verdict.right, verdict.text()
    assert verdict.answered == 5_000
    assert 0 < verdict.reserved < 5_000


def judged_in_columns(outcomes: list[Outcome], order: Order, per_record: int) -> Verdict:
    checker = Checker(WORK)
    for start in range(0, len(outcomes), per_record):
        checker.take_columns(*zip(*outcomes[start : start + per_record], strict=True))  # type: ignore[arg-type]
    return checker.judge(order)


def changed(place: int, **fields: object) -> Callable[[list[Outcome]], list[Outcome]]:
    names = ("order_id", "product_id", "quantity", "reserved", "available")

    def change(outcomes: list[Outcome]) -> list[Outcome]:
        one = dict(zip(names, outcomes[place], strict=True)) | fields
        return [*outcomes[:place], tuple(one.values()), *outcomes[place + 1 :]]  # type: ignore[list-item]

    return change


WRONG: dict[str, tuple[Callable[[list[Outcome]], list[Outcome]], str]] = {
    "lost": (lambda found: found[1:], "order without an outcome"),
    "twice": (lambda found: [*found, found[3]], "second outcome"),
    "stranger": (lambda found: [*found, (FIRST_ORDER + WORK.orders, "p0", 1, False, 0)], "never sent"),
    "before the first": (lambda found: [*found, (FIRST_ORDER - 1, "p0", 1, False, 0)], "never sent"),
    "another quantity": (changed(5, quantity=9), "contradicts its order"),
    "another product": (changed(5, product_id="p8"), "contradicts its order"),
    "below zero": (changed(5, available=-3), ""),
    "refused though there was enough": (changed(0, reserved=False), ""),
    "wrong count": (changed(7, available=10_000), ""),
}


@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_is_found(name: str, order: Order) -> None:
    spoil, kind = WRONG[name]
    verdict = judged(spoil(fold(WORK)), order)
    assert not verdict.right
    assert kind in verdict.text()
    assert verdict.text().startswith("WRONG")


@pytest.mark.parametrize("per_record", [1, 10, 500])
@pytest.mark.parametrize("order", list(Order))
@pytest.mark.parametrize("name", list(WRONG))
def test_what_is_wrong_in_a_column_is_found_as_it_is_one_by_one(name: str, order: Order, per_record: int) -> None:
    outcomes = WRONG[name][0](fold(WORK))
    found, expected = judged_in_columns(outcomes, order, per_record), judged(outcomes, order)
    assert (found.problems, found.answered, found.reserved) == (expected.problems, expected.answered, expected.reserved)


@pytest.mark.parametrize("order", list(Order))
def test_columns_in_any_order_are_right(order: Order) -> None:
    outcomes = list(reversed(fold(WORK)))
    verdict = judged_in_columns(outcomes, order, 30)
    assert verdict.right, verdict.text()
    assert (verdict.answered, verdict.reserved) == (WORK.orders, sum(held for *_, held, _ in outcomes))


def test_another_order_than_the_logs_is_right_only_where_any_order_is() -> None:
    outcomes = fold(WORK, list(reversed(range(WORK.orders))))
    assert judged(outcomes, Order.ANY).right
    assert not judged(outcomes, Order.LOG).right


@given(st.permutations(range(60)))
def test_any_order_of_deciding_is_right(order: list[int]) -> None:
    work = Work(Mix("few", "few", 3), 60)
    verdict = judged(fold(work, order), Order.ANY, work)
    assert verdict.right, verdict.text()


def test_an_oversale_is_found_where_nobody_says_how_many_are_left() -> None:
    everything = [(i, p, q, True, UNKNOWN) for i, p, q, _, _ in fold(WORK)]
    assert "oversold" in judged(everything, Order.ANY).text()
    nothing = [(i, p, q, False, UNKNOWN) for i, p, q, _, _ in fold(WORK)]
    assert "refusal without reason" in judged(nothing, Order.ANY).text()
    assert judged([(i, p, q, held, UNKNOWN) for i, p, q, held, _ in fold(WORK)], Order.ANY).right


def test_a_row_that_is_not_the_fold_of_its_outcomes_is_found() -> None:
    outcomes = fold(WORK)
    last = {product: left for _, product, _, _, left in outcomes}
    checker = Checker(WORK)
    for outcome in outcomes:
        checker.take(*outcome)
    for product, left in last.items():
        checker.take_stock(product, left)
    assert checker.judge(Order.LOG).right
    checker.take_stock("p0", last["p0"] + 1)
    assert "row that is not the fold" in checker.verdict.text()
    in_columns = Checker(WORK)
    in_columns.take_columns(*zip(*outcomes, strict=True))  # type: ignore[arg-type]
    in_columns.take_stock("p0", last["p0"])
    assert in_columns.verdict.right
    in_columns.take_stock("p0", last["p0"] + 1)
    assert "row that is not the fold" in in_columns.verdict.text()
