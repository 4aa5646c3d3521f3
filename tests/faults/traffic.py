"""What a load client sends: seeded orders over a small catalogue that runs short, and everything that may become of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from random import Random
from typing import Final

from ingest.requests import Line, Order, OrderCommand, StockCommand
from schemas.outcomes import OrderCommandKind, StockCommandKind

PRODUCTS: Final = tuple(f"p{n}" for n in range(40))
OPENING_UNITS: Final = 400
REMEMBERED: Final = 2_000
"""Orders that a command or a repeat may still concern."""
Thing = Order | OrderCommand | StockCommand


class Traffic:
    """A client's orders and commands, `orders` of them per batch; `first_id` is where its order IDs begin."""

    def __init__(self, seed: int, orders: float, first_id: int) -> None:
        self._random = Random(seed)
        self._orders = orders
        self._owed = 0.0
        self._name = f"c{first_id}"
        self._next_id = first_id
        self._commands = 0
        self._earlier: deque[Order] = deque(maxlen=REMEMBERED)

    def batch(self, now_ms: int) -> list[Thing]:
        """Return the next things to send."""
        self._owed += self._orders
        things: list[Thing] = []
        while self._owed >= 1:
            self._owed -= 1
            things += self._order_and_more(now_ms)
        return [*things, *self._stock(now_ms)]

    def _order_and_more(self, now_ms: int) -> Iterator[Thing]:
        order = self._order(now_ms)
        yield order
        chance = self._random.random()
        if chance < 0.03:
            yield order  # a client that is not sure sends again
        elif chance < 0.06:
            yield self._random.choice(self._earlier) if self._earlier else order
        yield from self._afterwards(order)
        self._earlier.append(order)

    def _order(self, now_ms: int) -> Order:
        self._next_id += 1
        lines = [Line(self._product(), self._random.randint(1, 3), self._random.choice((0, 100, 250))) for _ in range(self._random.randint(1, 4))]
        token = "tok_declined" if self._random.random() < 0.05 else "tok_ok"
        return Order(self._next_id, f"u{self._next_id % 50}", lines, "GBP", token, now_ms)

    def _product(self) -> str:
        return PRODUCTS[min(int(self._random.expovariate(0.1)), len(PRODUCTS) - 1)]

    def _afterwards(self, order: Order) -> Iterator[OrderCommand]:
        """Cancel this order, ship an earlier one or take one back, now and then; the same command twice, rarely."""
        chance = self._random.random()
        earlier = self._random.choice(self._earlier) if self._earlier else order
        if chance < 0.04:
            commands = [self._about(OrderCommandKind.CANCEL, order)]
        elif chance < 0.30:
            commands = [self._about(OrderCommandKind.SHIP, earlier)]
        elif chance < 0.36:
            line = self._random.randint(0, len(earlier.lines))
            commands = [self._about(OrderCommandKind.RETURN, earlier, line, self._random.randint(0, 2) if line else 0)]
        else:
            return
        yield from commands * (2 if self._random.random() < 0.05 else 1)

    def _about(self, kind: OrderCommandKind, order: Order, line: int = 0, quantity: int = 0) -> OrderCommand:
        self._commands += 1
        return OrderCommand(f"{self._name}.{self._commands}", kind, order.order_id, line, quantity, actor="client")

    def _stock(self, now_ms: int) -> Iterator[StockCommand]:
        """Restock less than is ordered, count now and then, write off, find and freeze a little."""
        restock = self._stock_command(StockCommandKind.RESTOCK, self._product(), max(1, int(self._orders * 3)))
        yield restock
        chance = self._random.random()
        if chance < 0.05:
            yield restock
        elif chance < 0.10:
            yield self._stock_command(StockCommandKind.COUNT, self._product(), self._random.randint(0, 200), as_of=now_ms - self._random.choice((0, 50, 5_000)))
        elif chance < 0.14:
            kind = self._random.choice((StockCommandKind.WRITE_OFF, StockCommandKind.FOUND))
            yield self._stock_command(kind, self._product(), self._random.randint(1, 5))
        elif chance < 0.16:
            yield self._stock_command(StockCommandKind.FREEZE, PRODUCTS[-1])
        elif chance < 0.20:
            yield self._stock_command(StockCommandKind.UNFREEZE, PRODUCTS[-1])

    def _stock_command(self, kind: StockCommandKind, product: str, quantity: int = 0, as_of: int = 0) -> StockCommand:
        self._commands += 1
        return StockCommand(f"{self._name}.{self._commands}", kind, product, quantity, as_of, actor="client")


def opening(products: Iterator[str] | tuple[str, ...] = PRODUCTS, units: int = OPENING_UNITS) -> list[StockCommand]:
    """Return what puts the first goods on the shelf."""
    return [StockCommand(f"opening-{product}", StockCommandKind.RESTOCK, product, units, actor="client") for product in products]
