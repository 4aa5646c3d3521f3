"""The model that random histories are held against. Of Holdfast it knows three numbers a product and one answer an order."""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Final

from streams.domain.order import EventKind

GOODS: Final = {
    "HOLD": (-1, 1, 0),
    "RELEASE": (1, -1, 0),
    "SHIP": (0, -1, 1),
    **dict.fromkeys(("RETURN", "RESTOCK", "FOUND"), (1, 0, 0)),
    "WRITE_OFF": (-1, 0, 0),
}
"""What one unit does to (available, reserved, shipped)."""
SERVICES: Final = {**GOODS, "HOLD": (0, 1, 0), "RELEASE": (0, -1, 0), "RETURN": (0, 0, 0)}
VERDICTS: Final = {
    EventKind.HELD: {"", "CONFIRMED", "CANCELLED"},
    EventKind.REFUSED: {"", "REJECTED", "CANCELLED"},
    EventKind.PAID: {"CONFIRMED"},
    EventKind.DECLINED: {"PAYMENT_FAILED"},
    EventKind.CANCEL: {"", "CANCELLED"},
    EventKind.DEADLINE: {"", "EXPIRED"},
}
"""What an order that is undecided may say when it hears an event; nothing, where more is to come."""


class Model:
    """`shelves[product]`: available, reserved, shipped. `money[order ID]`: paid and not given back, minor units."""

    def __init__(self) -> None:
        self.shelves: defaultdict[str, list[int]] = defaultdict(lambda: [0, 0, 0])
        self.answers: dict[int, str] = {}
        self.money: Counter[int] = Counter()

    def move(self, how: str, product: str, units: int, *, service: bool = False) -> bool:
        """Move units if they are there, which is the one reason to refuse; returns whether."""
        moved = [n + by * units for n, by in zip(self.shelves[product], (SERVICES if service else GOODS)[how], strict=True)]
        self.shelves[product] = moved if min(moved) >= 0 else self.shelves[product]
        return min(moved) >= 0

    def hear(self, order_id: int, event: EventKind, said: str) -> None:
        """An order hears an event and says its decision, or nothing: the first decision is the answer, and there is no second."""
        assert said in ({""} if order_id in self.answers else VERDICTS.get(event, {""})), f"I2: {event.name} led to {said or 'nothing'}"
        self.answers |= {order_id: said} if said else {}
