"""Every cell of the transition table, one by one; and that code and docs have the same table."""

from __future__ import annotations

from pathlib import Path

import pytest

from schemas.outcomes import DECISIONS, OrderCommandKind, OrderStatus, PaymentResult
from streams.domain.order import TABLE, EventKind
from streams.domain.order_lines import refused_twice
from streams.domain.order_money import paid_twice
from streams.domain.order_table import nothing
from tests.streams.domain.events import TIME_UP, Saga, cancel, command, declined, give_back, imported, line, paid, refund, refused, ship

DOC = Path(__file__).parents[3] / "docs" / "outcomes.md"
BOTH = (line(1), line(2))
REACHED = {
    "UNKNOWN": (),
    "CANCEL_PENDING": (cancel("first"),),
    "RESERVING": (line(1),),
    "PAYING": BOTH,
    "CONFIRMED": (*BOTH, paid()),
    "SHIPPED": (*BOTH, paid(), ship(command_id="all")),
    "RETURNED": (*BOTH, paid(), ship(command_id="all"), give_back(command_id="back")),
    "REJECTED": (refused(1, of=3),),
    "PAYMENT_FAILED": (*BOTH, declined()),
    "EXPIRED": (line(1, of=3), TIME_UP),
    "CANCELLED": (line(1, of=3), cancel("first")),
    "IMPORTED": (imported(),),
}
"""Events that lead to each state."""
EVENTS = {
    "held": line(2),
    "refused": refused(2),
    "paid": paid(),
    "declined": declined(),
    "refunded": refund(),
    "refund declined": refund(PaymentResult.DECLINED),
    "CANCEL": cancel(),
    "SHIP": ship(),
    "RETURN": give_back(),
    "deadline": TIME_UP,
    "import": imported(),
    "RESTATE": command(OrderCommandKind.RESTATE),
}
_ENDED = {
    "declined": "",
    "refunded": "",
    "refund declined": "",
    "CANCEL": "NO:ALREADY_DECIDED",
    "SHIP": "NO:NOT_CONFIRMED",
    "RETURN": "NO:NOT_SHIPPED",
    "deadline": "",
    "import": "DEAD:CONFLICTING_ORDER",
    "RESTATE": "AMENDED",
}
_PAID = {
    "RESTATE": "AMENDED",
    "import": "DEAD:CONFLICTING_ORDER",
    "held": "RELEASE:2x2",
    "refused": "",
    "paid": "",
    "declined": "",
    "CANCEL": "NO:ALREADY_DECIDED",
    "deadline": "",
}
_EARLY = {"RESTATE": "", "declined": "", "refunded": "", "refund declined": ""}
_LATE = {"held": "RELEASE:2x2 AMENDED", "refused": "AMENDED", "paid": "REFUND:1.1=30 AMENDED"}
CELLS: dict[str, dict[str, str]] = {
    "UNKNOWN": {
        **_EARLY,
        "held": "> RESERVING",
        "refused": "> REJECTED DECIDED",
        "paid": "REFUND:1.1=30",
        "CANCEL": "> CANCEL_PENDING",
        "SHIP": "NO:UNKNOWN_ORDER",
        "RETURN": "NO:UNKNOWN_ORDER",
        "deadline": "",
        "import": "> IMPORTED IMPORTED",
    },
    "CANCEL_PENDING": {
        **_EARLY,
        "held": "> CANCELLED RELEASE:2x2 DECIDED",
        "refused": "> CANCELLED DECIDED",
        "paid": "REFUND:1.1=30",
        "CANCEL": "",
        "SHIP": "NO:UNKNOWN_ORDER",
        "RETURN": "NO:UNKNOWN_ORDER",
        "deadline": "> UNKNOWN NO:UNKNOWN_ORDER",
        "import": "> IMPORTED NO:IMPORTED_ORDER IMPORTED",
    },
    "RESERVING": {
        **_EARLY,
        "held": "> PAYING CHARGE:1.0=30",
        "refused": "> REJECTED RELEASE:1x1 DECIDED",
        "paid": "REFUND:1.1=30",
        "CANCEL": "> CANCELLED RELEASE:1x1 DECIDED",
        "SHIP": "NO:NOT_CONFIRMED",
        "RETURN": "NO:NOT_CONFIRMED",
        "deadline": "> EXPIRED RELEASE:1x1 DECIDED",
        "import": "DEAD:CONFLICTING_ORDER",
    },
    "PAYING": {
        **_EARLY,
        "held": "RELEASE:2x2",
        "refused": "",
        "paid": "> CONFIRMED DECIDED",
        "declined": "> PAYMENT_FAILED RELEASE:1x1 RELEASE:2x2 DECIDED",
        "CANCEL": "> CANCELLED RELEASE:1x1 RELEASE:2x2 DECIDED",
        "SHIP": "NO:NOT_CONFIRMED",
        "RETURN": "NO:NOT_CONFIRMED",
        "deadline": "> EXPIRED RELEASE:1x1 RELEASE:2x2 DECIDED",
        "import": "DEAD:CONFLICTING_ORDER",
    },
    "CONFIRMED": {**_PAID, "refunded": "", "refund declined": "", "SHIP": "> SHIPPED SHIP:1x1 SHIP:2x2 SHIPPED", "RETURN": "NO:NOT_SHIPPED"},
    "SHIPPED": {
        **_PAID,
        "refunded": "",
        "refund declined": "",
        "SHIP": "NO:ALREADY_SHIPPED",
        "RETURN": "> RETURNED RETURN:1x1 RETURN:2x2 REFUND:1.1=30 RETURNED",
    },
    "RETURNED": {
        **_PAID,
        "refunded": "AMENDED",
        "refund declined": "DEAD:REFUND_DECLINED",
        "SHIP": "NO:ALREADY_SHIPPED",
        "RETURN": "NO:RETURN_EXCEEDS_SHIPPED",
    },
    "REJECTED": {**_ENDED, **_LATE},
    "PAYMENT_FAILED": {**_ENDED, "held": "RELEASE:2x2", "refused": "", "paid": "REFUND:1.1=30 AMENDED"},
    "EXPIRED": {**_ENDED, **_LATE},
    "CANCELLED": {**_ENDED, **_LATE},
    "IMPORTED": {
        **_EARLY,
        "held": "RELEASE:2x2 DEAD:CONFLICTING_ORDER",
        "refused": "DEAD:CONFLICTING_ORDER",
        "paid": "REFUND:1.1=30",
        "CANCEL": "NO:IMPORTED_ORDER",
        "SHIP": "NO:IMPORTED_ORDER",
        "RETURN": "NO:IMPORTED_ORDER",
        "deadline": "",
        "import": "",
    },
}
"""What each event leads to in each state: "> STATE" where it changes, then the effects. The order costs 30."""


