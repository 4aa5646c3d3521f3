"""MySQL and Redis as the audit read them: every row and hash of schemas/views.py, in columns. Times in ms."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from holdfast.audit.murmur import product_partition
from holdfast.audit.table import Place, Table
from schemas import views
from schemas.shards import shard_sink

TEXTS: Final = frozenset({"product_id", "user_id", "status", "refusal", "currency"})
LINE_FIELDS: Final = ("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned")
"""Of each line in a hash's `lines`."""
MYSQL: Final = {
    views.PRODUCTS: views.PRODUCT_COLUMNS,
    views.USERS: views.USER_COLUMNS,
    views.ORDERS: views.ORDER_COLUMNS,
    views.ORDER_LINES: views.ORDER_LINE_COLUMNS,
}
READ: Final = {**MYSQL, views.SINK_POSITIONS: ("sink", "topic", "partition_no", "position")}
"""All that is read of MySQL."""
POSITIONS: Final = views.position_key("", 0).removesuffix(":0")
"""How the keys of the Redis sink's positions begin."""
HASHES: Final = {"stock": views.PRODUCT_COLUMNS, "order": (*views.ORDER_COLUMNS, "lines")}
"""First part of the key -> fields of the hash."""


def new_table(name: str, columns: Sequence[str]) -> Table:
    """Make an empty table for rows of a store."""
    return Table(name, {column: "string" if column in TEXTS else "long" for column in columns}, {})


@dataclass
class Stores:
    """Both stores. `cache["order"]["lines"]` is a digest of the hash's lines, see `digest_of_lines`."""

    mysql: dict[str, Table] = field(default_factory=lambda: {name: new_table(f"mysql:{name}", columns) for name, columns in MYSQL.items()})
    cache: dict[str, Table] = field(default_factory=lambda: {name: new_table(f"redis:{name}", fields) for name, fields in HASHES.items()})
    malformed: list[tuple[Place, str]] = field(default_factory=list)
    """Hashes and positions that are none at all, and why."""
    positions: dict[tuple[str, str, int], int] = field(default_factory=dict)
    """(sink, topic with its prefix, partition) -> the next offset that the sink will read."""

    shards: int = 0
    """How many databases the order lines are spread over; 0: they are with everything else."""
    misplaced: list[tuple[int, int, int, int]] = field(default_factory=list)
    """(order ID, line, the shard that has its row, the shard that should)."""

    @property
    def sinks(self) -> tuple[str, ...]:
        """Who has positions: both sinks, and each shard by itself."""
        return ("mysql", "redis", *(shard_sink(number, self.shards) for number in range(self.shards)))

    def add_rows(self, table: str, rows: Sequence[Sequence[Any]], shard: int | None = None) -> None:
        """Take rows of a MySQL table, values in the order of its columns; `shard`: where order lines were found."""
        if table == views.ORDER_LINES and shard is not None:
            rows = [row for row in rows if self._is_in_place(row, shard)]
        if table == views.SINK_POSITIONS:
            self.positions.update({(sink, topic, partition): position for sink, topic, partition, position in rows})
        elif rows:
            columns = dict(zip(MYSQL[table], zip(*rows, strict=True), strict=True))
            self.mysql[table].add(0, len(self.mysql[table].offset), columns, len(rows))

    def _is_in_place(self, line: Sequence[Any], shard: int) -> bool:
        order_id, number, product = line[:3]
        wanted = product_partition(product, self.shards)
        if wanted != shard:
            self.misplaced.append((order_id, number, shard, wanted))
        return wanted == shard

    def add_hash(self, key: str, fields: Mapping[str, str] | None) -> None:
        """Take a Redis hash; None: the key holds something else."""
        kind, _, name = key.partition(":")
        try:
            values = _typed(HASHES[kind], fields)
            if str(values["product_id" if kind == "stock" else "order_id"]) != name:
                raise ValueError("key and hash name different things")
        except ValueError as error:
            self.malformed.append((Place(f"redis:{key}"), str(error)))
        else:
            self.cache[kind].add_one(0, len(self.cache[kind]), values)

    def add_position(self, key: str, value: str | None) -> None:
        """Take a position of the Redis sink; None: the key holds something else."""
        topic, _, partition = key.removeprefix(POSITIONS).rpartition(":")
        if value is not None and value.isdecimal() and partition.isdecimal():
            self.positions["redis", topic, int(partition)] = int(value)
        else:
            self.malformed.append((Place(f"redis:{key}"), f"no position: {value!r}"))


def _typed(names: Sequence[str], fields: Mapping[str, str] | None) -> dict[str, Any]:
    if fields is None:
        raise ValueError("not a hash")
    if set(fields) != set(names):
        raise ValueError(f"fields missing: {sorted(set(names) - set(fields))}, not known: {sorted(set(fields) - set(names))}")
    return {name: _value(name, fields[name]) for name in names}


def _value(name: str, text: str) -> str | int:
    if name == "lines":
        return digest_of_lines(_lines(text))
    return text if name in TEXTS else int(text)


def _lines(text: str) -> Iterable[Mapping[str, Any]]:
    try:
        return msgspec.json.decode(text, type=list[dict[str, Any]])
    except msgspec.MsgspecError as error:
        raise ValueError(f"lines: {error}") from error


def digest_of_lines(lines: Iterable[Mapping[str, Any]]) -> int:
    """Return 8 bytes that stand for an order's lines, whatever the order and spacing of their JSON."""
    canonical = [[line.get(name) for name in LINE_FIELDS] + sorted(set(line) - set(LINE_FIELDS)) for line in lines]
    return int.from_bytes(hashlib.blake2b(msgspec.json.encode(canonical), digest_size=8).digest(), "big", signed=True)
