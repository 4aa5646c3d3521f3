"""The stock side of the shop in `history`: products, commands about them, lines and their answers."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from schemas import topics
from schemas.outcomes import Refusal
from schemas.outcomes import StockCommandKind as K
from schemas.partitions import order_partition, product_partition
from tests.support.history_records import LINE, Rec, Records, lines_of

NUMBERS = ("available", "reserved", "shipped", "received", "written_off", "returned")


@dataclass
class Product:
    """A product as the shop keeps it."""

    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(NUMBERS, 0))
    version: int = 0
    tracked: bool = True
    frozen: bool = False

    def add(self, **numbers: int) -> None:
        for name, by in numbers.items():
            self.numbers[name] += by
        self.version += 1


class Stock(Records):
    """Every method is one thing that happens to stock, with all the records that a correct stock stage writes for it."""

    def __init__(self, partitions: int, prefix: str) -> None:
        super().__init__(partitions, prefix)
        self.products: defaultdict[str, Product] = defaultdict(Product)

    def _product_row(self, product_id: str) -> None:
        product, key = self.products[product_id], product_id.encode()
        home = product_partition(product_id, self.partitions)
        row = {"product_id": product_id, **product.numbers, "version": product.version, "tracked": product.tracked, "frozen": product.frozen}
        memory: dict[str, Any] = {"recent_commands": [], "moved_at": [], "moved_by": []}
        self.write(topics.STOCK_STATE, home, "ProductRow", {**row, **memory}, key)
        self.write(topics.STOCK_LEVELS, home, "StockLevel", {**row, "updated_at": self.now}, key)

    # -- commands about products ---------------------------------------------------------------------------------------

    def command(self, kind: K, product_id: str, quantity: int = 0, **more: Any) -> Rec:
        """Write a command where it belongs (or on `partition`), without carrying it out."""
        value = {"kind": bytes([kind]), "command_id": [more.get("command_id", "")], "order_id": [more.get("order_id", 0)], "line": [more.get("line", 0)]}
        value |= {"product_id": [product_id], "quantity": [quantity], "as_of": [more.get("as_of", 0)]}
        partition = more.get("partition", product_partition(product_id, self.partitions))
        return self.write(topics.STOCK_COMMANDS, partition, "StockCommands", {**value, "issued_at": self.tick(), "actor": "test"})

    def carry_out(self, kind: K, product_id: str, quantity: int = 0, refusal: Refusal = Refusal.NONE, **more: Any) -> Rec:
        """A command and its answer."""
        command, product = self.command(kind, product_id, quantity, **more), self.products[product_id]
        if not refusal or refusal is Refusal.COUNT_BELOW_RESERVED:
            self._apply(kind, product, quantity, more.get("by", 0))
            self._product_row(product_id)
        fields = {name: command.value[name] for name in ("kind", "command_id", "order_id", "line", "product_id", "quantity")}
        numbers = {name: [number] for name, number in product.numbers.items()}
        fields |= {"refusal": bytes([refusal]), **numbers, "version": [product.version], "offset": [command.offset], "index": [0], "actor": ["test"]}
        head = {"partition": command.partition, "decided_at": self.now}
        return self.write(topics.STOCK_DECISIONS, command.partition, "StockMovements", {**head, **fields})

    def _apply(self, kind: K, product: Product, n: int, by: int) -> None:
        tracked = product.tracked
        changes: dict[K, dict[str, int]] = {
            K.RESTOCK: {"available": n, "received": n},
            K.FOUND: {"available": n, "received": n},
            K.WRITE_OFF: {"available": -n, "written_off": n},
            K.COUNT: {"available": by, "received": max(by, 0), "written_off": max(-by, 0)},
            K.RELEASE: {"available": n, "reserved": -n} if tracked else {"reserved": -n, "written_off": n},
            K.SHIP: {"reserved": -n, "shipped": n},
            K.RETURN: {"available": n, "returned": n} if tracked else {"written_off": n, "returned": n},
        }
        product.add(**changes.get(kind, {}))
        product.frozen = kind is K.FREEZE or (product.frozen and kind is not K.UNFREEZE)
        product.tracked = kind is K.TRACK or (product.tracked and kind is not K.UNTRACK)

    # -- lines ----------------------------------------------------------------------------------------------------------

    def lines(self, order_id: int, *asked: tuple[str, int, int], user: str = "u1", token: str = "tok", currency: str = "GBP") -> list[dict[str, Any]]:
        """The lines of an order for (product, quantity, unit price) each."""
        header = {"order_id": order_id, "line_count": len(asked), "currency": currency, "user_id": user, "payment_token": token, "placed_at": self.tick()}
        return [
            {**header, "line": n, "product_id": product, "quantity": quantity, "unit_price": price} for n, (product, quantity, price) in enumerate(asked, 1)
        ]

    def send(self, *lines: dict[str, Any], partition: int | None = None) -> list[Rec]:
        """Write lines to orders: one columnar record per partition, a single line as OrderLine."""
        by_partition: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for line in lines:
            by_partition[product_partition(line["product_id"], self.partitions) if partition is None else partition].append(line)
        return [self._send(at, part) for at, part in by_partition.items()]

    def _send(self, partition: int, lines: list[dict[str, Any]]) -> Rec:
        if len(lines) == 1:
            return self.write(topics.ORDERS, partition, "OrderLine", dict(lines[0]), lines[0]["product_id"].encode())
        return self.write(topics.ORDERS, partition, "OrderLines", {name: [line[name] for line in lines] for name in LINE})

    def decide(self, rec: Rec) -> list[tuple[Rec, list[dict[str, Any]]]]:
        """Answer a record of orders: one columnar record per order's partition. Returns each with its items."""
        self.tick()
        by_partition: defaultdict[int, list[dict[str, Any]]] = defaultdict(list)
        for index, line in enumerate(lines_of(rec)):
            answered = self._decide(line) | {"offset": rec.offset, "index": index}
            by_partition[order_partition(line["order_id"], self.partitions)].append(answered)
        return [(self._answer(rec, at, items), items) for at, items in by_partition.items()]

    def _answer(self, rec: Rec, at: int, items: list[dict[str, Any]]) -> Rec:
        columns = (*LINE, "available", "version", "offset", "index")
        value = {name: [item[name] for item in items] for name in columns} | {"refusal": bytes(item["refusal"] for item in items)}
        return self.write(topics.STOCK_DECISIONS, at, "StockDecisions", {"partition": rec.partition, "decided_at": self.now, **value})

    def _decide(self, line: dict[str, Any]) -> dict[str, Any]:
        product, quantity = self.products[line["product_id"]], line["quantity"]
        refusal = line.get("refusal", Refusal.NONE)
        if not refusal and product.frozen:
            refusal = Refusal.PRODUCT_FROZEN
        if not refusal and product.tracked and product.numbers["available"] < quantity:
            refusal = Refusal.INSUFFICIENT_STOCK
        if not refusal:
            product.add(**({"available": -quantity} if product.tracked else {"received": quantity}), reserved=quantity)
            self._product_row(line["product_id"])
        return {**line, "refusal": int(refusal), "available": product.numbers["available"], "version": product.version}
