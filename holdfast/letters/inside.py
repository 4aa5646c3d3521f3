"""What the bytes of a dead letter say, decoded as far as they go. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from schemas import codec
from schemas.outcomes import OrderCommandKind, StockCommandKind
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS, Topic

Item = dict[str, Any]
"""The fields of one order line or command, as the single record's schema names them."""

SINGLE: Final = {
    **{"OrderLine": "OrderLine", "OrderLines": "OrderLine"},
    **{"StockCommand": "StockCommand", "StockCommands": "StockCommand"},
    **{"OrderCommand": "OrderCommand", "OrderCommands": "OrderCommand"},
}
"""Records that anybody may send -> the record that says one item of them."""
TOPIC_OF: Final[Mapping[str, Topic]] = {"OrderLine": ORDERS, "StockCommand": STOCK_COMMANDS, "OrderCommand": ORDER_COMMANDS}
_KINDS: Final = {"StockCommand": StockCommandKind, "OrderCommand": OrderCommandKind}
MOST_TEXT: Final = 4_000


class Inside(NamedTuple):
    """What was found. `record`: its name, by its schema ID or, for JSON, by its fields; `single`: what one item of it is sent as.

    `items`: the order lines or commands in it; `fields`: of any other record, or of one that breaks off. `broke`: where and why
    the bytes stop making sense; "" where they do not. `text`: the bytes, where they are text of no record.
    """

    record: str | None = None
    single: str | None = None
    items: tuple[Item, ...] = ()
    fields: Mapping[str, Any] | None = None
    broke: str = ""
    text: str | None = None


def look_into(value: bytes) -> Inside:
    """Decode a dead letter's bytes."""
    try:
        part = codec.decode_part(value)
    except codec.UndecodableError as error:
        return _text(value, error.detail)
    single = SINGLE.get(part.name)
    if single is None:
        return Inside(part.name, None, (), part.value, part.broke)
    if part.name in codec.COLUMNAR:
        return _columns(part, single)
    broke = part.broke or _refused(value)
    return Inside(part.name, single, (part.value,), part.value if broke else None, broke)


def _refused(value: bytes) -> str:
    """Return why the codec does not take bytes that can be read to their end."""
    try:
        codec.decode(value)
    except codec.UndecodableError as error:
        return error.detail
    return ""


def _columns(part: codec.Part, single: str) -> Inside:
    columns = {name: values for name, values in part.value.items() if isinstance(values, list | bytes)}
    sizes = {name: len(values) for name, values in columns.items()}
    if part.broke or len(set(sizes.values())) != 1:
        return Inside(part.name, single, (), part.value, part.broke or f"columns of different lengths: {sizes}")
    rest = {name: value for name, value in part.value.items() if name not in columns}
    rows = (dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True))
    return Inside(part.name, single, tuple(_as_single(single, {**row, **rest}) for row in rows))


def _as_single(single: str, row: Item) -> Item:
    kinds = _KINDS.get(single)
    kind: Any = row.get("kind")
    if kinds is not None and kind in tuple(kinds):
        kind = kinds(kind).name
    return {name: kind if name == "kind" else row.get(name, default) for name, default in _defaults(single).items()}


@lru_cache
def fields_of(single: str) -> dict[str, Any]:
    """Return field name -> Avro type of a record, logical types left out."""
    schema = json.loads(codec.schema_text(single))
    return {field["name"]: _plain(field["type"]) for field in schema["fields"]}


def _plain(kind: Any) -> Any:
    return kind["type"] if isinstance(kind, dict) and "logicalType" in kind else kind


@lru_cache
def _defaults(single: str) -> dict[str, Any]:
    return {field["name"]: field.get("default") for field in json.loads(codec.schema_text(single))["fields"]}


def required(single: str) -> set[str]:
    """Return the fields that a record cannot be without."""
    return {field["name"] for field in json.loads(codec.schema_text(single))["fields"] if "default" not in field}


def completed(single: str, item: Item) -> Item:
    """Return an item with the defaults of the fields that it lacks and may lack."""
    defaults = _defaults(single)
    return {**{name: defaults[name] for name in defaults if name not in required(single)}, **item}


def _text(value: bytes, why: str) -> Inside:
    """Bytes without a schema ID: a producer that sends JSON is the usual case."""
    try:
        text = value.decode()
    except UnicodeDecodeError:
        return Inside(broke=why)
    if not text or not all(c.isprintable() or c in "\r\n\t" for c in text):
        return Inside(broke=why)
    found = _json_items(text)
    single = next((name for name in TOPIC_OF if found and all(is_item(name, item) for item in found)), None)
    return Inside(single, single, tuple(found) if single else (), None, why, text[:MOST_TEXT])


def _json_items(text: str) -> Sequence[Item]:
    try:
        said = json.loads(text)
    except (ValueError, RecursionError):
        return []
    items = said if isinstance(said, list) else [said]
    return items if all(isinstance(item, dict) for item in items) else []


def is_item(single: str, item: Mapping[str, Any]) -> bool:
    """Return whether a mapping has every field that a record needs, and none that it does not know."""
    return required(single) <= item.keys() <= fields_of(single).keys()


def readable(value: Any) -> Any:
    """Return decoded fields so that JSON can say them: bytes as hex."""
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, Mapping):
        return {name: readable(part) for name, part in value.items()}
    return [readable(part) for part in value] if isinstance(value, list | tuple) else value


def order_ids_of(items: Sequence[Item]) -> Iterator[int]:
    """Yield the orders that items name."""
    yield from (item["order_id"] for item in items if isinstance(item.get("order_id"), int))
