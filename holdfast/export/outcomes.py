"""Reads the orders decided in a window, each as it stands, partition by partition: one partition's orders are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from holdfast.export.table import is_within
from holdfast.log_whole import Progress, partitions_of, read_whole
from schemas.codec import UndecodableError, decode
from schemas.topics import ORDER_OUTCOMES


def decided_between(kafka: str, prefix: str, start: int, end: int, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield the last outcome of every order that was decided from `start` to before `end` (ms); raises LogError."""
    topic = ORDER_OUTCOMES.named(prefix)
    count = partitions_of(kafka, [topic])[topic]
    for partition in range(count):

        def listen(done: int, total: int, partition: int = partition) -> None:
            progress(partition * total + done, count * total)

        last: dict[int, bytes] = {}
        for message in read_whole(kafka, [(topic, partition)], listen):
            value = message.value() or b""
            outcome = _outcome(value)
            if outcome is not None and is_within(outcome, start, end):
                last[outcome["order_id"]] = value
        yield from (decode(last[order_id]).value for order_id in sorted(last))


def _outcome(value: bytes) -> dict[str, Any] | None:
    try:
        decoded = decode(value)
    except UndecodableError:
        return None
    return decoded.value if decoded.name == "OrderOutcome" else None
