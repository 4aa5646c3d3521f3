"""A correct run of the shop in `history`, with every kind of ending and of bad input."""

from __future__ import annotations

from schemas import topics
from schemas.outcomes import OrderCommandKind, OrderStatus, Refusal
from schemas.outcomes import StockCommandKind as K
from schemas.partitions import order_partition, product_partition
from tests.support.history import Shop
from tests.support.history_records import lines_of


def correct_shop(prefix: str = "", partitions: int = 4) -> Shop:
    """A run with every kind of ending. Orders by ID:

    1 confirmed, two lines; 2 rejected for stock; 3 declined; 4 cancelled; 5 expired, paid late; 6 shipped; 7 shipped and
    partly returned; 8 returned whole; 9 confirmed, a duplicate line; 10 costs nothing; 11 rejected as invalid; 12 another
    order under one ID; 13 arrived on the wrong partition; 14 rejected, product frozen; 15 a service, shipped; 16 partly
    shipped; 17 rejected, a line answered late; 18 a service, cancelled; 31 to 33 decided by another system.
    """
    shop = Shop(partitions, prefix)
    _stock_up(shop)
    _end_in_every_way(shop)
    _ship_and_return(shop)
    _meet_bad_input(shop)
    _correct_stock(shop)
    _take_over(shop)
    shop.note_positions()
    return shop


def _take_over(shop: Shop) -> None:
    """Orders that another system has decided; one is impossible, one comes twice, one has the ID of an order of ours."""
    shop.take_over(31, "SHIPPED", ("apple", 1, 250, "SHIPPED"), ("gone", 2, 10, "RETURNED"), refunded=20)
    shop.take_over(32, "CANCELLED", ("apple", 1, 250, "RELEASED"), charged=0, refusal=Refusal.CANCELLED_ON_REQUEST.name)
    rec = shop.take_over(33, "CONFIRMED", ("plum", 1, 70, "HELD"))
    shop.write(rec.topic, rec.partition, rec.name, dict(rec.value), rec.key)
    shop.refuse(OrderCommandKind.SHIP, 33, "ship-33", Refusal.IMPORTED_ORDER)
    ours = shop.write(rec.topic, order_partition(1, shop.partitions), rec.name, {**rec.value, "order_id": 1}, b"1")
    shop.dead_letter(ours, 0, "CONFLICTING_ORDER", "orders")
    shop.dead_letter(
        shop.write(rec.topic, order_partition(34, shop.partitions), rec.name, {**rec.value, "order_id": 34, "lines": []}, b"34"), 0, "INVALID_COMMAND", "orders"
    )
    away = (order_partition(33, shop.partitions) + 1) % shop.partitions
    shop.write(rec.topic, away, rec.name, dict(rec.value), rec.key)


def _stock_up(shop: Shop) -> None:
    for product in ("apple", "pear", "plum", "fig"):
        shop.carry_out(K.RESTOCK, product, 100, command_id=f"receipt-{product}")
    shop.command(K.RESTOCK, "apple", 100, command_id="receipt-apple")  # a repeat: not answered
    shop.carry_out(K.UNTRACK, "postage", command_id="service")
    shop.carry_out(K.RESTOCK, "ice", 10, command_id="receipt-ice")
    shop.carry_out(K.FREEZE, "ice", command_id="recall")


def _end_in_every_way(shop: Shop) -> None:
    shop.place(1, ("apple", 3, 250), ("pear", 2, 100))
    shop.pay(1)
    shop.place(2, ("apple", 1, 250), ("plum", 1_000, 50), user="u2")
    shop.place(3, ("pear", 5, 100), user="u2", token="decline")
    shop.pay(3, declined=True)
    shop.place(4, ("plum", 4, 70))
    shop.cancel(4)
    shop.refuse(OrderCommandKind.CANCEL, 4, "cancel-again", Refusal.ALREADY_DECIDED)
    shop.place(5, ("plum", 6, 70), user="u3")
    asked = shop.charge(5)
    shop.end(5, OrderStatus.EXPIRED, Refusal.DEADLINE_PASSED)
    shop.pay_late(5, asked)
    shop.place(10, ("fig", 1, 0))
    shop.pay(10)
    shop.place(14, ("ice", 1, 10))
    late = shop.send(*shop.lines(17, ("plum", 1, 70), ("fig", 5_000, 10)))
    for rec in reversed(late):
        shop.answer(rec)
    shop.place(18, ("postage", 1, 300))
    shop.cancel(18)


