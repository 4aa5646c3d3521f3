"""What schemathesis has to be told of the gateway beside its OpenAPI document."""

from __future__ import annotations

import itertools
import json
import re
from typing import Any

import schemathesis

from schemas.outcomes import MAX_AMOUNT

_numbers = itertools.count()
GOOD_KEY = re.compile("[!-~]{1,100}")


@schemathesis.serializer("application/x-ndjson")
def ndjson(ctx: schemathesis.SerializationContext, value: Any) -> bytes:
    return value.encode("utf-8", "replace") if isinstance(value, str) else json.dumps(value).encode()


@schemathesis.hook
def map_body(ctx: schemathesis.HookContext, body: Any) -> Any:
    """To JSON schema 5.0 is an integer; the gateway wants it written as one."""
    if isinstance(body, dict):
        return {name: map_body(ctx, value) for name, value in body.items()}
    if isinstance(body, list):
        return [map_body(ctx, value) for value in body]
    return int(body) if isinstance(body, float) and body.is_integer() else body


@schemathesis.hook
def filter_body(ctx: schemathesis.HookContext, body: Any) -> bool:
    """No JSON schema can say what quantity times price may come to."""
    lines = body.get("lines") if isinstance(body, dict) else None
    return not (isinstance(lines, list) and any(map(comes_to_too_much, lines)))


def comes_to_too_much(line: Any) -> bool:
    amounts = [line.get("quantity"), line.get("unit_price")] if isinstance(line, dict) else []
    return len(amounts) == 2 and all(isinstance(amount, int | float) for amount in amounts) and amounts[0] * amounts[1] > MAX_AMOUNT


@schemathesis.hook
def before_call(ctx: schemathesis.HookContext, case: schemathesis.Case, kwargs: dict[str, Any]) -> None:
    """A key of its own for every order: generators like to repeat theirs, and the second body under a key is refused."""
    key = (case.headers or {}).get("Idempotency-Key")
    is_good = case.meta is None or case.meta.generation.mode.is_positive
    if is_good and isinstance(key, str) and GOOD_KEY.fullmatch(key):
        case.headers["Idempotency-Key"] = f"{key}-{next(_numbers)}"


@schemathesis.check
def no_fault_of_ours(ctx: schemathesis.CheckContext, response: schemathesis.Response, case: schemathesis.Case) -> None:
    if response.status_code >= 500:
        assert response.json()["type"] == "/problems/not-yet", response.text