def _event(state: str, name: str) -> object:
    """Return the event as it is said to an order in that state: a late line is of an order of three where it is known as such."""
    event = EVENTS[name]
    if name in {"held", "refused"} and state in {"REJECTED", "EXPIRED", "CANCELLED"}:
        return event._replace(line_count=3)
    return event


@pytest.mark.parametrize(("state", "name"), [(state, name) for state in REACHED for name in EVENTS])
def test_cell(state: str, name: str) -> None:
    order = Saga(*REACHED[state])
    assert (order.order.status.name if order.order else "UNKNOWN") == state
    expected = CELLS[state][name]
    after, _, effects = expected.removeprefix("> ").partition(" ") if expected.startswith("> ") else (state, "", expected)
    assert order.hear(_event(state, name)) == f"{after} {effects}".strip()


def test_the_table_is_total() -> None:
    assert set(TABLE) == {(state, kind) for state in OrderStatus for kind in EventKind}
    assert set(CELLS) == {state.name for state in OrderStatus}
    assert all(set(row) == set(EVENTS) for row in CELLS.values())
    assert len(EVENTS) == len(EventKind)


def _documented() -> dict[str, list[str]]:
    """Return docs/outcomes.md's table: cells by state."""
    section = DOC.read_text().split("\n| state |", 1)[1].split("\n\n", 1)[0]
    header, _, *rows = [line.strip("|").split("|") for line in section.splitlines()]
    assert [name.strip().removeprefix("line ") for name in header] == list(EVENTS)
    table = {}
    for row in rows:
        for state in row[0].split(","):
            table[state.strip().strip("()").upper()] = [cell.strip() for cell in row[1:]]
    return table


def test_the_docs_have_the_same_states() -> None:
    assert set(_documented()) == {state.name for state in OrderStatus}


def test_the_docs_say_nothing_exactly_where_nothing_happens() -> None:
    silent = {nothing, refused_twice, paid_twice}
    for state, cells in _documented().items():
        for kind, cell in zip(EventKind, cells, strict=True):
            assert cell.startswith("-") == (TABLE[OrderStatus[state], kind] in silent), (state, kind, cell)


@pytest.mark.parametrize("state", [state for state in REACHED if state not in {"UNKNOWN", "CANCEL_PENDING", "RESERVING", "PAYING", "IMPORTED"}])
def test_every_ending_was_decided_once(state: str) -> None:
    outcomes = Saga(*REACHED[state]).outcomes
    assert [outcome["change"] for outcome in outcomes].count("DECIDED") == 1
    assert OrderStatus[outcomes[0]["status"]] in DECISIONS
    assert [outcome["version"] for outcome in outcomes] == list(range(1, len(outcomes) + 1))
