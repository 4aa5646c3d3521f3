"""Looks twice, and sends what mends: what is under way is not the same a moment later, and drift is."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence

from holdfast.audit.errors import CannotCheckError
from holdfast.audit.progress import Progress
from holdfast.audit.reading import read_log
from holdfast.audit.store_reading import read_stores
from holdfast.reconcile.drift import Drift, drifts
from holdfast.reconcile.mends import Mend
from holdfast.stack.addresses import Endpoints
from holdfast.stack.errors import StackError
from ingest.errors import IngestError, PublishError
from ingest.log_writer import LogWriter
from ingest.order_ids import clock_ms


class ReconcileError(StackError):
    """It cannot be told what agrees, or the commands cannot be sent; the text says why."""


def find(at: Endpoints, prefix: str, shards: Sequence[str], settle_s: float, progress: Progress) -> list[Drift]:
    """Return what does not agree now and did not `settle_s` before; raises ReconcileError."""
    before = {drift.key for drift in _look(at, prefix, shards, progress)}
    if not before:
        return []
    time.sleep(settle_s)
    return [drift for drift in _look(at, prefix, shards, progress) if drift.key in before]


def _look(at: Endpoints, prefix: str, shards: Sequence[str], progress: Progress) -> list[Drift]:
    try:
        stores = read_stores(at.mysql, at.redis, progress, shards)
        log = read_log(at.kafka, prefix, live=False, progress=progress)
        if log.begins_at:
            raise CannotCheckError("the log's beginning was deleted: `holdfast audit` says what differs, but what would mend it stood there")
        return drifts(log, stores, clock_ms())
    except CannotCheckError as error:
        raise ReconcileError(str(error)) from error


def mends_of(found: Iterable[Drift]) -> list[Mend]:
    """Return the commands, each once."""
    return list(dict.fromkeys(mend for drift in found for mend in drift.mends))


def apply(kafka: str, prefix: str, mends: Sequence[Mend], sent: Callable[[int], None] = lambda _: None) -> None:
    """Send commands and wait until the brokers have them; raises ReconcileError. Sent again they change nothing."""
    failed: list[PublishError] = []

    def on_ack(error: PublishError | None, _: int) -> None:
        if error is not None:
            failed.append(error)

    try:
        writer = LogWriter(kafka, prefix)
        for number, mend in enumerate(mends, 1):
            key = mend.product_id.encode() or b"%d" % mend.order_id
            writer.send(mend.topic, mend.partition(writer.partitions(mend.topic)), key, mend.record(clock_ms()), on_ack)
            writer.poll()
            sent(number)
        left = writer.flush()
    except IngestError as error:
        raise ReconcileError(str(error)) from error
    if failed or left:
        raise ReconcileError(f"{failed[0] if failed else 'the brokers did not acknowledge every command'}: run the same command again")
