"""Topics of an earlier generation may be removed; those of the one in use may not."""

import pytest
from confluent_kafka import KafkaError

from sinks.past import is_past

NOW = ("g2.order.outcomes", "g2.stock.levels")


@pytest.mark.parametrize(
    ("code", "topic", "expected"),
    [
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "order.outcomes", True),
        (KafkaError._UNKNOWN_TOPIC, "order.outcomes", True),
        (KafkaError._UNKNOWN_PARTITION, "stock.levels", True),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "g2.order.outcomes", False),
        (KafkaError._UNKNOWN_PARTITION, "g2.stock.levels", False),
        (KafkaError.UNKNOWN_TOPIC_OR_PART, "", False),
        (KafkaError._AUTO_OFFSET_RESET, "order.outcomes", False),
        (KafkaError.TOPIC_AUTHORIZATION_FAILED, "order.outcomes", False),
    ],
)
def test_only_a_topic_of_the_past_may_be_absent(code: int, topic: str, expected: bool) -> None:
    assert is_past(code, topic, NOW) is expected
