"""Ways to spoil a correct history."""

from __future__ import annotations

from typing import Any

from schemas import topics
from schemas.codec import encode
from schemas.outcomes import PaymentKind, PaymentResult, StockCommandKind
from schemas.partitions import order_partition, product_partition
from tests.support.history import Shop
from tests.support.history_records import Rec
from tests.support.history_stores import StoreContents

K = StockCommandKind


def put(column: Any, index: int, value: Any) -> Any:
    """A column with one item changed; bytes and arrays alike."""
    items = list(column)
    items[index] = value
    return bytes(items) if isinstance(column, bytes) else items


def change(found: tuple[dict[str, Any], int], **fields: Any) -> None:
    """Change an item of a columnar record."""
    record, index = found
    for name, value in fields.items():
        record[name] = put(record[name], index, value)


def drop(found: tuple[dict[str, Any], int]) -> None:
    """Take an item out of a columnar record."""
    record, index = found
    for name, column in record.items():
        if isinstance(column, list | bytes):
            record[name] = column[:index] + column[index + 1 :]


def again(shop: Shop, rec: Rec) -> Rec:
    """The same record once more, at its partition's end."""
    return shop.write(rec.topic, rec.partition, rec.name, rec.value, rec.key)


def held(shop: Shop, order_id: int, line: int = 1) -> tuple[dict[str, Any], int]:
    return shop.item("StockDecisions", order_id=order_id, line=line)


def moved(shop: Shop, kind: StockCommandKind, order_id: int) -> tuple[dict[str, Any], int]:
    return shop.item("StockMovements", kind=kind, order_id=order_id)


def without(shop: Shop, *names: str, **fields: Any) -> None:
    """Remove every record of these names with these fields."""
    shop.records = [r for r in shop.records if r.name not in names or any(r.value.get(f) != v for f, v in fields.items())]


def command(shop: Shop, command_id: str) -> tuple[dict[str, Any], int]:
    return shop.item("StockCommands", command_id=command_id)


def answer_to(shop: Shop, command_id: str) -> tuple[dict[str, Any], int]:
    return shop.item("StockMovements", command_id=command_id)


def outcome(shop: Shop, order_id: int, version: int) -> dict[str, Any]:
    return shop.one("OrderOutcome", order_id=order_id, version=version).value


def update(values: dict[str, Any], **fields: Any) -> None:
    values.update(fields)


def remove_hold(shop: Shop, order_id: int) -> None:
    """A hold that nobody asked back: its product's later versions move up."""
    record, index = held(shop, order_id)
    product, version, quantity = (record[name][index] for name in ("product_id", "version", "quantity"))
    drop((record, index))
    _shift(shop, product, version, available=quantity, reserved=-quantity)


def remove_move(shop: Shop, kind: StockCommandKind, order_id: int, **by: int) -> None:
    """A release, ship or return that never came, asked for or done; the product's later versions move up."""
    record, index = moved(shop, kind, order_id)
    product, version = record["product_id"][index], record["version"][index]
    command = next(r for r in shop.all("StockCommands") if (r.partition, r.offset) == (record["partition"], record["offset"][index]))
    shop.records = [r for r in shop.records if r.value is not record and r is not command]
    _shift(shop, product, version, **by)


def double_move(shop: Shop, kind: StockCommandKind, order_id: int, **by: int) -> None:
    """A release, ship or return asked for and carried out twice, at the end of the product's history."""
    record, index = moved(shop, kind, order_id)
    product_id, quantity, line = (record[name][index] for name in ("product_id", "quantity", "line"))
    shop.carry_out(kind, product_id, quantity, order_id=order_id, line=line, **by)


def _shift(shop: Shop, product: str, version: int, **by: int) -> None:
    """Take one version of a product out of the history, and what it did to the numbers out of all that follow."""
    for name in ("StockLevel", "ProductRow"):
        shop.records = [r for r in shop.records if r.name != name or r.value["product_id"] != product or r.value["version"] != version]
        for rec in shop.all(name):
            if rec.value["product_id"] == product and rec.value["version"] > version:
                rec.value |= {"version": rec.value["version"] - 1, **{field: rec.value[field] + n for field, n in by.items()}}
    for name in ("StockDecisions", "StockMovements"):
        for record, index in shop.items(name, product_id=product):
            if record["version"][index] > version:
                change((record, index), version=record["version"][index] - 1)
                change((record, index), **{field: record[field][index] + n for field, n in by.items() if field in record})


def confirm(shop: Shop, order_id: int, **fields: Any) -> None:
    """Make an order's outcome call it confirmed, with every line held."""
    value = outcome(shop, order_id, 1)
    lines = [{**line, "status": "HELD", "refusal": ""} for line in value["lines"]]
    value |= {"status": "CONFIRMED", "refusal": "", "lines": lines, **fields}


def pay_again(shop: Shop, order_id: int) -> None:
    """A second charge of an order, under another attempt number, which succeeds."""
    shop.orders[order_id].attempt = 2
    shop.result(shop.ask(order_id, PaymentKind.CHARGE, shop.orders[order_id].amount), PaymentResult.PAID)


def refund_of(shop: Shop, order_id: int, amount: int, attempt: int = 1, sequence: int = 1) -> None:
    shop.orders[order_id].attempt = attempt
    shop.result(shop.ask(order_id, PaymentKind.REFUND, amount, sequence), PaymentResult.REFUNDED)


def remove_refund(shop: Shop, order_id: int) -> None:
    """An order's first refund is neither asked for nor answered."""
    for name in ("PaymentRequests", "PaymentResults"):
        drop(shop.item(name, order_id=order_id, kind=PaymentKind.REFUND))


