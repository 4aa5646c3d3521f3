"""Records that no store can take go to the dead-letter topic, with the reason and the bytes as they were."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer

from generations import Watch
from schemas import codec
from schemas.outcomes import MAX_ORDER_ID
from schemas.secure import kafka_settings
from schemas.topics import DEAD_LETTERS
from sinks.config import Settings
from sinks.errors import NotNowError
from sinks.rows import Record, UnstorableError
from telemetry import figures

log = structlog.get_logger()

ACKNOWLEDGED_WITHIN_S: Final = 10.0
MOST_BYTES: Final = 4 * 1024 * 1024
"""Of a dead letter's value. A broker measures compressed batches, so a record of any size can reach a topic."""
MOST_KEY_BYTES: Final = 64 * 1024


def dead_letter(stage: str, record: Record, error: UnstorableError, died_at: int) -> dict[str, Any]:
    """Return the DeadLetter of a record. `died_at` is in ms since 1970 UTC."""
    value, detail = record.value or b"", error.detail
    if len(value) > MOST_BYTES:
        detail, value = f"{detail} (the first {MOST_BYTES} of {len(value)} bytes are kept here)", value[:MOST_BYTES]
    order_id = error.order_id if error.order_id is not None and 0 < error.order_id <= MAX_ORDER_ID else None
    return {
        "stage": stage,
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "index": -1,
        "reason": error.reason,
        "detail": detail,
        "order_id": order_id,
        "key": record.key and record.key[:MOST_KEY_BYTES],
        "value": value,
        "died_at": died_at,
    }


class DeadLetters:
    """Sends dead letters and waits for the brokers. One that was sent just before a crash is sent again after it:
    (stage, topic, partition, offset) says which are the same."""

    def __init__(self, settings: Settings, stage: str) -> None:
        self._stage = stage
        self._watch = Watch(settings.kafka, settings.topic_prefix)
        self._settings = settings
        self._producer: Producer | None = None
        self._failed: list[KafkaError] = []

    def send(self, unstorable: Sequence[tuple[Record, UnstorableError]], now_ms: int) -> None:
        """Return when every record is in the dead-letter topic; raises NotNowError if the brokers do not take them now."""
        if not unstorable:
            return
        for record, error in unstorable:
            figures.DEAD_LETTERS.labels(self._stage, error.reason).inc()
            log.warning("record given up", topic=record.topic, partition=record.partition, offset=record.offset, reason=error.reason, detail=error.detail)
        values = [codec.encode("DeadLetter", dead_letter(self._stage, record, error, now_ms)) for record, error in unstorable]
        self._produce([(record.topic.encode(), value) for (record, _), value in zip(unstorable, values, strict=True)])

    def close(self) -> None:
        """Let go of the brokers. Nothing is waiting: send() returns only when all is acknowledged."""
        self._producer = None

    def _produce(self, letters: Sequence[tuple[bytes, bytes]]) -> None:
        producer = self._producer = self._producer or self._connect()
        self._failed.clear()
        try:
            topic = DEAD_LETTERS.named(self._watch.look().prefix)
            for key, value in letters:
                producer.produce(topic, value, key, on_delivery=self._delivered)
            waiting = producer.flush(ACKNOWLEDGED_WITHIN_S)
        except (BufferError, KafkaException) as error:
            raise NotNowError(f"dead letters cannot be sent: {error}") from error
        if waiting or self._failed:
            # What it has not sent must not follow later, behind what is sent instead; a new one begins afresh.
            producer.purge()
            self._producer = None
            reason = self._failed[0].str() if self._failed else f"{waiting} without an answer in {ACKNOWLEDGED_WITHIN_S:.0f} s"
            raise NotNowError(f"dead letters were not taken: {reason}")

    def _delivered(self, error: KafkaError | None, _message: object) -> None:
        if error is not None:
            self._failed.append(error)

    def _connect(self) -> Producer:
        return Producer(
            {
                **kafka_settings(self._settings.kafka),
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "message.max.bytes": DEAD_LETTERS.max_message_bytes,
                "linger.ms": 0,
                "delivery.timeout.ms": int(ACKNOWLEDGED_WITHIN_S * 1000),
                "log_level": 3,
            }
        )
