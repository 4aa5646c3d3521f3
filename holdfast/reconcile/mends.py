"""A mend: one command with an ID that is derived from the drift, so that sending it twice changes nothing (pure)."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from schemas import topics
from schemas.codec import encode
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import Topic

ACTOR: Final = "reconcile"


class Mend(NamedTuple):
    """A command. `kind`: of StockCommandKind where it names a product, else of OrderCommandKind."""

    command_id: str
    kind: str
    product_id: str = ""
    order_id: int = 0
    line: int = 0
    quantity: int = 0

    @property
    def topic(self) -> Topic:
        """Where it goes."""
        return topics.STOCK_COMMANDS if self.product_id else topics.ORDER_COMMANDS

    def document(self) -> dict[str, Any]:
        """Return it for programs; IDs of orders are strings."""
        return {**self._asdict(), "order_id": str(self.order_id) if self.order_id else "", "topic": self.topic.name}

    def __str__(self) -> str:
        named = {"product": self.product_id, "order": self.order_id, "line": self.line, "quantity": self.quantity, "id": self.command_id}
        return " ".join([f"{self.topic.name} {self.kind}", *(f"{name}={value}" for name, value in named.items() if value)])

    def partition(self, partitions: int) -> int:
        """Return the partition that it goes to."""
        return product_partition(self.product_id, partitions) if self.product_id else order_partition(self.order_id, partitions)

    def record(self, now: int) -> bytes:
        """Return it as a columnar record of one item; `now` in ms."""
        common = {"command_id": [self.command_id], "order_id": [self.order_id], "line": [self.line], "quantity": [self.quantity], "issued_at": now}
        if self.product_id:
            kind = bytes((StockCommandKind[self.kind],))
            return encode("StockCommands", {**common, "kind": kind, "product_id": [self.product_id], "as_of": [0], "actor": ACTOR})
        return encode("OrderCommands", {**common, "kind": bytes((OrderCommandKind[self.kind],)), "actor": ACTOR})


def release(order_id: int, line: int, product_id: str, units: int, before: int) -> Mend:
    """Give units back that no order is entitled to; `before`: how many holds of that line were released."""
    return Mend(f"reconcile:release:{order_id}:{line}:{before}", "RELEASE", product_id, order_id, line, units)


def rehold(order_id: int, line: int, product_id: str, units: int, before: int) -> Mend:
    """Take units for a line that holds them and of which its product does not know; `before`: how many of its holds were released."""
    return Mend(f"reconcile:rehold:{order_id}:{line}:{before}", "REHOLD", product_id, order_id, line, units)


def restate_product(product_id: str, version: int, *, frozen: bool) -> Mend:
    """Say a product's level again: a setting that stays what it is makes a version of its own."""
    return Mend(f"reconcile:product:{product_id}:{version}", "FREEZE" if frozen else "UNFREEZE", product_id)


def restate_order(order_id: int, version: int) -> Mend:
    """Say a decided order again as it stands."""
    return Mend(f"reconcile:order:{order_id}:{version}", "RESTATE", order_id=order_id)
