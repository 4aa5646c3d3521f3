"""Avro in the Confluent wire format: 0x00, schema ID (4 bytes, big-endian), body.

Times are plain ms here (no datetime): the logical types are for other readers of the topics.
"""

from __future__ import annotations

import io
import json
from array import array
from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any, Final, NamedTuple

import fastavro

from schemas import compiled
from schemas.outcomes import MAX_ITEMS, DeadLetterReason

AVRO: Final = Path(__file__).parent / "avro"
MAGIC: Final = b"\x00"
HEADER_BYTES: Final = 5

_read = fastavro.schemaless_reader
_write = fastavro.schemaless_writer
_fast: ModuleType | None = compiled.load("schemas._avro", compiled.AVRO_VERSION)
"""Does the same in C wherever all is well; fastavro is asked about everything else, and everything where there is no compiler."""


class Decoded(NamedTuple):
    """A decoded record: the record's name and its fields; `size` is its number of items (1 unless columnar)."""

    name: str
    value: dict[str, Any]
    size: int


class UndecodableError(ValueError):
    """Bytes that are no record of ours. `reason` is the dead letter's; the message says what was found."""

    def __init__(self, reason: DeadLetterReason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.reason = reason
        self.detail = detail


class _Codec(NamedTuple):
    name: str
    schema: Any
    header: bytes
    columns: tuple[str, ...]
    ints: tuple[str, ...]
    int_columns: tuple[str, ...]
    reader_schema: Any
    """The current schema, for a record written with an earlier one; None where they are the same."""
    plan: Any
    """How the compiled part reads and writes it; None where it does not."""


def schema_text(name: str) -> str:
    """Return the current schema of a record as it stands in schemas/avro."""
    return (AVRO / f"{name}.avsc").read_text()


@lru_cache(maxsize=1)
def schema_ids() -> dict[str, list[int]]:
    """Return every record's pinned schema IDs, oldest version first; the last is the one written."""
    ids: dict[str, list[int]] = json.loads((AVRO / "ids.json").read_text())
    return ids


def _without_logical_types(schema: Any) -> Any:
    if isinstance(schema, dict):
        return {k: _without_logical_types(v) for k, v in schema.items() if k != "logicalType"}
    return [_without_logical_types(x) for x in schema] if isinstance(schema, list) else schema


def _column_names(schema: Mapping[str, Any], name: str) -> tuple[str, ...]:
    """Return the parallel columns of a columnar record: its arrays and code bytes; () for any other record."""
    if name not in COLUMNAR:
        return ()
    return tuple(f["name"] for f in schema["fields"] if f["type"] == "bytes" or isinstance(f["type"], dict))


COLUMNAR: Final = frozenset({"OrderLines", "StockCommands", "OrderCommands", "StockDecisions", "StockMovements", "PaymentRequests", "PaymentResults"})


def _names_of(schema: Mapping[str, Any], kind: Any) -> tuple[str, ...]:
    return tuple(f["name"] for f in schema["fields"] if f["type"] == kind)


def _codec(name: str, schema_id: int, text: str, reader_schema: Any = None) -> _Codec:
    schema = _without_logical_types(json.loads(text))
    read = reader_schema or schema
    ints, int_columns = _names_of(read, "int"), _names_of(read, {"type": "array", "items": "int"})
    header = MAGIC + schema_id.to_bytes(4, "big")
    plan = None if _fast is None or reader_schema else _fast.plan(schema)
    return _Codec(name, fastavro.parse_schema(schema), header, _column_names(schema, name), ints, int_columns, reader_schema, plan)


@lru_cache(maxsize=1)
def _by_name() -> dict[str, _Codec]:
    return {name: _codec(name, ids[-1], schema_text(name)) for name, ids in schema_ids().items()}


@lru_cache(maxsize=1)
def _by_header() -> dict[bytes, _Codec]:
    current = {c.header: c for c in _by_name().values()}
    earlier = {
        MAGIC + schema_id.to_bytes(4, "big"): _codec(name, schema_id, (AVRO / "earlier" / f"{name}.{schema_id}.avsc").read_text(), _by_name()[name].schema)
        for name, ids in schema_ids().items()
        for schema_id in ids[:-1]
    }
    return earlier | current


def encoder(name: str) -> Callable[[Mapping[str, Any]], bytes]:
    """Return a function that encodes records of one name; raises ValueError/TypeError on a field that does not fit."""
    codec = _by_name()[name]
    plain, plan, header = plain_encoder(codec), codec.plan, codec.header

    def encode_fast(value: Mapping[str, Any]) -> bytes:
        try:
            encoded: bytes = plan.encode(header, value)
        except Exception:  # fastavro says what does not fit, or that it does
            return plain(value)
        return encoded

    return plain if plan is None else encode_fast


def plain_encoder(codec: _Codec) -> Callable[[Mapping[str, Any]], bytes]:
    """Return the encoder that fastavro is."""
    schema, header = codec.schema, codec.header

    def encode_one(value: Mapping[str, Any]) -> bytes:
        body = io.BytesIO()
        body.write(header)
        _write(body, schema, value)
        return body.getvalue()

    return encode_one


def encode(name: str, value: Mapping[str, Any]) -> bytes:
    """Encode one record of the given name with its current schema."""
    return encoder(name)(value)


def head(name: str) -> bytes:
    """Return the bytes that a record of this name begins with, written with its current schema."""
    return _by_name()[name].header


def record_name(data: bytes | None) -> str:
    """Return the record's name from its schema ID alone, without decoding the body; raises UndecodableError."""
    return _codec_of(data).name


def decode(data: bytes | None) -> Decoded:
    """Decode one record by its schema ID; raises UndecodableError for anything that is not exactly one record of ours."""
    codec = _codec_of(data)
    assert data is not None
    value, end = _value_of(codec, data)
    if end != len(data):
        raise UndecodableError(DeadLetterReason.UNDECODABLE, f"{len(data) - end} bytes left over after a {codec.name}")
    return Decoded(codec.name, value, _size(codec, value) if codec.columns else 1)


def _value_of(codec: _Codec, data: bytes) -> tuple[Any, int]:
    """Return the record's fields, and where they end; raises UndecodableError."""
    if codec.plan is not None:
        try:
            found: tuple[Any, int] = codec.plan.decode(data, HEADER_BYTES)
        except Exception:  # not as it should be: what is wrong, if anything, fastavro says
            return _plain_value_of(codec, data)
        return found
    return _plain_value_of(codec, data)


def _plain_value_of(codec: _Codec, data: bytes) -> tuple[Any, int]:
    body = io.BytesIO(data)
    body.seek(HEADER_BYTES)
    try:
        value: Any = _read(body, codec.schema, codec.reader_schema)
        _check_ints(codec, value)
    except Exception as error:  # fastavro raises a dozen kinds on garbage; each means the same here
        raise UndecodableError(DeadLetterReason.UNDECODABLE, f"not a {codec.name}: {error!r:.200}") from error
    return value, body.tell()


class Part(NamedTuple):
    """What could be read of a record: its name, its fields up to where its bytes end to make sense, and where that was; "" if nowhere."""

    name: str
    value: dict[str, Any]
    broke: str


def decode_part(data: bytes | None) -> Part:
    """Decode as much of a record as its bytes allow, for people to look at; raises UndecodableError where not even its schema is known.

    The fields are those of the schema that it was written with; sizes and columns are not checked.
    """
    codec = _codec_of(data)
    assert data is not None
    body = io.BytesIO(data)
    body.seek(HEADER_BYTES)
    value: dict[str, Any] = {}
    for field in codec.schema["fields"]:
        at = body.tell()
        try:
            value[field["name"]] = _read(body, field["type"], None)
        except Exception as error:  # as in `decode`
            return Part(codec.name, value, f"field {field['name']!r} at byte {at} of {len(data)}: {error!r:.200}")
    left = len(data) - body.tell()
    return Part(codec.name, value, f"{left} bytes left over at byte {body.tell()} of {len(data)}" if left else "")


def _check_ints(codec: _Codec, value: Mapping[str, Any]) -> None:
    """Raise OverflowError for an int of more than 32 bits: fastavro lets it through, other readers and the stores' columns do not."""
    array("i", [value[name] for name in codec.ints])
    for name in codec.int_columns:
        array("i", value[name])


def _codec_of(data: bytes | None) -> _Codec:
    codec = _by_header().get(data[:HEADER_BYTES]) if data else None
    if codec is not None:
        return codec
    if not data or len(data) < HEADER_BYTES or data[:1] != MAGIC:
        raise UndecodableError(DeadLetterReason.NOT_CONFLUENT, f"{len(data or b'')} bytes that do not start with 0x00 and a schema ID")
    raise UndecodableError(DeadLetterReason.UNKNOWN_SCHEMA, f"schema ID {int.from_bytes(data[1:5], 'big')} is not known here")


def _size(codec: _Codec, value: dict[str, Any]) -> int:
    sizes = {len(value[c]) for c in codec.columns}
    if len(sizes) != 1:
        lengths = ", ".join(f"{c}={len(value[c])}" for c in codec.columns)
        raise UndecodableError(DeadLetterReason.UNEQUAL_COLUMNS, f"{codec.name} with columns of different lengths: {lengths}")
    size = sizes.pop()
    if size > MAX_ITEMS:
        raise UndecodableError(DeadLetterReason.TOO_MANY_ITEMS, f"a {codec.name} of {size} items; it may have {MAX_ITEMS}")
    return size
