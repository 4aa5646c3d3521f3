"""The audit's own rules for lines and stock, each against docs/outcomes.md."""

import pytest

from holdfast.audit.lines import LINE, Line, fault_of
from holdfast.audit.shelf import Count, Shelf
from schemas.outcomes import Refusal
from schemas.outcomes import StockCommandKind as K

VALID = dict(zip(LINE, (1, 1, 2, "apple", 3, 250, "GBP", "u1", "tok", 1_300_000_000_000), strict=True))


def line(**fields: int | str) -> Line:
    return tuple((VALID | fields).values())


@pytest.mark.parametrize(
    ("fields", "refusal"),
    [
        ({}, Refusal.NONE),
        ({"order_id": 2**63 - 1, "line": 1_000, "line_count": 1_000, "quantity": 1_000_000_000, "unit_price": 0}, Refusal.NONE),
        ({"order_id": 0}, Refusal.INVALID_ORDER_ID),
        ({"product_id": ""}, Refusal.INVALID_PRODUCT),
        ({"product_id": "x" * 65}, Refusal.INVALID_PRODUCT),
        ({"product_id": "a\0"}, Refusal.INVALID_PRODUCT),
        ({"user_id": ""}, Refusal.INVALID_USER),
        ({"user_id": "x" * 65}, Refusal.INVALID_USER),
        ({"line": 0}, Refusal.INVALID_LINE),
        ({"line": 3}, Refusal.INVALID_LINE),
        ({"line_count": 1_001}, Refusal.INVALID_LINE),
        ({"quantity": 0}, Refusal.INVALID_QUANTITY),
        ({"quantity": 1_000_000_001}, Refusal.INVALID_QUANTITY),
        ({"unit_price": -1}, Refusal.INVALID_PRICE),
        ({"unit_price": 1_000_000_001}, Refusal.INVALID_PRICE),
        ({"unit_price": 1_000_000_000, "quantity": 1_000_001}, Refusal.INVALID_PRICE),
        ({"currency": "gbp"}, Refusal.UNKNOWN_CURRENCY),
        ({"payment_token": "x" * 256}, Refusal.INVALID_TOKEN),
        ({"placed_at": -1}, Refusal.INVALID_TIME),
        ({"placed_at": 4_102_444_800_001}, Refusal.INVALID_TIME),
        ({"order_id": -1, "quantity": 0}, Refusal.INVALID_ORDER_ID),
        ({"quantity": 0, "currency": "???"}, Refusal.INVALID_QUANTITY),
    ],
)
def test_the_first_fault_of_a_line_counts(fields: dict[str, int | str], refusal: Refusal) -> None:
    assert fault_of(line(**fields)) is refusal


@pytest.mark.parametrize(
    ("steps", "numbers"),
    [
        ([(K.RESTOCK, 10), (K.FOUND, 1), (K.WRITE_OFF, 2)], (9, 0, 0, 11, 2, 0)),
        ([(K.RESTOCK, 10), ("hold", 4)], (6, 4, 0, 10, 0, 0)),
        ([(K.RESTOCK, 10), ("hold", 4), (K.RELEASE, 4)], (10, 0, 0, 10, 0, 0)),
        ([(K.RESTOCK, 10), ("hold", 4), (K.SHIP, 4), (K.RETURN, 1)], (7, 0, 4, 10, 0, 1)),
        ([(K.RESTOCK, 10), (K.FREEZE, 0), (K.UNFREEZE, 0)], (10, 0, 0, 10, 0, 0)),
        ([(K.UNTRACK, 0), ("hold", 4)], (0, 4, 0, 4, 0, 0)),
        ([(K.UNTRACK, 0), ("hold", 4), (K.RELEASE, 4)], (0, 0, 0, 4, 4, 0)),
        ([(K.UNTRACK, 0), ("hold", 4), (K.SHIP, 4), (K.RETURN, 1)], (0, 0, 4, 4, 1, 1)),
    ],
)
def test_the_fold_of_a_product(steps: list[tuple[K | str, int]], numbers: tuple[int, ...]) -> None:
    shelf = Shelf()
    for kind, quantity in steps:
        if isinstance(kind, K):
            shelf.move(kind, quantity, 0)
        else:
            shelf.hold(quantity)
    assert shelf.numbers == numbers


def shelf_of(*moves: tuple[int, int]) -> Shelf:
    """A shelf with these receipts: (ms, units)."""
    shelf = Shelf()
    for at, units in moves:
        shelf.move(K.RESTOCK, units, at)
    return shelf


@pytest.mark.parametrize(
    ("count", "available"),
    [
        (Count(10, 150), 30),  # 10 lay there then, as the books say
        (Count(12, 150), 32),  # 2 more than the books say
        (Count(7, 150), 27),
        (Count(10, 199), 30),
        (Count(30, 200), 30),  # the change of that very time is in
        (Count(0, 50), 30),  # before the first receipt
    ],
)
def test_a_count_is_compared_with_the_shelf_as_of_its_time(count: Count, available: int) -> None:
    shelf = shelf_of((100, 10), (200, 20))
    assert shelf.count(count) is Refusal.NONE
    assert shelf.numbers[0] == available


def test_a_count_settles_its_past() -> None:
    shelf = shelf_of((100, 10), (200, 20))
    shelf.count(Count(12, 150))
    assert shelf.correction(Count(12, 160)) == 0
    assert shelf.is_forgotten(149)
    assert not shelf.is_forgotten(150)


def test_a_count_below_what_is_reserved_writes_off_what_is_available() -> None:
    shelf = shelf_of((100, 10))
    shelf.hold(8)
    assert shelf.count(Count(5, 150)) is Refusal.COUNT_BELOW_RESERVED
    assert shelf.numbers == (0, 8, 0, 10, 2, 0)


def test_a_count_is_too_old_when_changes_since_are_forgotten() -> None:
    assert not shelf_of(*((at, 1) for at in range(15))).is_forgotten(-1)
    assert shelf_of(*((at, 1) for at in range(17))).is_forgotten(-1)
