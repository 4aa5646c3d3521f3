"""The pipeline's own stages on random traffic, good and bad: the audit raises no false alarm, at rest or on the way."""

import random
from typing import Any

import pytest

from holdfast.audit import check
from schemas import topics
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.partitions import order_partition, product_partition
from tests.holdfast.audit.memory_stages import StagesInMemory

PRODUCTS = [f"p{n}" for n in range(12)]
LINE = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")


class Traffic:
    """Writes random orders and commands, one in ten of them wrong in some way."""

    def __init__(self, stages: StagesInMemory, seed: int) -> None:
        self.stages = stages
        self.random = random.Random(seed)
        self.orders: list[int] = []
        self.commands = 0

    def step(self) -> None:
        self.random.choices([self.order, self.command, self.stock_command, self.garbage], [6, 4, 3, 0.2])[0]()

    def order(self) -> None:
        order_id = self._order_id()
        count = self.random.randrange(1, 5)
        header = {"order_id": order_id, "line_count": count, "user_id": f"u{self.random.randrange(9)}", "payment_token": "tok", "currency": "GBP"}
        for line in range(1, count + 1):
            one = {**header, "line": line, "product_id": self.random.choice(PRODUCTS), "quantity": self.random.randrange(1, 9), "placed_at": self.stages.now}
            one["unit_price"] = self.random.randrange(4) * 50
            self._send(self._spoilt(one) if self.random.random() < 0.06 else one)
            if self.random.random() < 0.05:
                self._send(one)

    def _order_id(self) -> int:
        if self.orders and self.random.random() < 0.03:
            return self.random.choice(self.orders)
        self.orders.append(len(self.orders) + 1)
        return self.orders[-1]

    def _spoilt(self, line: dict[str, Any]) -> dict[str, Any]:
        texts = [("currency", "???"), ("user_id", ""), ("product_id", "x" * 70), ("payment_token", "x" * 300)]
        numbers = [("quantity", 0), ("line", 9), ("order_id", -4), ("placed_at", -1), ("unit_price", -1)]
        name, value = self.random.choice([*texts, *numbers])
        return {**line, name: value}

    def _send(self, line: dict[str, Any]) -> None:
        home = product_partition(line["product_id"], self.stages.partitions)
        partition = self.random.randrange(self.stages.partitions) if self.random.random() < 0.05 else home
        if self.random.random() < 0.5:
            self.stages.write(topics.ORDERS, partition, "OrderLine", line)
        else:
            copies = 2 if self.random.random() < 0.1 else 1
            self.stages.write(topics.ORDERS, partition, "OrderLines", {name: [line[name]] * copies for name in LINE})

    def command(self) -> None:
        kind = self.random.choices([OrderCommandKind.CANCEL, OrderCommandKind.SHIP, OrderCommandKind.RETURN], [1, 4, 3])[0]
        order_id = self.random.choice(self.orders) if self.orders and self.random.random() < 0.97 else 10_000 + self.random.randrange(50)
        line = 0 if kind is OrderCommandKind.CANCEL else self.random.randrange(4)
        quantity = self.random.randrange(3) if kind is OrderCommandKind.RETURN and line else 0
        value = {"command_id": f"c{self._number()}", "kind": kind.name, "order_id": order_id, "line": line, "quantity": quantity}
        home = order_partition(order_id, self.stages.partitions)
        partition = self.random.randrange(self.stages.partitions) if self.random.random() < 0.05 else home
        self.stages.write(topics.ORDER_COMMANDS, partition, "OrderCommand", {**value, "issued_at": self.stages.now, "actor": "test"})

    def _number(self) -> int:
        """A command's number; sometimes that of an earlier one."""
        self.commands += 1
        return self.random.randrange(self.commands) if self.random.random() < 0.03 else self.commands

    def stock_command(self) -> None:
        kinds = [kind for kind in StockCommandKind if kind < StockCommandKind.RELEASE]
        kind = self.random.choices(kinds, [9, 2, 1, 3, 0.3, 2, 1, 0.4])[0]
        has_quantity = kind in (StockCommandKind.RESTOCK, StockCommandKind.WRITE_OFF, StockCommandKind.FOUND, StockCommandKind.COUNT)
        quantity = self.random.randrange(60) if has_quantity else 0
        product = self.random.choice(PRODUCTS)
        as_of = self.stages.now - self.random.randrange(3_000) if kind is StockCommandKind.COUNT else 0
        value = {"command_id": f"s{self._number()}", "kind": kind.name, "product_id": product, "quantity": quantity, "as_of": as_of}
        home = product_partition(product, self.stages.partitions)
        partition = self.random.randrange(self.stages.partitions) if self.random.random() < 0.05 else home
        self.stages.write(topics.STOCK_COMMANDS, partition, "StockCommand", {**value, "issued_at": self.stages.now, "actor": "test", "note": ""})

    def garbage(self) -> None:
        topic = self.random.choice([topics.ORDERS, topics.STOCK_COMMANDS, topics.ORDER_COMMANDS])
        self.stages.log[topic.name, self.random.randrange(self.stages.partitions)].append((None, self.random.randbytes(9)))


@pytest.mark.parametrize("seed", range(6))
def test_the_stages_raise_no_alarm(seed: int) -> None:
    stages = StagesInMemory(seed=seed)
    traffic = Traffic(stages, seed)
    for _ in range(600):
        traffic.step()
        if stages.random.random() < 0.7:
            stages.step()
    stages.run()
    report = check(stages.audit_log())
    assert report.ok, report.text()
    assert report.checked["I2"]["orders"] > 200
    assert report.checked["I7"]["paid"] > 20


@pytest.mark.parametrize("seed", range(6))
def test_stages_at_work_raise_no_alarm(seed: int) -> None:
    stages = StagesInMemory(seed=seed)
    traffic = Traffic(stages, seed)
    undecided = 0
    for number in range(1, 401):
        traffic.step()
        if stages.random.random() < 0.7:
            stages.step()
        if number % 40 == 0:
            report = check(stages.moving_log(), live=True)
            assert report.ok, report.text()
            undecided += report.checked["I2"]["undecided"]
    assert undecided, "nothing was under way"


def test_at_rest_what_is_under_way_is_a_violation() -> None:
    stages = StagesInMemory(seed=1)
    traffic = Traffic(stages, 1)
    for _ in range(300):
        traffic.step()
        stages.step()
    kinds = check(stages.audit_log()).kinds()
    assert kinds["undecided"]
    assert kinds["line_unanswered"]
    assert kinds["position_behind"]
