"""Records that nobody can take, for every topic: what each is, its bytes, and the reason its dead letter has to give.

A poison record names orders and products of nobody, so that it can be sent into a running shop.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from random import Random
from typing import Any, Final

import fastavro

from schemas import codec
from schemas.outcomes import MAX_QUANTITY, StockCommandKind
from schemas.topics import (
    DEAD_LETTERS,
    ORDER_COMMANDS,
    ORDER_OUTCOMES,
    ORDERS,
    PAYMENT_REQUESTS,
    PAYMENT_RESULTS,
    STOCK_COMMANDS,
    STOCK_DECISIONS,
    STOCK_LEVELS,
    Topic,
)
from tests.support.examples import example, plain

TOPICS: Final = (ORDERS, STOCK_COMMANDS, ORDER_COMMANDS, STOCK_DECISIONS, PAYMENT_REQUESTS, PAYMENT_RESULTS, ORDER_OUTCOMES, STOCK_LEVELS, DEAD_LETTERS)
"""Every topic but the changelogs, which only their own tasks read."""
BETWEEN_STAGES: Final = (STOCK_DECISIONS, PAYMENT_REQUESTS, PAYMENT_RESULTS)
HUGE: Final = 8 * 1024 * 1024
MANY: Final = 100_000
_YEAR_9999: Final = 253_370_764_800_000
_NAMELESS: Final = 5_000_000_000_000_000_000
"""Order IDs of nobody begin here."""


@dataclass(frozen=True)
class Poison:
    """One record. `reason`: of its dead letter; empty where there is to be none. `timestamp` in ms, 0: now."""

    what: str
    topic: Topic
    value: bytes | None
    reason: str
    key: bytes = b"poison"
    headers: tuple[tuple[str, bytes], ...] = ()
    timestamp: int = 0

    def __str__(self) -> str:
        return f"{self.topic.name}: {self.what}"


def poisons(random: Random) -> list[Poison]:
    """Return all there are; chance decides about bytes and numbers only."""
    return [poison for topic in TOPICS for make in (_bytes, _odd_envelopes, _columns, _values) for poison in make(topic, random)]


# -- bytes -----------------------------------------------------------------------------------------------------------------


def _bytes(topic: Topic, random: Random) -> Iterator[Poison]:
    """What is no record at all, of any topic."""
    for name in topic.records:
        whole = codec.encode(name, example(name))
        cut = random.randrange(codec.HEADER_BYTES, len(whole))
        yield Poison(f"a {name} cut short", topic, whole[:cut], "UNDECODABLE")
        yield Poison(f"a {name} and bytes left over", topic, whole + b"\x01", "UNDECODABLE")
        yield Poison(f"the ID of a {name}, then random bytes", topic, whole[: codec.HEADER_BYTES] + b"\xff" * 9 + random.randbytes(40), "UNDECODABLE")
    yield Poison("an empty value", topic, b"", "NOT_CONFLUENT")
    yield Poison("a tombstone", topic, None, "NOT_CONFLUENT")
    yield Poison("random bytes", topic, b"\x07" + random.randbytes(200), "NOT_CONFLUENT")
    yield Poison("text", topic, b'{"order_id": 1, "line": 1}', "NOT_CONFLUENT")
    yield Poison("an unknown schema ID", topic, codec.MAGIC + random.randrange(10**6, 2**32).to_bytes(4, "big") + b"body", "UNKNOWN_SCHEMA")
    other = random.choice([name for name in codec.schema_ids() if name not in topic.records])
    yield Poison(f"a {other}", topic, codec.encode(other, example(other)), "WRONG_RECORD")


def _odd_envelopes(topic: Topic, random: Random) -> Iterator[Poison]:
    """Garbage in a record with a key, headers, a timestamp or a size that nobody expects."""
    garbage = b"\x07" + random.randbytes(20)
    reason = "NOT_CONFLUENT"
    yield Poison("a huge key", topic, garbage, reason, key=b"k" * 900_000)
    yield Poison("a key that is no text", topic, garbage, reason, key=b"\xff\x00\xfe" + random.randbytes(9))
    yield Poison("headers of garbage", topic, garbage, reason, headers=(("", b""), ("h" * 1_000, random.randbytes(1_000)), ("traceparent", b"\xff")))
    yield Poison("a timestamp of 1970", topic, garbage, reason, timestamp=1)
    yield Poison("a timestamp of 9999", topic, garbage, reason, timestamp=_YEAR_9999)
    yield Poison("8 MiB", topic, b"\x07" * HUGE, reason)


# -- columns ---------------------------------------------------------------------------------------------------------------


def _columns(topic: Topic, random: Random) -> Iterator[Poison]:
    for name in sorted(codec.COLUMNAR.intersection(topic.records)):
        columns = [field for field, value in example(name).items() if isinstance(value, list | bytes)]
        unequal = _resized(name, dict.fromkeys(columns, 2) | {random.choice(columns): 3})
        yield Poison(f"a {name} of unequal columns", topic, codec.encode(name, unequal), "UNEQUAL_COLUMNS")
        yield Poison(f"a {name} of {MANY} items", topic, codec.encode(name, _resized(name, dict.fromkeys(columns, MANY))), "TOO_MANY_ITEMS")


def _resized(name: str, lengths: Mapping[str, int]) -> dict[str, Any]:
    """Return a record's example with columns of these lengths."""
    whole = example(name)
    return {field: value[:1] * lengths.get(field, 0) if isinstance(value, list | bytes) else value for field, value in whole.items()}


