"""What the Python peers share: what the bench tells them, the order and outcome records, the log of their commits.

Imports fastavro and the standard library alone: some peers run in a virtual environment of their own.
"""

from __future__ import annotations

import io
import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro

HEADER_BYTES: Final = 5
_AVRO: Final = Path(__file__).parents[2] / "schemas" / "avro"


def _plain(name: str) -> Any:
    """Return a schema without logical types: times stay numbers, which is quicker."""
    schema = json.loads((_AVRO / name).read_text())
    for field in schema["fields"]:
        if isinstance(field["type"], dict):
            field["type"].pop("logicalType", None)
    return fastavro.parse_schema(schema)


ORDER: Final = _plain("OrderLine.avsc")
OUTCOME: Final = fastavro.parse_schema(
    {
        "type": "record",
        "name": "Outcome",
        "fields": [
            {"name": "order_id", "type": "long"},
            {"name": "product_id", "type": "string"},
            {"name": "quantity", "type": "long"},
            {"name": "reserved", "type": "boolean"},
            {"name": "available", "type": "long"},
        ],
    }
)
_read = fastavro.schemaless_reader
_write = fastavro.schemaless_writer


def decode_order(value: bytes) -> dict[str, Any]:
    """Return the fields of an `OrderLine` in the Confluent wire format."""
    body = io.BytesIO(value)
    body.seek(HEADER_BYTES)
    order: dict[str, Any] = _read(body, ORDER, None)  # type: ignore[assignment]
    return order


def encode_outcome(order_id: int, product_id: str, quantity: int, reserved: bool, available: int) -> bytes:
    """Return an outcome's Avro body."""
    body = io.BytesIO()
    _write(body, OUTCOME, {"order_id": order_id, "product_id": product_id, "quantity": quantity, "reserved": reserved, "available": available})
    return body.getvalue()


def decode_outcome(value: bytes) -> dict[str, Any]:
    """Return the fields of an outcome."""
    outcome: dict[str, Any] = _read(io.BytesIO(value), OUTCOME, None)  # type: ignore[assignment]
    return outcome


class OrderLine(NamedTuple):
    """What a decision needs of an order line."""

    order_id: int
    product_id: str
    quantity: int


def order_line(value: bytes) -> OrderLine:
    order = decode_order(value)
    return OrderLine(order["order_id"], order["product_id"], order["quantity"])


@dataclass(frozen=True)
class Given:
    """What the bench tells a peer, in BENCH_* variables.

    `process` numbers the peer's processes; `hot` products have `hot_units` at first, the others `units`.
    """

    kafka: str
    input: str
    output: str
    changelog: str
    group: str
    partitions: int
    process: int
    orders: int
    hot: int
    hot_units: int
    units: int
    directory: Path
    commits: Path
    mysql: str
    redis: str

    @classmethod
    def from_environment(cls) -> Given:
        """Raises KeyError for a variable that is not set: `python -m bench` sets them."""
        text = {name: os.environ[f"BENCH_{name}"] for name in ("KAFKA", "INPUT", "OUTPUT", "CHANGELOG", "GROUP", "MYSQL", "REDIS")}
        numbers = {name: int(os.environ[f"BENCH_{name}"]) for name in ("PARTITIONS", "PROCESS", "ORDERS", "HOT", "HOT_UNITS", "UNITS")}
        paths = {"directory": Path(os.environ["BENCH_DIR"]), "commits": Path(os.environ["BENCH_DIR"]) / "commits"}
        return cls(**{name.lower(): value for name, value in (text | numbers).items()}, **paths)  # type: ignore[arg-type]

    def opening(self, product_id: str) -> int:
        """Return the units a product has before the first order."""
        return self.hot_units if int(product_id[1:]) < self.hot else self.units

    def consumer_settings(self) -> dict[str, Any]:
        """Return what a consumer of the orders needs that keeps its position elsewhere or commits it itself."""
        settings = {"bootstrap.servers": self.kafka, "group.id": self.group, "enable.auto.commit": False, "auto.offset.reset": "earliest"}
        return {**settings, "isolation.level": "read_committed", "queued.max.messages.kbytes": 65_536, "session.timeout.ms": 6_000}


class Commits:
    """Notes each commit of a program that keeps its results in a store of its own; several processes share the file."""

    def __init__(self, given: Given) -> None:
        self._out = given.commits.open("a", buffering=1)

    def note(self, orders: int) -> None:
        self._out.write(json.dumps({"at": time.monotonic(), "orders": orders}) + "\n")
