"""Pure: one record of the log becomes one thing to store, or the reason why it cannot be stored."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple, TypeAlias

from schemas import codec, topics, views
from schemas.outcomes import MAX_ID_LENGTH, MAX_LINES, MAX_TIME, DeadLetterReason, Refusal

Partition: TypeAlias = tuple[str, int]
"""A topic's name on the brokers, and the partition's number."""
Level: TypeAlias = Mapping[str, Any]
"""A decoded StockLevel."""
Outcome: TypeAlias = Mapping[str, Any]
"""A decoded OrderOutcome."""
Value: TypeAlias = int | str | bool

LEVEL: Final = "StockLevel"
OUTCOME: Final = "OrderOutcome"
INPUTS: Final = (topics.ORDER_OUTCOMES, topics.STOCK_LEVELS)
"""What a sink reads."""
TAKEN: Final[Mapping[str, frozenset[str]]] = {topic.name: frozenset(topic.records) for topic in INPUTS}

CURRENCY_LENGTH: Final = 8
REFUSAL_LENGTH: Final = 32
_level_values = itemgetter(*views.PRODUCT_COLUMNS)
_outcome_values = itemgetter(*views.ORDER_COLUMNS)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class Record(NamedTuple):
    """A record as Kafka gave it. `topic` is its name on the brokers, `stream` its name in schemas/topics.py."""

    stream: str
    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None


class UnstorableError(ValueError):
    """A record that no store can take. `reason` is the dead letter's, `order_id` is known where it could be read."""

    def __init__(self, reason: DeadLetterReason | Refusal, detail: str, order_id: int | None = None) -> None:
        super().__init__(detail)
        self.reason = reason.name
        self.detail = detail
        self.order_id = order_id


def read(record: Record) -> tuple[str, Mapping[str, Any]]:
    """Return the record's name and its fields, which every store can take; raises UnstorableError."""
    try:
        name, value, _ = codec.decode(record.value)
    except codec.UndecodableError as error:
        raise UnstorableError(error.reason, error.detail) from error
    if name not in TAKEN[record.stream]:
        raise UnstorableError(DeadLetterReason.WRONG_RECORD, f"a {name} does not belong on {record.stream}")
    if name == LEVEL:
        _check_level(value)
    elif name == OUTCOME:
        _check_outcome(value)
    return name, value


def product_values(level: Level) -> list[Value]:
    """Return a product's values in the order of views.PRODUCT_COLUMNS; times in ms."""
    return list(_level_values(level))


def order_values(outcome: Outcome) -> list[Value]:
    """Return an order's values in the order of views.ORDER_COLUMNS; times in ms."""
    return list(_outcome_values(outcome))


@lru_cache(maxsize=16_384)
def datetime_text(ms: int) -> str:
    """Return a time, ms since 1970 UTC, as both MySQL servers read a DATETIME(3). One batch names few, but each of them many times."""
    return f"{(_EPOCH + timedelta(seconds=ms // 1000)).strftime('%Y-%m-%d %H:%M:%S')}.{ms % 1000:03d}"


def _check_level(level: Level) -> None:
    if not 1 <= len(level["product_id"]) <= MAX_ID_LENGTH:
        raise UnstorableError(Refusal.INVALID_PRODUCT, f"product ID of {len(level['product_id'])} characters: 1..{MAX_ID_LENGTH} fit")
    _check_time("updated_at", level["updated_at"], None)


def _check_outcome(outcome: Outcome) -> None:
    order_id = outcome["order_id"]
    if not 1 <= len(outcome["user_id"]) <= MAX_ID_LENGTH:
        raise UnstorableError(Refusal.INVALID_USER, f"user ID of {len(outcome['user_id'])} characters: 1..{MAX_ID_LENGTH} fit", order_id)
    if len(outcome["currency"]) > CURRENCY_LENGTH:
        raise UnstorableError(Refusal.UNKNOWN_CURRENCY, f"currency {outcome['currency'][:CURRENCY_LENGTH]!r}... is no ISO 4217 code", order_id)
    if not (0 <= outcome["placed_at"] <= MAX_TIME and 0 <= outcome["decided_at"] <= MAX_TIME and 0 <= outcome["changed_at"] <= MAX_TIME):
        for field in ("placed_at", "decided_at", "changed_at"):
            _check_time(field, outcome[field], order_id)
    _check_refusal(outcome["refusal"], order_id)
    _check_lines(outcome["lines"], order_id)


def _check_lines(lines: Sequence[Mapping[str, Any]], order_id: int) -> None:
    if len(lines) > 1:
        _check_numbers([x["line"] for x in lines], order_id)
    for line in lines:
        if not 1 <= len(line["product_id"]) <= MAX_ID_LENGTH:
            raise UnstorableError(Refusal.INVALID_PRODUCT, f"line {line['line']}: product ID of {len(line['product_id'])} characters", order_id)
        if line["refusal"]:
            _check_refusal(line["refusal"], order_id)


def _check_numbers(numbers: Sequence[int], order_id: int) -> None:
    if len(numbers) > MAX_LINES or len(set(numbers)) != len(numbers):
        raise UnstorableError(Refusal.INVALID_LINE, f"{len(numbers)} lines with {len(set(numbers))} numbers; {MAX_LINES} at most, each once", order_id)


def _check_refusal(name: str, order_id: int) -> None:
    # By length alone: a refusal that a newer worker knows and this sink does not is stored like any other.
    if len(name) > REFUSAL_LENGTH:
        raise UnstorableError(DeadLetterReason.UNDECODABLE, f"a refusal of {len(name)} characters is none of schemas/outcomes.py", order_id)


def _check_time(field: str, ms: int, order_id: int | None) -> None:
    if not 0 <= ms <= MAX_TIME:
        raise UnstorableError(Refusal.INVALID_TIME, f"{field} is {ms}: not in 1970..2100 in ms", order_id)
