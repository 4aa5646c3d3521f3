"""Decodes records straight from `schemas/avro/*.avsc`: the audit's own, apart from the codec the pipeline uses."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro

import schemas
from schemas.outcomes import MAX_ITEMS

AVRO: Final = Path(schemas.__file__).parent / "avro"
HEADER_BYTES: Final = 5
"""0x00 and the schema ID, big-endian: the Confluent wire format."""

COLUMNAR: Final = frozenset({"OrderLines", "StockCommands", "OrderCommands", "StockDecisions", "StockMovements", "PaymentRequests", "PaymentResults"})


class UndecodableError(ValueError):
    """Bytes that are no record of ours; the text says why."""


class Schema(NamedTuple):
    """One version of a record: `written` is its schema, `read` the current one; `items` are its parallel columns, `ints` its fields of 32 bits."""

    name: str
    written: Any
    read: Any
    items: tuple[str, ...]
    ints: tuple[str, ...]


def fields_of(name: str) -> dict[str, Any]:
    """Return field name -> Avro type of a record's current schema, logical types left out."""
    schema = _plain(json.loads((AVRO / f"{name}.avsc").read_text()))
    return {field["name"]: field["type"] for field in schema["fields"]}


def items_of(name: str) -> tuple[str, ...]:
    """Return the parallel columns of a columnar record (arrays, and bytes of one code per item); () for any other."""
    if name not in COLUMNAR:
        return ()
    return tuple(field for field, kind in fields_of(name).items() if kind == "bytes" or isinstance(kind, dict))


def decode(data: bytes | None) -> tuple[str, dict[str, Any], int]:
    """Return (record name, fields, number of items) of one record; raises UndecodableError for anything else."""
    if not data or len(data) < HEADER_BYTES or data[0] != 0:
        raise UndecodableError("no 0x00 and schema ID in front")
    schema = _by_header().get(data[:HEADER_BYTES])
    if schema is None:
        raise UndecodableError(f"schema ID {int.from_bytes(data[1:HEADER_BYTES], 'big')} is not known")
    fields = _body(schema, data)
    sizes = {len(fields[column]) for column in schema.items} or {1}
    if len(sizes) != 1:
        raise UndecodableError(f"{schema.name} with columns of different lengths")
    size = sizes.pop()
    if size > MAX_ITEMS:
        raise UndecodableError(f"a {schema.name} of more than {MAX_ITEMS} items")
    return schema.name, fields, size


def _body(schema: Schema, data: bytes) -> dict[str, Any]:
    body = io.BytesIO(data)
    body.seek(HEADER_BYTES)
    try:
        fields: Any = fastavro.schemaless_reader(body, schema.written, None if schema.read is schema.written else schema.read)
    except Exception as error:  # fastavro raises a dozen kinds on garbage; each means the same here
        raise UndecodableError(f"not a {schema.name}: {error!r:.200}") from error
    if body.tell() != len(data):
        raise UndecodableError(f"bytes left over after a {schema.name}")
    if not all([_fits_int(fields[name]) for name in schema.ints]):
        raise UndecodableError(f"an int of more than 32 bits in a {schema.name}")
    return dict(fields)


def _fits_int(value: int | list[int]) -> bool:
    """Return whether an int, or each of a column, has 32 bits; the decoder takes longer ones, other readers do not."""
    if isinstance(value, int):
        return _LOWEST_INT <= value <= _HIGHEST_INT
    return not value or (min(value) >= _LOWEST_INT and max(value) <= _HIGHEST_INT)


_LOWEST_INT: Final = -(2**31)
_HIGHEST_INT: Final = 2**31 - 1


def ints_of(name: str) -> tuple[str, ...]:
    """Return the fields of a record that are ints or columns of ints."""
    return tuple(field for field, kind in fields_of(name).items() if kind in ("int", {"type": "array", "items": "int"}))


def _plain(schema: Any) -> Any:
    """Leave out logical types: times stay ms."""
    if isinstance(schema, dict):
        return {key: _plain(value) for key, value in schema.items() if key != "logicalType"}
    return [_plain(part) for part in schema] if isinstance(schema, list) else schema


def _parsed(path: Path) -> Any:
    return fastavro.parse_schema(_plain(json.loads(path.read_text())))


@lru_cache(maxsize=1)
def _by_header() -> dict[bytes, Schema]:
    ids: dict[str, list[int]] = json.loads((AVRO / "ids.json").read_text())
    return {b"\x00" + schema_id.to_bytes(4, "big"): schema for name, known in ids.items() for schema_id, schema in _versions(name, known).items()}


def _versions(name: str, ids: list[int]) -> dict[int, Schema]:
    """Return schema ID -> schema of a record, oldest first; the last ID is the one now written."""
    current, items, ints = _parsed(AVRO / f"{name}.avsc"), items_of(name), ints_of(name)
    earlier = {i: Schema(name, _parsed(AVRO / "earlier" / f"{name}.{i}.avsc"), current, items, ints) for i in ids[:-1]}
    return {**earlier, ids[-1]: Schema(name, current, current, items, ints)}