def empty(topic: Topic) -> list[bytes]:
    """Return columnar records of no items: they ask for nothing, and nothing is to come of them."""
    return [codec.encode(name, _resized(name, {})) for name in topic.records if name in codec.COLUMNAR]


# -- values ----------------------------------------------------------------------------------------------------------------


def _values(topic: Topic, random: Random) -> Iterator[Poison]:
    """Records that decode, or nearly, and say what nobody can mean."""
    order_id = _NAMELESS + random.randrange(10**15)
    if topic is ORDERS:
        yield from _lines(order_id)
    elif topic is STOCK_COMMANDS:
        yield from _stock_commands(order_id)
    elif topic is ORDER_COMMANDS:
        yield from _order_commands(order_id)
    elif topic in BETWEEN_STAGES:
        yield from _between_stages(topic, order_id)


def _lines(order_id: int) -> Iterator[Poison]:
    good = {**example("OrderLine"), "line": 1, "line_count": 1, "product_id": f"poison-{order_id}", "quantity": 1, "unit_price": 1}
    odd: dict[str, tuple[dict[str, Any], str]] = {
        "no order ID": ({"order_id": 0}, "INVALID_ORDER_ID"),
        "a negative order ID": ({"order_id": -(2**63)}, "INVALID_ORDER_ID"),
        "a product of no name": ({"product_id": ""}, "INVALID_PRODUCT"),
        "a product of a million letters": ({"product_id": "P" * 10**6}, "INVALID_PRODUCT"),
        "the positions' key as product": ({"product_id": "\0positions"}, "INVALID_PRODUCT"),
        "no user": ({"user_id": ""}, "INVALID_USER"),
        "a line out of range": ({"line": -(2**31)}, "INVALID_LINE"),
        "more lines than an order may have": ({"line_count": 2**31 - 1}, "INVALID_LINE"),
        "a huge quantity": ({"quantity": 2**63 - 1}, "INVALID_QUANTITY"),
        "a negative quantity": ({"quantity": -1}, "INVALID_QUANTITY"),
        "a huge price": ({"unit_price": 2**63 - 1}, "INVALID_PRICE"),
        "a currency of nowhere": ({"currency": "\N{PILE OF POO}" * 100}, "UNKNOWN_CURRENCY"),
        "a token too long": ({"payment_token": "t" * 100_000}, "INVALID_TOKEN"),
        "a time of the year 9999": ({"placed_at": _YEAR_9999}, "INVALID_TIME"),
    }
    for number, (what, (change, reason)) in enumerate(odd.items()):
        yield Poison(what, ORDERS, codec.encode("OrderLine", {**good, "order_id": order_id + number, **change}), reason)
    good["order_id"] = order_id + len(odd)
    yield Poison("a product that is no UTF-8", ORDERS, codec.encode("OrderLine", good).replace(b"poison", b"\xff\xfe\x80\x80\xc3\x28"), "UNDECODABLE")
    yield Poison("a line count of 40 bits", ORDERS, _encoded("OrderLine", {**good, "line_count": 2**40}, wide=True), "UNDECODABLE")


