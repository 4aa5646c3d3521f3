"""What is said over HTTP between Holdfast and a payment provider. Pure. In words: docs/outcomes.md, "The payment provider".

    POST /charges   {"order_id", "attempt", "amount", "currency", "token", "user"}
    POST /refunds   {"order_id", "attempt", "amount", "currency", "charge"}      charge: the key of what is given back

Both with the header `Idempotency-Key`, answered by JSON that names that key: {"key", "result", "reason"}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from schemas.outcomes import PaymentKind, PaymentResult
from streams.domain.payment import Answer, Request
from streams.payments import key_of

LARGEST_ANSWER: Final = 65_536
"""Bytes of a body; a larger one is no answer."""
MOST_REASON: Final = 200
LONGEST_RETRY_AFTER: Final = 60.0
DONE: Final = {PaymentKind.CHARGE: ("paid", Answer(PaymentResult.PAID)), PaymentKind.REFUND: ("refunded", Answer(PaymentResult.REFUNDED))}


class NoAnswer(NamedTuple):
    """It is not known what became of a request. `retry_after` in seconds, 0: not said.

    `was_sent`: it may have been carried out. `is_unclear`: somebody is there and answers, but not this request, or not by the contract.
    """

    why: str
    was_sent: bool = True
    is_unclear: bool = False
    retry_after: float = 0.0


def path_of(request: Request) -> str:
    return "/refunds" if request.kind == PaymentKind.REFUND else "/charges"


def body_of(request: Request) -> dict[str, Any]:
    """Return a request's JSON: the same for the same key, or a provider would refuse the key."""
    common = {"order_id": str(request.order_id), "attempt": request.attempt, "amount": request.amount, "currency": request.currency}
    if request.kind == PaymentKind.REFUND:
        return {**common, "charge": key_of(request._replace(kind=PaymentKind.CHARGE, sequence=0))}
    return {**common, "token": request.payment_token, "user": request.user_id}


def read_answer(request: Request, status: int, headers: Mapping[str, str], body: bytes) -> Answer | NoAnswer:
    """Return what a response says. Only 200, 402 and 422 that name the request's key are certain; all else is asked again."""
    if status not in _CERTAIN:
        return NoAnswer(f"status {status}", retry_after=_seconds(headers.get("Retry-After", "")))
    fields = _fields(body) if len(body) <= LARGEST_ANSWER else None
    if fields is None or fields.get("key") != key_of(request):
        return NoAnswer(f"status {status} with a body that does not name this request's key", is_unclear=True)
    if status == 200:
        word, done = DONE[PaymentKind(request.kind)]
        return done if fields.get("result") == word else NoAnswer(f"status 200 without the result {word!r}", is_unclear=True)
    return Answer(PaymentResult.DECLINED, _reason(fields), moved_nothing=status == 422)


_CERTAIN: Final = frozenset({200, 402, 422})


def _fields(body: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _reason(fields: Mapping[str, Any]) -> str:
    """Return the provider's word, fit for a record; it never stays empty."""
    said = fields.get("reason")
    text = "".join(character if character.isprintable() else " " for character in said) if isinstance(said, str) else ""
    return text[:MOST_REASON].strip() or "no reason given"


def _seconds(text: str) -> float:
    """Return the Retry-After given as seconds; a date is not waited for."""
    return min(float(text), LONGEST_RETRY_AFTER) if text.isascii() and text.isdigit() else 0.0
