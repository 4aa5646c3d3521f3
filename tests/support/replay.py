"""Input batches on a tape: as a shop in memory took them, to be taken again, also by another process.

`python -m tests.support.replay TAPE` takes the batches of a tape and writes what came of them, byte for byte, to stdout.
"""

from __future__ import annotations

import pickle
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from schemas.topics import Topic
from streams.runtime.records import Record, Write
from tests.flow.traffic import Fickle
from tests.support.flow import Fate, Flow, FlowTask


class Step(NamedTuple):
    """One batch: which task took it (its number), its records (none: a timer's), when (ms), and what became of it."""

    task: int
    records: tuple[tuple[Any, ...], ...]
    now: int
    fate: Fate


Times = dict[tuple[str, int, int], int]
"""(topic, partition, offset) -> when the log took a record, in ms."""


class Tape(NamedTuple):
    """Everything that the tasks of a shop of so many partitions took, in order."""

    partitions: int
    steps: list[Step]


def new_flow(partitions: int, seed: int = 0) -> Flow:
    """Return an empty shop, the same one wherever it is made."""
    return Flow(seed, partitions, Fickle(0.1))


def timed(flow: Flow) -> Times:
    """Note when the log takes each record from now on, as brokers do."""
    times: Times = {}
    append = flow.log.append

    def noted(topic: Topic, partition: int, key: bytes | None, value: bytes | None) -> None:
        times[topic.name, partition, flow.log.ends[topic.name, partition]] = flow.now
        append(topic, partition, key, value)

    flow.log.append = noted  # type: ignore[method-assign]
    return times


def record(flow: Flow) -> tuple[Tape, list[list[Write]]]:
    """Return a tape of what the shop's tasks take from now on, and the transactions that they write."""
    tape, written = Tape(flow.partitions, []), _watch(flow)
    for number, task in enumerate(flow.tasks):
        _record_task(task, number, tape.steps)
    return tape, written


def _record_task(task: FlowTask, number: int, steps: list[Step]) -> None:
    take = task.take

    def taken(records: Sequence[Record], now: int, fate: Fate) -> None:
        steps.append(Step(number, tuple(map(tuple, records)), now, fate))
        take(records, now, fate)

    task.take = taken  # type: ignore[method-assign]


def _watch(flow: Flow) -> list[list[Write]]:
    transact, written = flow.log.transact, []

    def noted(writes: Sequence[Write], *, committed: bool) -> None:
        written.append(list(writes))
        transact(writes, committed=committed)

    flow.log.transact = noted  # type: ignore[method-assign]
    return written


def replay(tape: Tape) -> list[list[Write]]:
    """Take the batches of a tape; return the transactions."""
    flow = new_flow(tape.partitions)
    written = _watch(flow)
    for step in tape.steps:
        flow.tasks[step.task].take([Record(*fields) for fields in step.records], step.now, step.fate)
    return written


def as_bytes(transactions: Iterable[Iterable[Write]]) -> bytes:
    """Return every byte of every write, in order, one write a line and an empty line behind each transaction."""
    return b"".join(b"".join(map(_line, writes)) + b"\n" for writes in transactions)


def _line(write: Write) -> bytes:
    key, value = ("-" if part is None else "=" + part.hex() for part in (write.key, write.value))
    return f"{write.topic.name} {write.partition} {key} {value}\n".encode()


if __name__ == "__main__":
    sys.stdout.buffer.write(as_bytes(replay(pickle.loads(Path(sys.argv[1]).read_bytes()))))
