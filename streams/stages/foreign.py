"""Is a record that stands between two stages one that a stage wrote? Pure.

Whatever decodes is not yet ours: a producer set to the wrong topic, or a topic copied onto other partitions, can put anything
there. Such a record is given up whole: what says one impossible thing is not half believed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.outcomes import MAX_ORDER_ID, Refusal, StockCommandKind
from schemas.partitions import order_partition
from streams.domain.order_events import is_payment_answer
from streams.domain.order_line import PlainLine, check_line, presentable
from streams.domain.payment import MAX_ATTEMPT, is_request
from streams.runtime.records import Place

LINE: Final = PlainLine._fields
_REFUSALS: Final = bytes(Refusal)
_KINDS: Final = bytes(StockCommandKind)


def fault_of(name: str, value: Mapping[str, Any], place: Place) -> str | None:
    """Return why no stage can have written this record to this place; None if one can, and for records that anybody may write."""
    check = _CHECKS.get(name)
    return check(value, place) if check else None


def _unknown_code(what: str, codes: bytes, known: bytes) -> str | None:
    rest = codes.translate(None, known)
    return f"{what} {rest[0]} is none" if rest else None


def _decisions(value: Mapping[str, Any], place: Place) -> str | None:
    lines = [value[name] for name in LINE]
    fault = _unknown_code("refusal", value["refusal"], _REFUSALS) or _misplaced(value["order_id"], place)
    if fault or (not any(map(check_line, *lines)) and not value["refusal"].translate(None, _OF_VALID)):
        return fault
    return next(_impossible_answers(zip(*lines, strict=True), value["refusal"]), None)


_OF_VALID: Final = bytes(refusal for refusal in Refusal if not refusal.is_invalid_line)


def _impossible_answers(lines: Iterator[tuple[Any, ...]], refusals: bytes) -> Iterator[str]:
    """An invalid line is never held, nor refused for stock; where it is answered at all, its order is named and its texts are clipped."""
    for number, (fields, refusal) in enumerate(zip(lines, map(Refusal, refusals), strict=True)):
        line = PlainLine(*fields)
        fault = check_line(*fields)
        clipped = refusal.is_invalid_line and 0 < line.order_id <= MAX_ORDER_ID and presentable(line) == line
        if fault and not clipped:
            yield f"item {number}: {refusal.name} for a line that is {fault.name}"


def _movements(value: Mapping[str, Any], _: Place) -> str | None:
    fault = _unknown_code("kind", value["kind"], _KINDS) or _unknown_code("refusal", value["refusal"], _REFUSALS)
    return fault or _below(0, "quantity", value["quantity"])


def _results(value: Mapping[str, Any], place: Place) -> str | None:
    pairs = set(zip(value["kind"], value["result"], strict=True))
    unknown = next((f"kind {kind} with result {result} is none" for kind, result in pairs if not is_payment_answer(kind, result)), None)
    below = (_below(least, name, value[name]) for name, least in (("order_id", 1), ("attempt", 1), ("amount", 0)))
    return unknown or next(filter(None, below), None) or _too_often(value["attempt"]) or _misplaced(value["order_id"], place)


def _requests(value: Mapping[str, Any], place: Place) -> str | None:
    pairs = set(zip(value["kind"], value["sequence"], strict=True))
    unknown = next((f"kind {kind} with sequence {sequence} is none" for kind, sequence in pairs if not is_request(kind, sequence)), None)
    below = next(filter(None, (_below(1, name, value[name]) for name in ("order_id", "attempt", "amount"))), None)
    return unknown or below or _too_often(value["attempt"]) or _misplaced(value["order_id"], place)


def _too_often(attempts: Sequence[int]) -> str | None:
    last = max(attempts, default=1)
    return f"attempt {last} is beyond {MAX_ATTEMPT}" if last > MAX_ATTEMPT else None


def _below(least: int, what: str, numbers: Sequence[int]) -> str | None:
    found = min(numbers, default=least)
    return f"{what} {found} is below {least}" if found < least else None


def _misplaced(order_ids: Sequence[int], place: Place) -> str | None:
    """Records travel whole, so the first item speaks for all."""
    home = order_partition(order_ids[0], place.partitions) if order_ids else place.partition
    return None if home == place.partition else f"order {order_ids[0]} belongs on partition {home}, not on {place.partition}"


_CHECKS: Final[Mapping[str, Callable[[Mapping[str, Any], Place], str | None]]] = {
    "StockDecisions": _decisions,
    "StockMovements": _movements,
    "PaymentRequests": _requests,
    "PaymentResults": _results,
}
