"""A store in memory, beside MySQL and Redis: it passes the same tests (tests/live/test_sink_stores.py)."""

from collections.abc import Collection, Mapping

from schemas import views
from sinks.batch import Batch, Move
from sinks.errors import PositionMovedError
from sinks.rows import Partition
from sinks.store import compare
from tests.support.outputs import Content


class MemoryStore:
    """Keeps batches in a Content."""

    name = "memory"

    def __init__(self) -> None:
        self.content = Content()
        self.positions: dict[Partition, int] = {}

    def open(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        return {partition: self.positions.setdefault(partition, 0) for partition in partitions}

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        if wrong := compare({p: m.expected for p, m in moves.items()}, self.positions):
            raise PositionMovedError(wrong)
        for product_id, level in batch.products.items():
            if self.content.products.get(product_id, {"version": 0})["version"] < level["version"]:
                self.content.products[product_id] = dict(level)
        for order_id, outcome in batch.orders.items():
            if self.content.orders.get(order_id, {"version": 0})["version"] < outcome["version"]:
                self.content.orders[order_id] = {c: outcome[c] for c in views.ORDER_COLUMNS}
                self.content.lines[order_id] = outcome["lines"]
        for user_id, (first, last) in batch.users.items():
            held = self.content.users.setdefault(user_id, {"first_order_at": first, "last_order_at": last})
            held["first_order_at"], held["last_order_at"] = min(held["first_order_at"], first), max(held["last_order_at"], last)
        self.positions |= {partition: move.next for partition, move in moves.items()}

    def check(self, positions: Mapping[Partition, int]) -> None:
        if wrong := compare(positions, self.positions):
            raise PositionMovedError(wrong)

    def close(self) -> None:
        pass
