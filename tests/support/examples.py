"""The examples of schemas/examples: one record per name, in Avro's JSON encoding (what kafka-avro-console-producer takes)."""

from __future__ import annotations

import io
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import fastavro

import schemas
from schemas.codec import schema_text

FOLDER = Path(schemas.__file__).parent / "examples"


def plain(schema: Any) -> Any:
    """Leave logical types out, so that times stay ms."""
    if isinstance(schema, dict):
        return {key: plain(value) for key, value in schema.items() if key != "logicalType"}
    return [plain(part) for part in schema] if isinstance(schema, list) else schema


@lru_cache
def example(name: str) -> dict[str, Any]:
    """Return the example of a record as the codec takes it. Shared: copy before changing it."""
    one_line = json.dumps(json.loads((FOLDER / f"{name}.json").read_text()))
    (value,) = fastavro.json_reader(io.StringIO(one_line), fastavro.parse_schema(plain(json.loads(schema_text(name)))))
    assert isinstance(value, dict)
    return value
