"""Everything that the log says of one order, record by record. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from schemas import topics
from schemas.codec import COLUMNAR, Decoded
from schemas.outcomes import OrderCommandKind, PaymentKind, PaymentResult, Refusal, StockCommandKind
from schemas.topics import Topic

READ: Final = (
    topics.ORDERS,
    topics.STOCK_DECISIONS,
    topics.ORDER_COMMANDS,
    topics.PAYMENT_REQUESTS,
    topics.PAYMENT_RESULTS,
    topics.ORDER_OUTCOMES,
    topics.DEAD_LETTERS,
)
"""In the order in which one follows from the other, where their times are the same."""


class Place(NamedTuple):
    """Where a record stands, and when the brokers took it (ms)."""

    at: int
    topic: Topic
    partition: int
    offset: int


class Event(NamedTuple):
    """One thing said of the order. `item`: which of the record's; `detail`: what was said, by field."""

    place: Place
    item: int
    what: str
    actor: str
    detail: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        place = {"at": self.place.at, "topic": self.place.topic.name, "partition": self.place.partition, "offset": self.place.offset}
        return {**place, "item": self.item, "what": self.what, "actor": self.actor, "detail": dict(self.detail)}


def marks_of(order_id: int) -> tuple[bytes, ...]:
    """Return bytes of which a record that names the order has one: its ID as Avro writes it."""
    left, said = order_id << 1, bytearray()
    while left > 0x7F:
        said.append(left & 0x7F | 0x80)
        left >>= 7
    return (bytes((*said, left)),)


def events(order_id: int, place: Place, record: Decoded) -> Iterator[Event]:
    """Yield what a record says of an order."""
    say = _SAYERS.get(record.name)
    if say is None:
        return
    for index, item in _items(record):
        if item.get("order_id") == order_id:
            what, actor, names = say(item)
            yield Event(place, index, what, actor, {name: item[name] for name in names if name in item})


def _items(record: Decoded) -> Iterator[tuple[int, Mapping[str, Any]]]:
    if record.name not in COLUMNAR:
        yield 0, record.value
        return
    columns = {name: values for name, values in record.value.items() if isinstance(values, list | bytes)}
    rest = {name: value for name, value in record.value.items() if name not in columns}
    for index, row in enumerate(zip(*columns.values(), strict=True)):
        yield index, {**rest, **dict(zip(columns, row, strict=True))}


Said = tuple[str, str, tuple[str, ...]]
_LINE: Final = ("line", "line_count", "product_id", "quantity", "unit_price", "currency")


def _placed(item: Mapping[str, Any]) -> Said:
    return "line placed", item["user_id"], _LINE


def _answered(item: Mapping[str, Any]) -> Said:
    refusal = Refusal(item["refusal"])
    return f"line refused: {refusal.name}" if refusal else "line held", "stock", ("line", "product_id", "quantity", "available", "version")


def _moved(item: Mapping[str, Any]) -> Said:
    return f"units: {StockCommandKind(item['kind']).name}", item["actor"], ("line", "product_id", "quantity", "available", "version")


def _commanded(item: Mapping[str, Any]) -> Said:
    kind = item["kind"] if isinstance(item["kind"], str) else OrderCommandKind(item["kind"]).name
    return f"command: {kind}", item["actor"], ("command_id", "line", "quantity")


def _imported(item: Mapping[str, Any]) -> Said:
    return f"import: {item['status']}", item["actor"], ("source", "external_id", "refusal", "charged", "refunded", "placed_at", "lines")


def _asked(item: Mapping[str, Any]) -> Said:
    return f"{PaymentKind(item['kind']).name} asked", "orders", ("attempt", "sequence", "amount", "currency")


def _paid(item: Mapping[str, Any]) -> Said:
    return f"{PaymentKind(item['kind']).name}: {PaymentResult(item['result']).name}", "payments", ("attempt", "sequence", "amount", "currency", "reason")


def _outcome(item: Mapping[str, Any]) -> Said:
    return f"{item['change']}: {item['status']}", "orders", ("version", "refusal", "amount", "charged", "refunded", "lines")


def _refused(item: Mapping[str, Any]) -> Said:
    return f"command refused: {item['kind']}: {item['refusal']}", item["actor"], ("command_id", "line", "quantity")


def _dead(item: Mapping[str, Any]) -> Said:
    return f"dead letter: {item['reason']}", item["stage"], ("topic", "partition", "offset", "index", "detail")


_SAYERS: Final[Mapping[str, Callable[[Mapping[str, Any]], Said]]] = {
    "OrderLine": _placed,
    "OrderLines": _placed,
    "StockDecisions": _answered,
    "StockMovements": _moved,
    "OrderCommand": _commanded,
    "OrderCommands": _commanded,
    "ImportedOrder": _imported,
    "PaymentRequests": _asked,
    "PaymentResults": _paid,
    "OrderOutcome": _outcome,
    "OrderCommandRefused": _refused,
    "DeadLetter": _dead,
}
