"""Records as the stages read them, and what they wrote, decoded item by item."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import count
from typing import Any

from schemas import codec
from schemas.partitions import order_partition, product_partition
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, ORDERS, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS, Topic
from streams.runtime.records import Place, Record, Stage, StageKind, Write
from streams.stages.stock import StockStage

PARTITIONS = 4
NOW = 1_700_000_000_000
PLACED = 1_291_191_960_000
Item = dict[str, Any]


def product_at(partition: int, which: int = 0, partitions: int = PARTITIONS) -> str:
    """Return a product ID that belongs on a partition: the `which`-th of them."""
    found = (f"P{n}" for n in count() if product_partition(f"P{n}", partitions) == partition)
    return next(product_id for number, product_id in enumerate(found) if number == which)


def order_at(partition: int, which: int = 0, partitions: int = PARTITIONS) -> int:
    """Return an order ID that belongs on a partition: the `which`-th of them."""
    found = (n for n in count(1) if order_partition(n, partitions) == partition)
    return next(order_id for number, order_id in enumerate(found) if number == which)


# -- what goes in ----------------------------------------------------------------------------------------------------------


def line(**fields: Any) -> Item:
    """Return an OrderLine: by default the only line of an order, for 2 units of a product of partition 0."""
    whole = {"order_id": order_at(0), "line": 1, "line_count": 1, "product_id": product_at(0), "quantity": 2, "unit_price": 100}
    return {**whole, "currency": "GBP", "user_id": "ann", "payment_token": "tok_ann", "placed_at": PLACED, **fields}


def columns(items: Sequence[Item]) -> dict[str, list[Any]]:
    """Turn items into columns."""
    return {name: [item[name] for item in items] for name in items[0]}


def stock_command(kind: str, quantity: int = 0, **fields: Any) -> Item:
    """Return a StockCommand of an operator."""
    whole = {"command_id": f"{kind}-{quantity}", "kind": kind, "product_id": product_at(0), "quantity": quantity, "as_of": 0}
    return {**whole, "issued_at": NOW, "actor": "test", "note": "", **fields}


def stock_commands(items: Sequence[Item], actor: str = "orders") -> Item:
    """Return a StockCommands record; an item names kind (a number), product_id, quantity and what differs from the orders agent's own."""
    default = {"command_id": "", "order_id": 1, "line": 1, "product_id": product_at(0), "quantity": 1, "as_of": 0}
    whole = columns([{**default, **item} for item in items])
    return {**whole, "kind": bytes(whole["kind"]), "issued_at": NOW, "actor": actor}


def order_command(kind: str, order_id: int, **fields: Any) -> Item:
    """Return an OrderCommand about a whole order."""
    return {"command_id": f"{kind}-{order_id}", "kind": kind, "order_id": order_id, "line": 0, "quantity": 0, "issued_at": NOW, "actor": "test", **fields}


def answers(*items: Item, partition: int = 0) -> Item:
    """Return a StockDecisions record: held lines, but for what an item says of `refusal`."""
    default = {"refusal": 0, "available": 5, "version": 1, "offset": 0, "index": 0}
    whole = columns([{**item, **{k: item.get(k, v) for k, v in default.items()}} for item in items])
    return {**whole, "refusal": bytes(whole["refusal"]), "partition": partition, "decided_at": NOW}


def results(*items: Item) -> Item:
    """Return a PaymentResults record: charges paid, but for what an item says."""
    default = {"kind": 0, "attempt": 1, "sequence": 0, "amount": 200, "currency": "GBP", "result": 0, "reason": ""}
    whole = columns([{**default, **item} for item in items])
    return {**whole, "kind": bytes(whole["kind"]), "result": bytes(whole["result"]), "answered_at": NOW}


def requests(*items: Item) -> Item:
    """Return a PaymentRequests record: first charges, but for what an item says."""
    default = {"kind": 0, "attempt": 1, "sequence": 0, "amount": 200, "currency": "GBP", "payment_token": "tok_ann", "user_id": "ann"}
    whole = columns([{**default, **item} for item in items])
    return {**whole, "kind": bytes(whole["kind"]), "requested_at": NOW}


INPUT = {
    **dict.fromkeys(("OrderLine", "OrderLines"), ORDERS),
    **dict.fromkeys(("StockCommand", "StockCommands"), STOCK_COMMANDS),
    **dict.fromkeys(("StockDecisions", "StockMovements"), STOCK_DECISIONS),
    **dict.fromkeys(("OrderCommand", "OrderCommands"), ORDER_COMMANDS),
    "PaymentRequests": PAYMENT_REQUESTS,
    "PaymentResults": PAYMENT_RESULTS,
}


def record(name: str, value: Item, offset: int = 0, partition: int = 0) -> Record:
    """Return a record as a stage reads it, on the topic where its kind belongs."""
    return raw(INPUT[name], codec.encode(name, value), offset, partition)


def raw(topic: Topic, value: bytes | None, offset: int = 0, partition: int = 0) -> Record:
    """Return any bytes as a record of a topic."""
    return Record(topic.name, partition, offset, b"key", value)


# -- what comes out --------------------------------------------------------------------------------------------------------


def said(writes: Iterable[Write], name: str) -> list[Item]:
    """Return every item of the records of one name, columnar ones taken apart; `to` is its partition."""
    decoded = ((write, codec.decode(write.value)) for write in writes if write.value is not None and codec.record_name(write.value) == name)
    return [{**item, "to": write.partition} for write, whole in decoded for item in _items(whole)]


def _items(whole: codec.Decoded) -> list[Item]:
    if whole.name not in codec.COLUMNAR:
        return [whole.value]
    parallel = {name: column for name, column in whole.value.items() if isinstance(column, list | bytes)}
    heads = {name: value for name, value in whole.value.items() if name not in parallel}
    return [{**heads, **dict(zip(parallel, values, strict=True))} for values in zip(*parallel.values(), strict=True)]


def dead(writes: Iterable[Write]) -> list[Item]:
    """Return the dead letters."""
    return said((write for write in writes if write.topic is DEAD_LETTERS), "DeadLetter")


# -- the changelog ---------------------------------------------------------------------------------------------------------


def changelog(writes: Iterable[Write], topic: Topic) -> dict[bytes, bytes]:
    """Fold a changelog's writes: the last value of each key, tombstones gone."""
    last = {write.key or b"": write.value for write in writes if write.topic is topic}
    return {key: value for key, value in last.items() if value is not None}


def restored(kind: StageKind, place: Place, writes: Iterable[Write]) -> Stage:
    """Return a new stage made from what an earlier one wrote to its changelog."""
    stage = kind.new(place)
    stage.restore(changelog(writes, kind.changelog))
    return stage


def rows_of(stage: Stage) -> dict[Any, Any]:
    """Return every row of a stage, also those not yet decoded since it was restored."""
    return {key: stage.rows.find(key) for key in list(stage.rows.keys_all())}


def stocked(units: int = 10) -> StockStage:
    """Return the stock stage of partition 0 with so many units of its first product."""
    stage = StockStage(Place(0, PARTITIONS))
    if units:
        stage.decide([record("StockCommand", stock_command("RESTOCK", units, command_id="opening"))], NOW)
    return stage