def _ship_and_return(shop: Shop) -> None:
    for order_id, asked in {6: [("apple", 1, 250)], 7: [("apple", 4, 250), ("fig", 2, 30)], 8: [("pear", 2, 100)]}.items():
        shop.place(order_id, *asked)
        shop.pay(order_id)
        shop.ship(order_id, f"ship-{order_id}")
    shop.order_command(OrderCommandKind.SHIP, 6, "ship-6")  # a repeat: not answered
    shop.give_back(7, "return-7a", 1, 1)
    shop.give_back(7, "return-7b", 1, 2)
    shop.give_back(8, "return-8", 1, 2)
    shop.refuse(OrderCommandKind.RETURN, 8, "return-8-again", Refusal.RETURN_EXCEEDS_SHIPPED, line=1, quantity=1)
    shop.refuse(OrderCommandKind.RETURN, 404, "return-404", Refusal.UNKNOWN_ORDER)
    shop.place(15, ("postage", 1, 300), ("apple", 1, 250))
    shop.pay(15)
    shop.ship(15, "ship-15")
    shop.place(16, ("apple", 2, 250), ("pear", 1, 100))
    shop.pay(16)
    shop.ship(16, "ship-16", line=2)


def _meet_bad_input(shop: Shop) -> None:
    sent = shop.place(9, ("fig", 2, 30))
    shop.pay(9)
    for rec in shop.send(*lines_of(sent[0])):  # the producer sent it twice
        shop.answer(rec)
    bad = shop.lines(11, ("fig", -5, 30))[0]
    rec = shop.send(bad)[0]
    shop.dead_letter(rec, 0, "INVALID_QUANTITY")
    rec.value["refusal"] = Refusal.INVALID_QUANTITY
    shop.answer(rec)
    del rec.value["refusal"]
    shop.place(12, ("pear", 1, 100), user="u4")
    shop.pay(12)
    shop.place(12, ("pear", 9, 100), user="u5")
    stray = shop.lines(13, ("plum", 2, 70))
    away = (product_partition("plum", shop.partitions) + 1) % shop.partitions
    shop.send(*stray, partition=away)
    shop.answer(shop.send(*stray)[0])
    shop.pay(13)
    garbage = shop.write(topics.ORDERS, 0, None, b"garbage")
    shop.dead_letter(garbage, -1, "NOT_CONFLUENT")
    nobody = {**shop.lines(1, ("fig", 1, 30))[0], "order_id": 0}
    shop.dead_letter(shop.send(nobody)[0], 0, "INVALID_ORDER_ID")
    impossible = shop.command(K.RESTOCK, "fig", -1, command_id="impossible")
    shop.dead_letter(impossible, 0, "INVALID_COMMAND")
    away = (product_partition("fig", shop.partitions) + 1) % shop.partitions
    shop.command(K.FOUND, "fig", 1, command_id="stray", partition=away)
    shop.carry_out(K.FOUND, "fig", 1, command_id="stray")
    away = (order_partition(1, shop.partitions) + 1) % shop.partitions
    shop.order_command(OrderCommandKind.CANCEL, 1, "stray-cancel", partition=away)
    shop.refuse(OrderCommandKind.CANCEL, 1, "stray-cancel", Refusal.ALREADY_DECIDED)
    shop.dead_letter(shop.order_command(OrderCommandKind.SHIP, 1, "", line=-1), 0, "INVALID_COMMAND", "orders")


def _correct_stock(shop: Shop) -> None:
    shop.carry_out(K.WRITE_OFF, "pear", 3, command_id="broken")
    shop.carry_out(K.WRITE_OFF, "pear", 10_000, Refusal.INSUFFICIENT_STOCK, command_id="too-many")
    shop.carry_out(K.TRACK, "plum", 0, Refusal.ALREADY_DECIDED, command_id="track-plum")
    apple = shop.products["apple"].numbers
    shop.carry_out(K.COUNT, "apple", apple["available"] + apple["reserved"] - 2, command_id="count-1", as_of=shop.now, by=-2)
    shop.carry_out(K.COUNT, "apple", 5, Refusal.COUNT_TOO_OLD, command_id="count-2", as_of=1)
