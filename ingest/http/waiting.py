"""`Prefer: wait=N` (RFC 7240): the answer waits for the decision, for at most N seconds."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ingest.followers import Watch
from ingest.http.messages import Request
from ingest.http.routes import Parameter

WAIT_PARAMETER: Final = Parameter(
    "Prefer",
    "header",
    "`wait=N`: wait up to N seconds (bounded by the server; `Preference-Applied` says how many) for the decision.",
    {"type": "string", "examples": ["wait=5"]},
)
_WAIT: Final = re.compile(r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,9})\"?\s*(?=$|[,;])", re.IGNORECASE)


class DecidedLine(msgspec.Struct, frozen=True):
    """A line as it stands; `refusal` is a code of docs/outcomes.md, empty where it was not refused."""

    line: int
    product_id: str
    quantity: int
    unit_price: int
    status: str
    refusal: str
    returned: int


class DecidedOrder(msgspec.Struct, frozen=True):
    """An order as it stands after a change. Statuses in lower case: confirmed, rejected, payment_failed, expired, cancelled, shipped, returned."""

    order_id: str
    status: str
    refusal: str
    version: int
    amount: int
    charged: int
    refunded: int
    currency: str
    lines: list[DecidedLine]


def wait_of(request: Request, most_s: float) -> float:
    """Return for how many seconds to wait, 0 where nothing is said. What cannot be read is no preference (RFC 7240)."""
    said = request.headers.get("prefer")
    found = _WAIT.search(said) if said else None
    return min(float(found[1]), most_s) if found else 0.0


def applied(wait_s: float) -> tuple[str, str]:
    """Return the header that says how long was waited at most."""
    return ("preference-applied", f"wait={wait_s:g}")


def key_of_order(order_id: int) -> bytes:
    """Return the key of an order's records on order.outcomes."""
    return b"%d" % order_id


def decided_order(value: Mapping[str, Any]) -> DecidedOrder:
    """Return an OrderOutcome, or a view's fields, as the API says it."""
    lines = [DecidedLine(x["line"], x["product_id"], x["quantity"], x["unit_price"], x["status"].lower(), x["refusal"], x["returned"]) for x in value["lines"]]
    money = (value["amount"], value["charged"], value["refunded"])
    return DecidedOrder(str(value["order_id"]), value["status"].lower(), value["refusal"], value["version"], *money, value["currency"], lines)


async def decision(watch: Watch, deadline: float) -> DecidedOrder | None:
    """Return the order of a watch as its next outcome says it, None if there is none before `deadline` (the loop's time, in s)."""
    while (found := await watch.next(deadline)) is not None:
        if found.name == "OrderOutcome":
            return decided_order(found.value)
    return None
