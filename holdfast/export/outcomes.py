"""Reads the orders decided in a window, each as it stands, partition by partition: one partition's orders are in memory at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from holdfast.export.table import is_within
from holdfast.log_whole import Progress, partitions_of, read_whole
from schemas.codec import UndecodableError, decode
from schemas.topics import ORDER_OUTCOMES


def decided_between(kafka: str, prefixes: Sequence[str], start: int, end: int, progress: Progress) -> Iterator[dict[str, Any]]:
    """Yield the last outcome of every order that was decided from `start` to before `end` (ms); raises LogError.

    `prefixes`: of every generation of the topics. With one, a partition has all of an order, and is read by itself.
    """
    counts = partitions_of(kafka, [ORDER_OUTCOMES.named(prefix) for prefix in prefixes], [ORDER_OUTCOMES.named(prefixes[-1])])
    places = [(topic, partition) for topic, count in counts.items() for partition in range(count)]
    groups = [[place] for place in places] if len(counts) == 1 else [places]
    for number, group in enumerate(groups):

        def listen(done: int, total: int, number: int = number) -> None:
            progress(number * total + done, len(groups) * total)

        last: dict[int, tuple[int, bytes]] = {}
        for message in read_whole(kafka, group, listen):
            value = message.value() or b""
            outcome = _outcome(value)
            if outcome is not None and is_within(outcome, start, end):
                last[outcome["order_id"]] = max(last.get(outcome["order_id"], (0, b"")), (outcome["version"], value))
        yield from (decode(last[order_id][1]).value for order_id in sorted(last))


def _outcome(value: bytes) -> dict[str, Any] | None:
    try:
        decoded = decode(value)
    except UndecodableError:
        return None
    return decoded.value if decoded.name == "OrderOutcome" else None
