"""What a sink says of a record that no store can take, whatever its size."""

from schemas import codec
from schemas.outcomes import DeadLetterReason
from schemas.topics import DEAD_LETTERS, ORDER_OUTCOMES
from sinks.dead_letters import dead_letter
from sinks.rows import Record, UnstorableError

ERROR = UnstorableError(DeadLetterReason.NOT_CONFLUENT, "no record", None)


def _letter(key: bytes | None, value: bytes | None) -> dict[str, object]:
    return dead_letter("mysql", Record(ORDER_OUTCOMES.name, "shop.order.outcomes", 3, 17, key, value), ERROR, 5)


def test_says_where_the_record_stood_and_carries_it_as_it_was() -> None:
    letter = _letter(b"1", b"\xff\x00")
    assert (letter["topic"], letter["partition"], letter["offset"], letter["index"]) == ("shop.order.outcomes", 3, 17, -1)
    assert (letter["reason"], letter["detail"], letter["key"], letter["value"]) == ("NOT_CONFLUENT", "no record", b"1", b"\xff\x00")


def test_a_tombstone_without_a_key_has_its_letter_too() -> None:
    letter = _letter(None, None)
    assert (letter["key"], letter["value"]) == (None, b"")


def test_a_huge_record_is_cut_to_what_its_topic_takes_and_the_letter_says_so() -> None:
    """A compressed batch is what a broker measures, so eight megabytes can be on the topic; a letter about them must fit as well."""
    letter = _letter(b"k" * 900_000, b"\x07" * 8 * 1024 * 1024)
    assert len(codec.encode("DeadLetter", letter)) < DEAD_LETTERS.max_message_bytes - 1_000_000
    assert str(letter["value"])[:6] == str(b"\x07\x07")[:6]
    assert "8388608" in str(letter["detail"])
