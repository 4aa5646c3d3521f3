"""The judges of a round: `holdfast audit`, as anybody would run it, over topics, stores and journals; and the payment provider's ledger."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, TopicPartition

from schemas import codec
from schemas.topics import ORDER_OUTCOMES, Topic
from tests.faults import ledger
from tests.faults.site import Site

AUDIT_S: Final = 600.0


def judge(site: Site, journals: Iterable[Path]) -> tuple[list[dict[str, Any]], list[str], dict[str, Any]]:
    """Audit a drained site; returns the violations, what kept the audit from being made, and what was checked by promise."""
    command = [sys.executable, "-m", "holdfast", "audit", "--json", *(word for journal in journals for word in ("--journal", str(journal)))]
    done = subprocess.run(command, env=site.variables(), capture_output=True, text=True, timeout=AUDIT_S, check=False)
    (site.folder / "audit.json").write_text(done.stdout)
    try:
        report = json.loads(done.stdout)
    except ValueError:
        return [], [f"the audit ended with exit code {done.returncode}: {done.stderr.strip()[-2000:]}"], {}
    if report.get("ok") is None:
        return [], [f"the audit could not check: {report.get('error')}"], {}
    promises = report["promises"]
    violations = [violation for promise in promises.values() for violation in promise["violations"]]
    return violations, [], {name: promise["checked"] for name, promise in promises.items()}


def judge_money(site: Site) -> list[dict[str, Any]]:
    """Hold what the payment provider says it moved against how the orders ended."""
    return ledger.check(ledger.read(site.payments), _outcomes(site))


def _outcomes(site: Site) -> Iterator[dict[str, Any]]:
    for value in committed_values(site, ORDER_OUTCOMES):
        with suppress(codec.UndecodableError):
            record = codec.decode(value)
            if record.name == "OrderOutcome":
                yield record.value


def committed_values(site: Site, topic: Topic) -> Iterator[bytes | None]:
    """Yield every committed value of a topic, partition by partition as they come."""
    consumer = Consumer(
        {
            **{"bootstrap.servers": site.endpoints.kafka, "group.id": "faults.judge", "enable.auto.commit": False, "log_level": 2},
            **{"isolation.level": "read_committed", "enable.partition.eof": True},
        }
    )
    unread = set(range(site.partitions))
    consumer.assign([TopicPartition(topic.named(site.prefix), p, OFFSET_BEGINNING) for p in unread])
    try:
        while unread:
            for message in consumer.consume(1_000, 1.0):
                if (error := message.error()) is None:
                    yield message.value()
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard(message.partition())
    finally:
        consumer.close()
