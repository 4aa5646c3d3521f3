"""The transactions of the database peer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from bench.checker import UNKNOWN
from bench.peers.common import OrderLine

TABLES: Final = (
    "CREATE TABLE bench_stock (product_id VARCHAR(64) CHARACTER SET ascii COLLATE ascii_bin PRIMARY KEY, available BIGINT NOT NULL, reserved BIGINT NOT NULL)"
    " ENGINE=InnoDB",
    "CREATE TABLE bench_outcomes (order_id BIGINT PRIMARY KEY, product_id VARCHAR(64) CHARACTER SET ascii NOT NULL, quantity BIGINT NOT NULL,"
    " reserved BOOLEAN NOT NULL, available BIGINT NOT NULL) ENGINE=InnoDB",
)
DROP: Final = "DROP TABLE IF EXISTS bench_stock, bench_outcomes"
LOCK: Final = "SELECT available FROM bench_stock WHERE product_id = %s FOR UPDATE"
TAKE: Final = "UPDATE bench_stock SET available = available - %s, reserved = reserved + %s WHERE product_id = %s"
TAKE_IF: Final = TAKE + " AND available >= %s"
KNOWN: Final = "SELECT order_id FROM bench_outcomes WHERE order_id IN %s"
OUTCOME: Final = "INSERT INTO bench_outcomes (order_id, product_id, quantity, reserved, available) VALUES (%s, %s, %s, %s, %s)"

Step = Callable[[Any, list[OrderLine]], None]


def lock_one(cursor: Any, orders: list[OrderLine]) -> None:
    """Lock the product's row, decide, write."""
    (order,) = orders
    cursor.execute(LOCK, (order.product_id,))
    available = cursor.fetchone()[0]
    held = available >= order.quantity
    if held:
        available -= order.quantity
        cursor.execute(TAKE, (order.quantity, order.quantity, order.product_id))
    cursor.execute(OUTCOME, (*order, held, available))


def write_one(cursor: Any, orders: list[OrderLine]) -> None:
    """Take the units if they are there; the row count is the answer. How many are left it does not say."""
    (order,) = orders
    held = cursor.execute(TAKE_IF, (order.quantity, order.quantity, order.product_id, order.quantity)) == 1
    cursor.execute(OUTCOME, (*order, held, UNKNOWN))


def lock_many(cursor: Any, orders: list[OrderLine]) -> None:
    """Lock the rows of all products in the order of their names, decide in memory, write each row once."""
    orders = _unanswered(cursor, orders)
    if not orders:
        return
    names = sorted({order.product_id for order in orders})
    cursor.execute("SELECT product_id, available FROM bench_stock WHERE product_id IN %s ORDER BY product_id FOR UPDATE", (names,))
    before: dict[str, int] = dict(cursor.fetchall())
    left, outcomes = dict(before), []
    for order in orders:
        held = left[order.product_id] >= order.quantity
        left[order.product_id] -= order.quantity if held else 0
        outcomes.append((*order, held, left[order.product_id]))
    changed = [(name, left[name], before[name] - left[name]) for name in names if left[name] != before[name]]
    if changed:
        cursor.executemany(
            "INSERT INTO bench_stock (product_id, available, reserved) VALUES (%s, %s, %s)"
            " ON DUPLICATE KEY UPDATE available = VALUES(available), reserved = reserved + VALUES(reserved)",
            changed,
        )
    cursor.executemany(OUTCOME, outcomes)


def write_many(cursor: Any, orders: list[OrderLine]) -> None:
    """One conditional UPDATE per order, the outcomes at once, one commit."""
    outcomes: list[tuple[object, ...]] = []
    for order in _unanswered(cursor, orders):
        held = cursor.execute(TAKE_IF, (order.quantity, order.quantity, order.product_id, order.quantity)) == 1
        outcomes.append((*order, held, UNKNOWN))
    if outcomes:
        cursor.executemany(OUTCOME, outcomes)


def _unanswered(cursor: Any, orders: list[OrderLine]) -> list[OrderLine]:
    cursor.execute(KNOWN, ([order.order_id for order in orders],))
    known: Iterable[tuple[int]] = cursor.fetchall()
    answered = {row[0] for row in known}
    return [order for order in orders if order.order_id not in answered]


SINGLE: Final[dict[str, Step]] = {"row_locks": lock_one, "write_and_commit": write_one}
BATCHED: Final[dict[str, Step]] = {"row_locks": lock_many, "write_and_commit": write_many}
