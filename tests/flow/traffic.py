"""Random traffic from outside: sensible, doubled, contradicting itself, on the wrong partition, or no record at all."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

from schemas import codec, topics
from schemas.outcomes import PaymentKind, PaymentResult, StockCommandKind
from schemas.partitions import order_partition, product_partition
from streams.domain.payment import Answer, Request
from streams.payments.sandbox import DECLINED_TOKEN, Sandbox
from tests.support.flow import TIMEOUT, Flow
from tests.support.stages import Item, columns

GOODS = ("A", "B", "C", "D")
SERVICE = "POST"
PRODUCTS = (*GOODS, SERVICE)
FAULTS: tuple[Item, ...] = (
    *({"quantity": 0}, {"quantity": -7}, {"line": 0}, {"line": 99}, {"line_count": 2_000}, {"currency": "???"}, {"currency": "gbp"}, {"user_id": ""}),
    *({"user_id": "u" * 65}, {"payment_token": "t" * 256}, {"placed_at": -1}, {"unit_price": -1}, {"unit_price": 10**9, "quantity": 10**8}),
    *({"product_id": ""}, {"product_id": "p" * 70}, {"product_id": "\0positions"}, {"order_id": 0}, {"order_id": -3}, {"line": -(2**31)}),
)
EDGES = (topics.ORDERS, topics.STOCK_COMMANDS, topics.ORDER_COMMANDS)


class Fickle(Sandbox):
    """Declines a share of the charges, and every refund of every fifth order."""

    def ask(self, requests: Sequence[Request]) -> list[Answer]:
        kept = Answer(PaymentResult.DECLINED, "account closed")
        answers = zip(requests, super().ask(requests), strict=True)
        return [kept if request.kind == PaymentKind.REFUND and request.order_id % 5 == 0 else answer for request, answer in answers]


class Traffic:
    """Writes what comes from outside, one thing at a time."""

    def __init__(self, flow: Flow, seed: int) -> None:
        self.flow = flow
        self.rng = random.Random(f"traffic {seed}")
        self.orders: list[int] = []
        self.sent: list[tuple[topics.Topic, int, bytes | None, bytes | None]] = []
        self.pending: list[Item] = []
        self._acts: dict[Callable[[], object], float] = {
            **{self.place: 4, self.send_pending: 8, self.command: 7, self.operate: 2, self.again: 1.5, self.other_order: 0.4},
            **{self.garbage: 0.3, self.wait: 0.3, self.take_over: 0.5},
        }

    def open_shop(self) -> None:
        for product_id in GOODS:
            self.flow.stock("RESTOCK", product_id, self.rng.choice((2, 10, 60, 60)))
        self.flow.stock("UNTRACK", SERVICE)

    def act(self) -> None:
        """Do one thing, and note what it wrote, so that it may be written again."""
        before = {at: len(records) for at, records in self.flow.log.records.items()}
        self.rng.choices(list(self._acts), list(self._acts.values()))[0]()
        for topic in EDGES:
            for p in range(self.flow.partitions):
                new = self.flow.log.records[topic.name, p][before.get((topic.name, p), 0) :]
                self.sent += [(topic, p, record.key, record.value) for record in new]

    def finish(self) -> None:
        """Send every line that is still held back, but for a few that never come."""
        while self.pending:
            self.send_pending()

    # -- orders --------------------------------------------------------------------------------------------------------

    def new_id(self) -> int:
        return len(self.orders) + 1

    def place(self) -> None:
        """Make the lines of a new order; they are sent one by one, or as columns."""
        order_id = self.new_id()
        self.orders.append(order_id)
        lines = self._lines(order_id, user_id=f"user{self.rng.randrange(5)}")
        if self.rng.random() < 0.3:
            self._send_columns(lines)
        else:
            self.pending += lines

    def _lines(self, order_id: int, **fields: Any) -> list[Item]:
        count = self.rng.choice((1, 1, 1, 2, 3))
        token = DECLINED_TOKEN if self.rng.random() < 0.15 else "tok"
        header = {"order_id": order_id, "line_count": count, "currency": "GBP", "user_id": "ann", "payment_token": token, "placed_at": self.flow.now, **fields}
        lines = [
            {**header, "line": n, "product_id": self.rng.choice(PRODUCTS), "quantity": self.rng.randrange(1, 6), "unit_price": self.rng.choice((0, 50, 199))}
            for n in range(1, count + 1)
        ]
        return [{**line, **self.rng.choice(FAULTS)} if self.rng.random() < 0.03 else line for line in lines]

    def send_pending(self) -> None:
        if not self.pending:
            return
        line = self.pending.pop(self.rng.randrange(len(self.pending)))
        if self.rng.random() < 0.02:
            return  # its producer died: the order expires
        for _ in range(2 if self.rng.random() < 0.05 else 1):
            self.flow.send_line(line, self._astray())

    def _astray(self) -> int | None:
        """Return a partition that is probably the wrong one, now and then."""
        return self.rng.randrange(self.flow.partitions) if self.rng.random() < 0.06 else None

    def _send_columns(self, lines: list[Item]) -> None:
        for partition in range(self.flow.partitions):
            mine = [line for line in lines if product_partition(line["product_id"], self.flow.partitions) == partition]
            if mine:
                self.flow.send_lines(mine, self._astray() or partition)

    def other_order(self) -> None:
        """Another order, or another line, under an ID that is taken."""
        if self.orders:
            user = {"user_id": "somebody else"} if self.rng.random() < 0.6 else {}
            self.pending += self._lines(self.rng.choice(self.orders), **user)

    # -- commands ------------------------------------------------------------------------------------------------------

    def command(self) -> None:
        order_id = self.rng.choice(self.orders[:8]) if self.orders and self.rng.random() < 0.9 else self.rng.randrange(1, 60)
        kind = self.rng.choice(("CANCEL", "SHIP", "SHIP", "SHIP", "RETURN", "RETURN"))
        line = 0 if kind == "CANCEL" or self.rng.random() < 0.5 else self.rng.randrange(5)
        quantity = self.rng.randrange(4) if kind == "RETURN" and line else 0
        where = {"partition": self.rng.randrange(self.flow.partitions)} if self.rng.random() < 0.06 else {}
        if self.rng.random() < 0.05:
            line, quantity = -1, -2
        self.flow.command(kind, order_id, line, quantity, **where)

    def take_over(self) -> None:
        """An order that another system has decided; its ID may be one of ours, and it may be impossible."""
        order_id = self.rng.choice(self.orders) if self.orders and self.rng.random() < 0.3 else self.rng.randrange(100, 104)
        if self.rng.random() < 0.3:
            order_id = len(self.orders) + 1 + self.rng.randrange(2)  # the next one that a customer places has it, too
        status, line = self.rng.choice((("SHIPPED", "SHIPPED"), ("CONFIRMED", "HELD"), ("RETURNED", "RETURNED"), ("SHIPPED", "HELD")))
        lines = [
            {"line": n, "product_id": "A", "quantity": 2, "unit_price": 50, "status": line, "refusal": "", "returned": 2 if line == "RETURNED" else 0}
            for n in range(1, self.rng.randrange(1, 4))
        ]
        whole = {"order_id": order_id, "source": "old", "external_id": f"x{order_id}", "status": status, "refusal": "", "user_id": "ann", "currency": "GBP"}
        whole |= {"charged": 100, "refunded": 0, "lines": lines, "placed_at": 1_000, "decided_at": 2_000, "changed_at": 3_000}
        where = self.rng.randrange(self.flow.partitions) if self.rng.random() < 0.1 else order_partition(order_id, self.flow.partitions)
        value = codec.encode("ImportedOrder", {**whole, "imported_at": self.flow.now, "actor": "backfill"})
        self.flow.log.append(topics.ORDER_COMMANDS, where, b"%d" % order_id, value)

    def operate(self) -> None:
        """A command about a product."""
        kind = self.rng.choice(("RESTOCK", "RESTOCK", "RESTOCK", "WRITE_OFF", "FOUND", "COUNT", "COUNT", "FREEZE", "UNFREEZE", "UNFREEZE", "TRACK", "UNTRACK"))
        has_quantity = StockCommandKind[kind] <= StockCommandKind.COUNT
        quantity = self.rng.randrange(-1, 12) if has_quantity else 0
        product_id = self.rng.choice(PRODUCTS)
        if kind in ("TRACK", "UNTRACK") and self.rng.random() < 0.7:
            product_id = SERVICE
        as_of = self.flow.now - self.rng.choice((0, 1, 5, 200)) if kind == "COUNT" else 0
        where = {"partition": self.rng.randrange(self.flow.partitions)} if self.rng.random() < 0.06 else {}
        self.flow.stock(kind, product_id, quantity, as_of=as_of, **where)

    # -- trouble -------------------------------------------------------------------------------------------------------

    def again(self) -> None:
        """A producer without idempotence writes again what it wrote before."""
        if self.sent:
            self.flow.log.append(*self.rng.choice(self.sent))

    def garbage(self) -> None:
        line = {"order_id": 1, "line": 1, "line_count": 1, "product_id": "A", "quantity": 1, "unit_price": 1, "currency": "GBP", "user_id": "u"}
        good = codec.encode("OrderLines", columns([{**line, "payment_token": "", "placed_at": 0}]))
        value = self.rng.choice((b"", None, b"garbage", b"\0\0\0\0\1", good[:-1], good + b"\0", codec.encode("TaskPositions", _NOWHERE)))
        self.flow.garbage(self.rng.choice(EDGES), value, self.rng.randrange(self.flow.partitions))

    def wait(self) -> None:
        self.flow.wait(self.rng.choice((10, TIMEOUT // 3, TIMEOUT + 1)))


_NOWHERE: Item = {"topic": [], "offset": [], "partitions": [], "topic_id": []}
