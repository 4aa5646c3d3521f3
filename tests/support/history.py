"""A small shop that keeps its promises: writes the records of a correct run into memory, one step at a time.

It knows nothing of the pipeline's code and nothing of the audit's. Tests take its history as it is, or spoil it.
`correct_history.correct_shop` is a run with every kind of ending.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from schemas import topics
from schemas.outcomes import LineStatus, OrderCommandKind, OrderStatus, PaymentKind, PaymentResult, Refusal
from schemas.outcomes import StockCommandKind as K
from schemas.partitions import order_partition
from tests.support.history_records import Rec
from tests.support.history_stock import Stock

PAYMENT_COLUMNS = ("attempt", "amount", "result", "reason", "refund_attempt", "refund_sequence", "refund_amount")
HEADER = ("user_id", "currency", "payment_token", "line_count")


@dataclass
class Order:
    """An order as the shop keeps it; `lines` by number."""

    header: dict[str, Any]
    lines: dict[int, dict[str, Any]] = field(default_factory=dict)
    status: OrderStatus = OrderStatus.RESERVING
    refusal: Refusal = Refusal.NONE
    version: int = 0
    decided_at: int = 0
    charged: int = 0
    refunded: int = 0
    refunds: int = 0
    attempt: int = 0

    @property
    def amount(self) -> int:
        return sum(line["quantity"] * line["unit_price"] for line in self.lines.values() if not Refusal[line["refusal"] or "NONE"].is_invalid_line)


class Shop(Stock):
    """Every method is one thing that happens, with all the records that a correct pipeline writes for it."""

    def __init__(self, partitions: int = 4, prefix: str = "") -> None:
        super().__init__(partitions, prefix)
        self.orders: dict[int, Order] = {}
        self.payments: dict[int, dict[str, list[Any]]] = {}

    # -- orders --------------------------------------------------------------------------------------------------------

    def answer(self, rec: Rec) -> None:
        """The stock stage answers a record of orders, and the orders stage hears it."""
        for answer, items in self.decide(rec):
            for index, item in enumerate(items):
                self._heard(item, answer, index)

    def _heard(self, item: dict[str, Any], answer: Rec, index: int) -> None:
        """The orders stage hears an answer."""
        order = self.orders.setdefault(item["order_id"], Order({name: item[name] for name in (*HEADER, "placed_at")}))
        known = order.lines.get(item["line"])
        same = all(item[name] == order.header[name] for name in HEADER)
        if known or not same:
            if not item["refusal"]:
                self.carry_out(K.RELEASE, item["product_id"], item["quantity"], order_id=item["order_id"], line=item["line"])
            if not same or known is None or any(known[name] != item[name] for name in ("product_id", "quantity", "unit_price")):
                self.dead_letter(answer, index, "CONFLICTING_ORDER", "orders")
            return
        over = order.status is not OrderStatus.RESERVING
        status = LineStatus.REFUSED if item["refusal"] else LineStatus.RELEASED if over else LineStatus.HELD
        entry = {name: item[name] for name in ("line", "product_id", "quantity", "unit_price")}
        order.lines[item["line"]] = {**entry, "status": status.name, "refusal": Refusal(item["refusal"]).name if item["refusal"] else "", "returned": 0}
        if status is LineStatus.RELEASED:
            self.carry_out(K.RELEASE, item["product_id"], item["quantity"], order_id=item["order_id"], line=item["line"])
        if over:
            self.publish(item["order_id"], "AMENDED")
        elif item["refusal"]:
            self.end(item["order_id"], OrderStatus.REJECTED, Refusal(item["refusal"]))

    def place(self, order_id: int, *asked: tuple[str, int, int], **more: Any) -> list[Rec]:
        """Send an order and have all of it answered."""
        sent = self.send(*self.lines(order_id, *asked, **more))
        for rec in sent:
            self.answer(rec)
        return sent

    def end(self, order_id: int, status: OrderStatus, refusal: Refusal) -> None:
        """Release what is held and give the order its answer."""
        order = self.orders[order_id]
        order.status, order.refusal = status, refusal
        held = [(n, line) for n, line in order.lines.items() if line["status"] == "HELD"]
        for _, line in held:
            line["status"] = "RELEASED"
        self.publish(order_id, "DECIDED")
        for n, line in held:
            self.carry_out(K.RELEASE, line["product_id"], line["quantity"], order_id=order_id, line=n)

    def publish(self, order_id: int, change: str) -> Rec:
        """The order's next outcome, and its changelog row."""
        order, home = self.orders[order_id], order_partition(order_id, self.partitions)
        order.version += 1
        order.decided_at = order.decided_at or self.now
        header = {name: value for name, value in order.header.items() if name != "payment_token"}
        money = {"charged": order.charged, "refunded": order.refunded}
        common = {"order_id": order_id, "version": order.version, **header, **money, "decided_at": order.decided_at}
        lines = [dict(order.lines[n]) for n in sorted(order.lines)]
        refusal = order.refusal.name if order.refusal else ""
        value = {**common, "change": change, "status": order.status.name, "refusal": refusal, "amount": order.amount, "lines": lines, "changed_at": self.tick()}
        rec = self.write(topics.ORDER_OUTCOMES, home, "OrderOutcome", {**value, "attempt": order.attempt if order.charged else 0}, b"%d" % order_id)
        columns = {name: [line[name] for line in lines] for name in ("line", "product_id", "quantity", "unit_price", "returned")}
        codes = {"line_status": bytes(LineStatus[x["status"]] for x in lines), "line_refusal": bytes(Refusal[x["refusal"] or "NONE"] for x in lines)}
        rest = {"payment_token": order.header["payment_token"], "deadline": 0, "attempt": order.attempt, "refund_asked": order.refunded}
        row = {**common, **columns, **codes, **rest, "status": int(order.status), "refusal": int(order.refusal), "refund_sequence": order.refunds}
        self.write(topics.ORDER_STATE, home, "OrderRow", {**row, "open_refunds": [], "recent_commands": []}, b"%d" % order_id)
        return rec

    # -- money ---------------------------------------------------------------------------------------------------------

    def ask(self, order_id: int, kind: PaymentKind, amount: int, sequence: int = 0) -> dict[str, Any]:
        """Write a payment request; returns what its result repeats."""
        order, home = self.orders[order_id], order_partition(order_id, self.partitions)
        value: dict[str, Any] = {"kind": bytes([kind]), "order_id": [order_id], "attempt": [order.attempt], "sequence": [sequence], "amount": [amount]}
        value["currency"] = [order.header["currency"]]
        more = {"payment_token": [order.header["payment_token"]], "user_id": [order.header["user_id"]], "requested_at": self.tick()}
        self.write(topics.PAYMENT_REQUESTS, home, "PaymentRequests", {**value, **more})
        return value

    def result(self, asked: dict[str, Any], result: PaymentResult) -> Rec:
        """Write a request's result."""
        value = {**asked, "result": bytes([result]), "reason": [""], "answered_at": self.tick()}
        said = self.write(topics.PAYMENT_RESULTS, order_partition(asked["order_id"][0], self.partitions), "PaymentResults", value)
        self._payment_row(asked, result)
        return said

    def _payment_row(self, asked: dict[str, Any], result: PaymentResult) -> None:
        """The payments stage notes a charge's answer, or money that it gave back."""
        order_id, attempt, sequence, amount = (asked[name][0] for name in ("order_id", "attempt", "sequence", "amount"))
        row = self.payments.setdefault(order_id, {name: [] for name in PAYMENT_COLUMNS})
        of = "refund_" if sequence else ""
        if not sequence:
            row["result"].append(result)
            row["reason"].append("")
        elif result is not PaymentResult.REFUNDED:
            return
        else:
            row["refund_sequence"].append(sequence)
        row[f"{of}attempt"].append(attempt)
        row[f"{of}amount"].append(amount)
        value = {"order_id": order_id, **{name: list(column) for name, column in row.items()}, "result": bytes(row["result"])}
        self.write(topics.PAYMENT_STATE, order_partition(order_id, self.partitions), "PaymentRow", value, b"%d" % order_id)

    def charge(self, order_id: int) -> dict[str, Any]:
        """Every line is held: ask for the money."""
        self.orders[order_id].attempt = 1
        return self.ask(order_id, PaymentKind.CHARGE, self.orders[order_id].amount)

    def pay(self, order_id: int, *, declined: bool = False) -> None:
        """Ask for the money and hear the answer; an order that costs nothing is confirmed without."""
        order = self.orders[order_id]
        if order.amount:
            self.result(self.charge(order_id), PaymentResult.DECLINED if declined else PaymentResult.PAID)
        if declined:
            self.end(order_id, OrderStatus.PAYMENT_FAILED, Refusal.PAYMENT_DECLINED)
        else:
            order.charged = order.amount
            self.end_confirmed(order_id)

    def end_confirmed(self, order_id: int) -> None:
        self.orders[order_id].status = OrderStatus.CONFIRMED
        self.publish(order_id, "DECIDED")

    def refund(self, order_id: int, amount: int) -> None:
        """Give money back, and note it."""
        order = self.orders[order_id]
        order.refunds += 1
        self.result(self.ask(order_id, PaymentKind.REFUND, amount, order.refunds), PaymentResult.REFUNDED)
        order.refunded += amount
        self.publish(order_id, "AMENDED")

    def pay_late(self, order_id: int, asked: dict[str, Any]) -> None:
        """A charge succeeds after its order ended: all of it goes back."""
        order = self.orders[order_id]
        self.result(asked, PaymentResult.PAID)
        order.charged = order.amount
        self.publish(order_id, "AMENDED")
        self.refund(order_id, order.amount)

    # -- commands about orders -----------------------------------------------------------------------------------------

    def order_command(self, kind: OrderCommandKind, order_id: int, command_id: str, line: int = 0, quantity: int = 0, partition: int | None = None) -> Rec:
        """Write a command about an order."""
        home = order_partition(order_id, self.partitions) if partition is None else partition
        value = {"command_id": command_id, "kind": kind.name, "order_id": order_id, "line": line, "quantity": quantity}
        return self.write(topics.ORDER_COMMANDS, home, "OrderCommand", {**value, "issued_at": self.tick(), "actor": "test"}, b"%d" % order_id)

    def refuse(self, kind: OrderCommandKind, order_id: int, command_id: str, refusal: Refusal, **more: int) -> None:
        """A command about an order that changes nothing."""
        command = self.order_command(kind, order_id, command_id, **more)
        fields = {name: command.value[name] for name in ("command_id", "kind", "order_id", "line", "quantity", "actor")}
        home = order_partition(order_id, self.partitions)
        self.write(topics.ORDER_OUTCOMES, home, "OrderCommandRefused", {**fields, "refusal": refusal.name, "refused_at": self.tick()}, b"%d" % order_id)

    def take_over(self, order_id: int, status: str, *asked: tuple[str, int, int, str], **more: Any) -> Rec:
        """An order that another system has decided: (product, quantity, price, line status) for each line."""
        lines = [
            {"line": n, "product_id": p, "quantity": q, "unit_price": price, "status": said, "refusal": "", "returned": q if said == "RETURNED" else 0}
            for n, (p, q, price, said) in enumerate(asked, 1)
        ]
        amount, home, key = sum(x["quantity"] * x["unit_price"] for x in lines), order_partition(order_id, self.partitions), b"%d" % order_id
        header = {"order_id": order_id, "user_id": "u1", "currency": "GBP", "refusal": "", "charged": amount, "refunded": 0, **more}
        header |= {"placed_at": 1_000, "decided_at": 2_000}
        names = {"source": "old-shop", "external_id": f"order {order_id}", "imported_at": self.tick(), "actor": "backfill"}
        rec = self.write(topics.ORDER_COMMANDS, home, "ImportedOrder", {**header, **names, "status": status, "lines": lines, "changed_at": 3_000}, key)
        counted = {"version": 1, "change": "IMPORTED", "amount": amount, "attempt": int(header["charged"] > 0), "line_count": len(lines)}
        said = {**header, **counted, "status": status, "lines": [dict(x) for x in lines], "changed_at": 3_000}
        self.write(topics.ORDER_OUTCOMES, home, "OrderOutcome", said, key)
        columns: dict[str, Any] = {name: [] for name in ("line", "product_id", "quantity", "unit_price", "returned", "open_refunds", "recent_commands")}
        rest = {"line_status": b"", "line_refusal": b"", "payment_token": "", "deadline": 0, "attempt": 0, "refund_asked": 0, "refund_sequence": 0}
        row = {**header, **columns, **rest, "version": 1, "line_count": len(lines), "status": int(OrderStatus.IMPORTED)}
        self.write(topics.ORDER_STATE, home, "OrderRow", {**row, "refusal": int(Refusal[header["refusal"] or "NONE"])}, key)
        return rec

    def cancel(self, order_id: int) -> None:
        self.order_command(OrderCommandKind.CANCEL, order_id, f"cancel-{order_id}")
        self.end(order_id, OrderStatus.CANCELLED, Refusal.CANCELLED_ON_REQUEST)

    def ship(self, order_id: int, command_id: str, line: int = 0) -> None:
        """Ship one line, or all that are held."""
        self.order_command(OrderCommandKind.SHIP, order_id, command_id, line)
        order = self.orders[order_id]
        going = [n for n, x in order.lines.items() if x["status"] == "HELD" and line in (0, n)]
        for n in going:
            order.lines[n]["status"] = "SHIPPED"
        if not any(x["status"] == "HELD" for x in order.lines.values()):
            order.status = OrderStatus.SHIPPED
        self.publish(order_id, "SHIPPED")
        for n in going:
            self.carry_out(K.SHIP, order.lines[n]["product_id"], order.lines[n]["quantity"], order_id=order_id, line=n)

    def give_back(self, order_id: int, command_id: str, line: int, units: int) -> None:
        """Take units of a shipped line back and refund them."""
        self.order_command(OrderCommandKind.RETURN, order_id, command_id, line, units)
        order = self.orders[order_id]
        entry = order.lines[line]
        entry["returned"] += units
        if entry["returned"] == entry["quantity"]:
            entry["status"] = "RETURNED"
        if all(x["status"] == "RETURNED" for x in order.lines.values()):
            order.status = OrderStatus.RETURNED
        self.publish(order_id, "RETURNED")
        self.carry_out(K.RETURN, entry["product_id"], units, order_id=order_id, line=line)
        self.refund(order_id, units * entry["unit_price"])
