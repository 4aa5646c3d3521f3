"""Idempotency-Keys of orders in MySQL: one order ID for ever for a user's key. The first part is pure.

A row is written before anything is sent, and says until when (the database's clock) whoever wrote it is at work. After that anybody may send the same
order again under the same ID: the stages take an order's lines once. Rows stay for ever.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from enum import Enum
from typing import Final, NamedTuple

from pymysql import IntegrityError
from pymysql.constants import ER
from pymysql.cursors import Cursor

from schemas.views import ORDER_KEYS, ORDERS

MAX_STORED_KEY: Final = 160
"""Characters of a key with a batch line's number."""


class KeyAsked(NamedTuple):
    """A key somebody wants to use: for a body with this hash (16 bytes), under this ID if the key is new."""

    user: str
    key: str
    body_hash: bytes
    order_id: int


class KeyRow(NamedTuple):
    """What is kept of a key. `leased_ms`: for how long somebody is at work on it, by the database's clock; 0 or less: nobody is."""

    order_id: int
    body_hash: bytes
    acknowledged: bool
    leased_ms: int


class Standing(Enum):
    """What a key is to whoever asks for it."""

    OURS = "nobody has sent it, or whoever did is gone: send it under the row's ID"
    DONE = "the brokers have it"
    IN_FLIGHT = "somebody else is at work on it"
    REUSED = "it stands for another body"


class Answered(NamedTuple):
    """A key's standing and the order ID it stands for; `wait_ms` until whoever is at work on it has had its time."""

    standing: Standing
    order_id: int
    wait_ms: int = 0


def judged(asked: KeyAsked, row: KeyRow) -> Answered:
    """Say what a key is to whoever asked, by the row that is there after the insert."""
    if row.order_id == asked.order_id:
        return Answered(Standing.OURS, row.order_id)
    if row.body_hash != asked.body_hash:
        return Answered(Standing.REUSED, row.order_id)
    if row.acknowledged:
        return Answered(Standing.DONE, row.order_id)
    if row.leased_ms > 0:
        return Answered(Standing.IN_FLIGHT, row.order_id, row.leased_ms)
    return Answered(Standing.OURS, row.order_id)


# Of the names in these statements every one is a constant of ours; every value is a parameter.
_NOW: Final = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
_ROW: Final = f"(%s, %s, %s, %s, UTC_TIMESTAMP(3), {_NOW} + %s, FALSE)"
_INSERT: Final = f"INSERT INTO {ORDER_KEYS} (user_id, idempotency_key, body_hash, order_id, created_at, leased_until, acknowledged) VALUES "  # noqa: S608
_AS_IT_IS: Final = " ON DUPLICATE KEY UPDATE order_id = order_id"
_SELECT: Final = f"SELECT user_id, idempotency_key, order_id, body_hash, acknowledged, leased_until - {_NOW} FROM {ORDER_KEYS} WHERE "  # noqa: S608
_ONE: Final = "(user_id = %s AND idempotency_key = %s)"
_LEASE: Final = f"UPDATE {ORDER_KEYS} SET leased_until = {_NOW} + %s WHERE order_id IN "  # noqa: S608
_ACKNOWLEDGED: Final = f"UPDATE {ORDER_KEYS} SET acknowledged = TRUE WHERE order_id IN "  # noqa: S608
_GIVEN_UP: Final = f"UPDATE {ORDER_KEYS} SET leased_until = 0 WHERE order_id IN "  # noqa: S608
_DECIDED: Final = f"SELECT order_id FROM {ORDERS} WHERE order_id IN "  # noqa: S608


def claim_all(cursor: Cursor, asked: Sequence[KeyAsked], lease_ms: int) -> list[Answered]:
    """Claim keys in a transaction of its own; the caller commits."""
    # In one order everywhere: two gateways that claim the same keys at once wait for each other, and not in a circle.
    ordered = sorted(asked)
    values = [value for each in ordered for value in (*each, lease_ms)]
    insert = _INSERT + ", ".join([_ROW] * len(ordered))
    try:
        cursor.execute(insert, values)
        return [Answered(Standing.OURS, each.order_id) for each in asked]
    except IntegrityError as error:
        if error.args[0] != ER.DUP_ENTRY:
            raise
    # Some of them are there already: those stay as they are, and are locked until we have looked at them. What the insert that failed
    # has locked is let go of first: two that hold a shared lock each and want more would wait for each other.
    cursor.connection.rollback()
    cursor.execute(insert + _AS_IT_IS, values)
    rows = _rows(cursor, ordered)
    answers = [judged(each, rows[each.user, each.key]) for each in asked]
    return _taken_over(cursor, asked, answers, lease_ms)


def mark(cursor: Cursor, settled: Mapping[int, bool]) -> None:
    """Write down which orders the brokers have (True) and which were given up."""
    for statement, order_ids in ((_ACKNOWLEDGED, [x for x, known in settled.items() if known]), (_GIVEN_UP, [x for x, known in settled.items() if not known])):
        if order_ids:
            cursor.execute(statement + _list_of(order_ids), sorted(order_ids))


def _rows(cursor: Cursor, asked: Sequence[KeyAsked]) -> dict[tuple[str, str], KeyRow]:
    cursor.execute(_SELECT + " OR ".join([_ONE] * len(asked)), [value for each in asked for value in each[:2]])
    return {(user, key): KeyRow(order_id, bytes(hashed), bool(known), left) for user, key, order_id, hashed, known, left in cursor.fetchall()}


def _taken_over(cursor: Cursor, asked: Sequence[KeyAsked], answers: list[Answered], lease_ms: int) -> list[Answered]:
    """Lease what somebody else left behind. What has been decided need not be sent: the stages may have forgotten that they had it."""
    left = {answer.order_id for each, answer in zip(asked, answers, strict=True) if answer.standing is Standing.OURS and answer.order_id != each.order_id}
    if not left:
        return answers
    cursor.execute(_DECIDED + _list_of(left), sorted(left))
    decided = {order_id for (order_id,) in cursor.fetchall()}
    mark(cursor, dict.fromkeys(decided, True))
    if left - decided:
        cursor.execute(_LEASE + _list_of(left - decided), [lease_ms, *sorted(left - decided)])
    return [answer._replace(standing=Standing.DONE) if answer.order_id in decided else answer for answer in answers]


def _list_of(order_ids: Iterable[int]) -> str:
    return f"({', '.join('%s' for _ in order_ids)})"
