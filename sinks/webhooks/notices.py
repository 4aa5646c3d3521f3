"""Pure: what a notice says, who gets it, how it is signed, when it is tried again. Headers as Standard Webhooks has them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from schemas.notices import event_of, is_news, order_document, time_text

SECRET_BYTES: Final = 32
SECRET_PREFIX: Final = "whsec_"  # noqa: S105 (how every secret begins)


class Endpoint(NamedTuple):
    """Who is told. `user_id` None: of everybody's orders; `events` empty: of every event; `created_at`: ms, of what was said from then on."""

    endpoint_id: str
    url: str
    user_id: str | None
    events: frozenset[str]
    secret: bytes
    created_at: int


class Notice(NamedTuple):
    """What one endpoint is told of one state of one order."""

    endpoint_id: str
    order_id: int
    version: int
    event: str
    partition: int
    body: bytes
    attempts: int = 0

    @property
    def notice_id(self) -> str:
        """The `webhook-id`: the same for the same state of the same order, whenever and from wherever it is sent."""
        return f"order-{self.order_id}-{self.version}"


def wants(endpoint: Endpoint, outcome: Mapping[str, Any], written_at: int) -> bool:
    """Say whether an endpoint is to hear of an OrderOutcome that was written at this time (the brokers', ms)."""
    of_interest = is_news(outcome) and (not endpoint.events or event_of(outcome) in endpoint.events)
    return of_interest and endpoint.user_id in {None, outcome["user_id"]} and written_at >= endpoint.created_at


def notice_of(endpoint: Endpoint, outcome: Mapping[str, Any], partition: int) -> Notice:
    """Return the notice. It is made of the record alone, so that a replay makes the same bytes."""
    event = event_of(outcome)
    document = {"type": f"order.{event}", "timestamp": time_text(outcome["changed_at"]), "data": order_document(outcome)}
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Notice(endpoint.endpoint_id, outcome["order_id"], outcome["version"], event, partition, body)


def headers_of(notice: Notice, secret: bytes, now_s: int) -> dict[str, str]:
    """Return the headers of one try: the signature is over ID, time and body, so that none of them can be replaced."""
    signed = hmac.new(secret, f"{notice.notice_id}.{now_s}.".encode() + notice.body, hashlib.sha256).digest()
    return {
        "content-type": "application/json",
        "user-agent": "holdfast-webhooks",
        "webhook-id": notice.notice_id,
        "webhook-timestamp": str(now_s),
        "webhook-signature": "v1," + base64.b64encode(signed).decode(),
    }


def secret_text(secret: bytes) -> str:
    """Return a secret as its owner gets it."""
    return SECRET_PREFIX + base64.b64encode(secret).decode()


def delay_s(attempts: int, first_s: float, longest_s: float, jitter: float, wanted_s: float = 0.0) -> float:
    """Return how long to wait (s) after so many tries: doubling, between a half and the whole by `jitter` 0..1, but `wanted_s` at least."""
    grown: float = min(longest_s, first_s * 2 ** min(attempts - 1, 40))
    return max(grown * (0.5 + jitter / 2), min(wanted_s, longest_s))
