"""What people are told of an order: the name of what happened, and the order as a JSON document. SSE and webhooks say the same."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

EVENTS: Final = ("confirmed", "rejected", "payment_failed", "expired", "cancelled", "amended", "shipped", "returned")
"""What can happen to an order: how it was decided; money or late lines known; lines moved on."""
_FAILED: Final = frozenset({"rejected", "payment_failed", "expired", "cancelled"})
_FIELDS: Final = ("refusal", "version", "amount", "charged", "refunded", "currency")
_LINE: Final = ("line", "product_id", "quantity", "unit_price")


def is_news(outcome: Mapping[str, Any]) -> bool:
    """Say whether anybody is to be told: an order that another system decided is history."""
    return bool(outcome["change"] != "IMPORTED")


def event_of(outcome: Mapping[str, Any]) -> str:
    """Return one of EVENTS for an OrderOutcome."""
    change: str = outcome["change"]
    name: str = outcome["status"] if change == "DECIDED" else change
    return name.lower()


def order_document(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Return an order as it stands after an OrderOutcome: IDs are strings, money is in minor units, times are RFC 3339."""
    times = {name: time_text(outcome[name]) for name in ("placed_at", "decided_at", "changed_at")}
    lines = [{**{name: x[name] for name in _LINE}, "status": x["status"].lower(), "refusal": x["refusal"], "returned": x["returned"]} for x in outcome["lines"]]
    who = {"order_id": str(outcome["order_id"]), "user_id": outcome["user_id"], "status": outcome["status"].lower()}
    return {**who, **{name: outcome[name] for name in _FIELDS}, "lines": lines, **times}


def refusal_document(refused: Mapping[str, Any]) -> dict[str, Any]:
    """Return an OrderCommandRefused as JSON says it."""
    named = {name: refused[name] for name in ("command_id", "line", "quantity", "refusal")}
    return {"order_id": str(refused["order_id"]), **named, "kind": refused["kind"].lower(), "refused_at": time_text(refused["refused_at"])}


def is_final(document: Mapping[str, Any]) -> bool:
    """Say whether nothing more is to be expected of an order (as `order_document` says it): it ended, and its money is where it belongs."""
    ended = document["status"] in _FAILED or document["status"] == "returned"
    return ended and bool(document["charged"] == document["refunded"])


def time_text(ms: int) -> str:
    """Return a time, ms since 1970 UTC, as RFC 3339."""
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