def refund_in_row(shop: Shop, order_id: int) -> None:
    """The payments stage notes a refund that nobody was told of."""
    shop.last("PaymentRow", order_id=order_id).value.update(refund_attempt=[1], refund_sequence=[1], refund_amount=[10])


def call_paid(shop: Shop, order_id: int) -> None:
    shop.last("PaymentRow", order_id=order_id).value.update(result=bytes([PaymentResult.PAID]))


def rekey(rec: Rec) -> None:
    rec.key = b"404"


def misplace(shop: Shop, rec: Rec) -> None:
    """Move a record to the next partition's end."""
    shop.records.remove(rec)
    shop.write(rec.topic, (rec.partition + 1) % shop.partitions, rec.name, rec.value, rec.key)


def unhold_frozen(shop: Shop) -> None:
    """A line is held though its product is frozen."""
    shop.products["ice"].frozen = False
    sent = shop.send(*shop.lines(90, ("ice", 1, 10)))[0]
    shop.answer(sent)
    shop.products["ice"].frozen = True


def backdate_level(shop: Shop) -> None:
    """stock.levels goes back: an old record of a product comes again."""
    again(shop, shop.one("StockLevel", product_id="apple", version=2))


def answer_stray(shop: Shop) -> None:
    """The line on the wrong partition is answered there, beside its copy."""
    home = product_partition("plum", shop.partitions)
    stray = next(r for r in shop.all("OrderLine") if r.value["product_id"] == "plum" and r.partition != home)
    shop.answer(stray)


def swap_outcomes(shop: Shop) -> None:
    """Two outcomes of an order change places in the log."""
    first, second = shop.one("OrderOutcome", order_id=7, version=2), shop.one("OrderOutcome", order_id=7, version=3)
    first.value, second.value = second.value, first.value


def state_version(shop: Shop, by: int) -> None:
    shop.last("ProductRow", product_id="pear").value["version"] += by


def forge_letter(shop: Shop, **fields: Any) -> None:
    value = {**shop.all("DeadLetter")[0].value, **fields}
    shop.write(topics.DEAD_LETTERS, 0, "DeadLetter", value)


def letter(shop: Shop, reason: str) -> Rec:
    return shop.one("DeadLetter", reason=reason)


def only(shop: Shop, rec: Rec) -> None:
    shop.records.remove(rec)


def fail_unasked(shop: Shop) -> None:
    """An order is called PAYMENT_FAILED though no charge was declined."""
    outcome(shop, 5, 1).update(status="PAYMENT_FAILED", refusal="PAYMENT_DECLINED")
    for version in (2, 3):
        outcome(shop, 5, version).update(status="PAYMENT_FAILED", refusal="PAYMENT_DECLINED")


def other_position(shop: Shop, by: int) -> None:
    record = shop.last("TaskPositions", topic=["orders", "stock.commands"]).value
    record["offset"] = [at + by for at in record["offset"]]


def double_release_of_confirmed(shop: Shop) -> None:
    """The hold of a confirmed order is released."""
    shop.carry_out(K.RELEASE, "apple", 3, order_id=1, line=1)


def home_line(shop: Shop, order_id: int) -> Rec:
    home = product_partition("plum", shop.partitions)
    return next(r for r in shop.all("OrderLine") if r.value["order_id"] == order_id and r.partition == home)


def stray_command(shop: Shop) -> Rec:
    home = product_partition("fig", shop.partitions)
    return next(r for r in shop.all("StockCommands") if r.value["command_id"] == ["stray"] and r.partition != home)


def home_cancel(shop: Shop) -> Rec:
    home = order_partition(1, shop.partitions)
    return next(r for r in shop.all("OrderCommand") if r.value["command_id"] == "stray-cancel" and r.partition == home)


def foreign(shop: Shop) -> bytes:
    rec = shop.all("StockLevel")[0]
    return encode("StockLevel", rec.value)


# -- journals and positions ------------------------------------------------------------------------------------------------


def promise_line(contents: StoreContents, order_id: str, line: int, product_id: str, quantity: int) -> None:
    """A client was told that the brokers hold a line."""
    contents.journal += [{"send": {"order_id": order_id, "lines": [[line, product_id, quantity]]}}, {"ack": {"order_id": order_id, "lines": [line]}}]


def promise_command(contents: StoreContents, kind: str, **about: str) -> None:
    """A client was told that the brokers hold a command."""
    contents.journal += [{"send": {"command_id": "lost", "kind": kind, **about}}, {"ack": {"command_id": "lost"}}]


def resend(contents: StoreContents, order_id: str, lines: list[list[Any]]) -> None:
    """A client wrote down other lines of an order than are there."""
    contents.entry("send", order_id=order_id)["send"]["lines"] = lines


def unwrite(contents: StoreContents, **fields: str) -> None:
    """Nobody wrote down to have sent it."""
    contents.journal = [entry for entry in contents.journal if any(entry.get("send", {}).get(name) != value for name, value in fields.items())]


def forget_order(shop: Shop, order_id: int) -> None:
    """A line that was refused is gone with all that followed from it, as if brokers had lost it."""
    without(shop, "OrderLine", order_id=order_id)
    without(shop, "OrderOutcome", order_id=order_id)
    without(shop, "OrderRow", order_id=order_id)
    drop(held(shop, order_id))


def move_position(contents: StoreContents, sink: str, by: int) -> None:
    """A sink stands elsewhere in one partition."""
    place = next(place for place, position in contents.positions[sink].items() if position)
    contents.positions[sink][place] += by
