"""Stored logs: every record of a small run and how its batches were taken, kept so that later versions of the code are shown to read them.

`python -m tests.support.stored_log` writes tests/data/logs/schemas-N.avro with the code as it is, N being the highest schema ID that it
writes. The file is an Avro container of a schema of its own, with the records' bytes as they were: it never changes with our schemas.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any, Final

import fastavro

from schemas import codec, topics
from schemas.partitions import product_partition
from streams.runtime.records import Record
from tests.flow.traffic import Traffic
from tests.support.examples import example
from tests.support.flow import Fate, Flow
from tests.support.memory_log import MemoryLog
from tests.support.replay import Step, Tape, new_flow, record
from tests.support.stages import columns

FOLDER: Final = Path(__file__).parents[1] / "data" / "logs"
SEED: Final = 7
ACTS: Final = 900
_REFERENCE: Final = {"type": "record", "name": "Reference", "fields": [{"name": "topic", "type": "string"}, {"name": "offset", "type": "long"}]}
_STORED: Final = {
    "type": "record",
    "name": "Stored",
    "doc": "One record of the log.",
    "fields": [
        *({"name": "topic", "type": "string"}, {"name": "partition", "type": "int"}, {"name": "offset", "type": "long"}),
        *({"name": "key", "type": ["null", "bytes"]}, {"name": "value", "type": ["null", "bytes"]}),
    ],
}
_TAKEN: Final = {
    "type": "record",
    "name": "Taken",
    "doc": "A batch that a task took: which task (its number), when (ms), the records of its partition; none: a timer's.",
    "fields": [{"name": "task", "type": "int"}, {"name": "now", "type": "long"}, {"name": "records", "type": {"type": "array", "items": _REFERENCE}}],
}


@dataclass
class StoredLog:
    """A log as it was, and the tape of the batches that made it."""

    log: MemoryLog
    tape: Tape

    def values(self) -> Iterator[bytes]:
        """Yield the value of every record that has one."""
        yield from (r.value for records in self.log.records.values() for r in records if r.value is not None)


def make() -> StoredLog:
    """Let a shop work for a while: orders, commands, trouble; every kind of record is in its log."""
    flow = new_flow(2, SEED)
    tape, _ = record(flow)
    traffic = Traffic(flow, SEED)
    traffic.open_shop()
    flow.run("stock")
    for _ in range(ACTS):
        traffic.act()
        for _ in range(flow.rng.randrange(4)):
            flow.step()
    traffic.finish()
    _in_columns(flow)
    flow.settle()
    flow.assert_clean()
    return StoredLog(flow.log, tape)


def _in_columns(flow: Flow) -> None:
    """What loaders write, and what operators say of a dead letter."""
    for product in ("A", "B"):
        command = {"kind": 0, "command_id": f"bulk-{product}", "order_id": 0, "line": 0, "product_id": product, "quantity": 5, "as_of": 0}
        value = {**columns([command]), "kind": b"\0", "issued_at": flow.now, "actor": "loader"}
        flow.log.append(topics.STOCK_COMMANDS, product_partition(product, flow.partitions), None, codec.encode("StockCommands", value))
    order = {"kind": 1, "command_id": "bulk", "order_id": 10**6, "line": 0, "quantity": 0}
    value = {**columns([order]), "kind": b"\1", "issued_at": flow.now, "actor": "loader"}
    flow.log.append(topics.ORDER_COMMANDS, 0, None, codec.encode("OrderCommands", value))
    flow.log.append(topics.DEAD_LETTERS, 0, b"orders", codec.encode("DeadLetterSettled", example("DeadLetterSettled")))


def copy(log: MemoryLog) -> MemoryLog:
    """Return a log that can be written on without the other's noticing."""
    other = MemoryLog(log.partitions)
    other.ends = log.ends.copy()
    other.records.update({at: list(records) for at, records in log.records.items()})
    return other


def as_first_written(stored: StoredLog) -> StoredLog:
    """Return a log in which every record is as the first version of its schema writes it; what that lacked is lost."""
    log = copy(stored.log)
    log.records.update({at: [r._replace(value=_as_first(r.value)) for r in records] for at, records in log.records.items()})
    steps = [step._replace(records=tuple((*fields[:4], _as_first(fields[4])) for fields in step.records)) for step in stored.tape.steps]
    return StoredLog(log, stored.tape._replace(steps=steps))


def _as_first(value: bytes | None) -> bytes | None:
    try:
        name, fields, _ = codec.decode(value)
    except codec.UndecodableError:
        return value
    first, *later = codec.schema_ids()[name]
    return _encode(codec._by_header()[codec.MAGIC + first.to_bytes(4, "big")], fields) if later else value


def _encode(version: Any, fields: dict[str, Any]) -> bytes:
    names = {field["name"] for field in version.schema["fields"]}
    stream = BytesIO()
    fastavro.schemaless_writer(stream, version.schema, {name: value for name, value in fields.items() if name in names})
    return bytes(version.header) + stream.getvalue()


def write(stored: StoredLog, path: Path) -> None:
    """Write a stored log."""
    ends = [[topic, partition, end] for (topic, partition), end in stored.log.ends.items()]
    about = {"holdfast.partitions": str(stored.log.partitions), "holdfast.ends": json.dumps(ends)}
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema([_STORED, _TAKEN]), _entries(stored), codec="xz", metadata=about, sync_interval=1 << 20)


def _entries(stored: StoredLog) -> Iterator[tuple[str, dict[str, Any]]]:
    for records in stored.log.records.values():
        yield from (("Stored", r._asdict()) for r in records)
    for step in stored.tape.steps:
        yield "Taken", {"task": step.task, "now": step.now, "records": [{"topic": fields[0], "offset": fields[2]} for fields in step.records]}


def read(path: Path) -> StoredLog:
    """Read a stored log."""
    with path.open("rb") as stored:
        reader = fastavro.reader(stored, return_record_name=True)
        entries: list[Any] = list(reader)
        about: Any = reader.metadata
    log = MemoryLog(int(about["holdfast.partitions"]))
    log.ends = Counter({(topic, partition): end for topic, partition, end in json.loads(about["holdfast.ends"])})
    for _, fields in (entry for entry in entries if entry[0] == "Stored"):
        log.records[fields["topic"], fields["partition"]].append(Record(**fields))
    at = {(r.topic, r.partition, r.offset): tuple(r) for records in log.records.values() for r in records}
    taken = [fields for name, fields in entries if name == "Taken"]
    steps = [
        Step(x["task"], tuple(at[ref["topic"], x["task"] % log.partitions, ref["offset"]] for ref in x["records"]), x["now"], Fate.COMMITTED) for x in taken
    ]
    return StoredLog(log, Tape(log.partitions, steps))


def main() -> None:
    """Store the log of the code as it is; beside it, where there is none, one in the records' first versions."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    stored = make()
    write(stored, FOLDER / f"schemas-{max(known[-1] for known in codec.schema_ids().values())}.avro")
    if not (FOLDER / "first-versions.avro").exists():
        write(as_first_written(stored), FOLDER / "first-versions.avro")


if __name__ == "__main__":
    main()
