"""Does a record break a promise? Pure. Every record passes here on its way into the stores, so that nobody waits for an audit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

_COUNTS: Final = ("available", "reserved", "shipped", "received", "written_off", "returned")
KEPT: Final = frozenset({"CONFIRMED", "SHIPPED", "RETURNED"})
"""An order that ended so holds, or held, every one of its lines; any other holds none."""
GONE: Final = frozenset({"REFUSED", "RELEASED"})
"""A line that is not held, or not any more."""
FIRST: Final = frozenset({"DECIDED", "IMPORTED"})
"""What the first record of an order says, and no other."""


class Alarm(NamedTuple):
    """A promise that a record breaks, and how."""

    promise: str
    text: str


def of_level(level: Mapping[str, Any]) -> Iterator[Alarm]:
    """Yield what is wrong with a StockLevel (I1): a number below 0, or numbers that do not add up."""
    product = level["product_id"]
    for name in _COUNTS:
        if level[name] < 0:
            yield Alarm("I1", f"product {product} version {level['version']}: {name} is {level[name]}")
    have = level["available"] + level["reserved"] + level["shipped"]
    ought = level["received"] - level["written_off"] + level["returned"]
    if have != ought:
        yield Alarm("I1", f"product {product} version {level['version']}: available + reserved + shipped is {have}, received - written off + returned {ought}")


def of_outcome(outcome: Mapping[str, Any]) -> Iterator[Alarm]:
    """Yield what is wrong with an OrderOutcome by itself: a second answer (I2), a line held or lacking (I3), money (I7)."""
    if outcome["change"] == "IMPORTED":
        return  # decided elsewhere: taken over as it was
    if (outcome["change"] in FIRST) != (outcome["version"] == 1):
        yield Alarm("I2", f"{_at(outcome)}: {outcome['change']}, which is what the first record of an order says, and no other")
    yield from _of_lines(outcome)
    if not 0 <= outcome["refunded"] <= outcome["charged"] <= outcome["amount"]:
        yield Alarm("I7", f"{_at(outcome)}: {outcome['refunded']} refunded of {outcome['charged']} charged of {outcome['amount']}")


def _at(outcome: Mapping[str, Any]) -> str:
    return f"order {outcome['order_id']} version {outcome['version']}"


def _of_lines(outcome: Mapping[str, Any]) -> Iterator[Alarm]:
    status, lines = outcome["status"], outcome["lines"]
    if status in KEPT:
        lost = [line["line"] for line in lines if line["status"] in GONE]
        if lost or len(lines) != outcome["line_count"]:
            yield Alarm("I3", f"{_at(outcome)}: {status} with {len(lines)} of {outcome['line_count']} lines, not held: {lost}")
        return
    held = [line["line"] for line in lines if line["status"] not in GONE]
    if held:
        yield Alarm("I3", f"{_at(outcome)}: {status}, and lines {held} are held")