def _stock_commands(order_id: int) -> Iterator[Poison]:
    good = {**example("StockCommand"), "kind": "RESTOCK", "product_id": f"poison-{order_id}", "command_id": "poison", "quantity": 1, "as_of": 0}
    odd: dict[str, dict[str, Any]] = {
        "a restock of less than nothing": {"quantity": -5},
        "a restock of too much": {"quantity": MAX_QUANTITY + 1},
        "a restock of more than any number": {"quantity": 2**63 - 1},
        "a command of no ID": {"command_id": ""},
        "a command ID of a million letters": {"command_id": "c" * 10**6},
        "a command for no product": {"product_id": ""},
        "a count of no time": {"kind": "COUNT"},
        "a count in the year 9999": {"kind": "COUNT", "as_of": _YEAR_9999},
    }
    for what, change in odd.items():
        yield Poison(what, STOCK_COMMANDS, codec.encode("StockCommand", {**good, **change}), "INVALID_COMMAND")
    yield Poison("a kind of command that is none", STOCK_COMMANDS, _with_symbol("StockCommand", good, "RESTOCK", 99), "UNDECODABLE")
    item = {"command_id": "", "order_id": order_id, "line": 1, "product_id": f"poison-{order_id}", "quantity": 7, "as_of": 0}
    for kind in (99, 255, int(StockCommandKind.RELEASE), int(StockCommandKind.SHIP), int(StockCommandKind.RETURN)):
        whole = {**{name: [value] for name, value in item.items()}, "kind": bytes((kind,)), "issued_at": 0, "actor": "poison"}
        yield Poison(f"kind {kind} of a product nobody ordered", STOCK_COMMANDS, codec.encode("StockCommands", whole), "INVALID_COMMAND")


def _order_commands(order_id: int) -> Iterator[Poison]:
    good = {**example("OrderCommand"), "order_id": order_id, "command_id": "poison", "line": 0, "quantity": 0}
    odd: dict[str, dict[str, Any]] = {
        "no order ID": {"order_id": 0},
        "a negative order ID": {"order_id": -(2**63)},
        "a negative line": {"kind": "SHIP", "line": -1},
        "a negative quantity": {"kind": "RETURN", "line": 1, "quantity": -(2**63)},
        "a command of no ID": {"command_id": ""},
        "a command ID of a million letters": {"command_id": "c" * 10**6},
        "a cancel of one line": {"kind": "CANCEL", "line": 3},
    }
    for what, change in odd.items():
        yield Poison(what, ORDER_COMMANDS, codec.encode("OrderCommand", {**good, **change}), "INVALID_COMMAND")
    yield Poison("a kind of command that is none", ORDER_COMMANDS, _with_symbol("OrderCommand", {**good, "kind": "SHIP"}, "SHIP", 3), "UNDECODABLE")
    whole = {**{name: [good[name]] for name in ("command_id", "order_id", "line", "quantity")}, "kind": b"\x63", "issued_at": 0, "actor": "poison"}
    yield Poison("a code of command that is none", ORDER_COMMANDS, codec.encode("OrderCommands", whole), "INVALID_COMMAND")


def _between_stages(topic: Topic, order_id: int) -> Iterator[Poison]:
    """Values that no stage writes: an unknown code, a number below or beyond all sense."""
    for name in topic.records:
        one = {field: value[:1] if isinstance(value, list | bytes) else value for field, value in example(name).items()}
        one["order_id"] = [order_id]
        for field, value in one.items():
            if isinstance(value, bytes):
                yield Poison(f"a {name} of an unknown {field}", topic, codec.encode(name, {**one, field: b"\xc8"}), "FOREIGN_RECORD")
        # An operator's command, and so the answer to it, may say anything of an order.
        impossible = ("quantity",) if name == "StockMovements" else ("quantity", "amount", "order_id", "line", "attempt")
        for field in (field for field in impossible if field in one):
            yield Poison(f"a {name} of a negative {field}", topic, codec.encode(name, {**one, field: [-5]}), "FOREIGN_RECORD")


def _with_symbol(name: str, value: Mapping[str, Any], symbol: str, code: int) -> bytes:
    """Encode a record whose one enum has a code beyond its symbols."""
    index = next(f["type"]["symbols"] for f in json.loads(codec.schema_text(name))["fields"] if f["name"] == "kind").index(symbol)
    text = value["command_id"].encode()
    before = bytes((2 * len(text),)) + text
    whole = codec.encode(name, value)
    return whole.replace(before + bytes((2 * index,)), before + bytes((2 * code & 0x7F | 0x80, 2 * code >> 7)) if code > 63 else before + bytes((2 * code,)), 1)


def _encoded(name: str, value: Mapping[str, Any], *, wide: bool) -> bytes:
    """Encode a record, with its ints as longs where `wide`."""
    body = io.BytesIO()
    fastavro.schemaless_writer(body, _wide(name) if wide else json.loads(codec.schema_text(name)), dict(value))
    return codec.encode(name, example(name))[: codec.HEADER_BYTES] + body.getvalue()


@lru_cache
def _wide(name: str) -> Any:
    return fastavro.parse_schema(json.loads(json.dumps(plain(json.loads(codec.schema_text(name)))).replace('"int"', '"long"')))
