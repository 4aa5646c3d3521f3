"""What the client says of topics that are not there (any more). Pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final

from confluent_kafka import KafkaError

ABSENT: Final = frozenset({KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC, KafkaError._UNKNOWN_PARTITION})


def is_past(code: int, topic: str, current: Collection[str]) -> bool:
    """Whether an error says that a topic of an earlier generation was removed, which is anybody's right (docs/runbook.md).

    `current`: the names of the topics of the generation in use; without one of these there is nothing to read.
    """
    return code in ABSENT and topic not in {"", *current}
