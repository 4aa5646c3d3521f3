"""Orders that another system has decided: which are possible, what is published of them, and that their ID is theirs alone."""

from typing import Any

import pytest

from schemas import codec
from streams.domain import order as saga
from streams.domain.order_events import ImportLine
from tests.streams.domain.events import Saga, imported

LINE = imported().lines[0]


def _lines(*changes: dict[str, Any]) -> tuple[ImportLine, ...]:
    return tuple(LINE._replace(line=n, **change) for n, change in enumerate(changes, 1))


POSSIBLE = {
    "shipped": {},
    "confirmed, partly shipped and back": {"status": "CONFIRMED", "lines": _lines({"status": "HELD"}, {"status": "RETURNED", "returned": 1})},
    "shipped, partly back": {"lines": _lines({"quantity": 3, "returned": 1}), "refunded": 10},
    "returned": {"status": "RETURNED", "lines": _lines({"status": "RETURNED", "returned": 1}), "refunded": 30},
    "rejected": {
        "status": "REJECTED",
        "refusal": "INSUFFICIENT_STOCK",
        "charged": 0,
        "lines": _lines({"status": "REFUSED", "refusal": "INSUFFICIENT_STOCK"}, {"status": "RELEASED"}),
    },
    "payment failed": {"status": "PAYMENT_FAILED", "refusal": "PAYMENT_DECLINED", "charged": 0, "lines": _lines({"status": "RELEASED"})},
    "expired": {"status": "EXPIRED", "refusal": "DEADLINE_PASSED", "charged": 0, "lines": _lines({"status": "RELEASED"})},
    "cancelled": {"status": "CANCELLED", "refusal": "CANCELLED_ON_REQUEST", "charged": 0, "lines": _lines({"status": "RELEASED"})},
}
IMPOSSIBLE = {
    "order ID": {"order_id": 0},
    "source": {"source": ""},
    "external ID": {"external_id": "x" * 129},
    "no lines": {"lines": ()},
    "more given back than charged": {"refunded": 31},
    "a time in seconds of another millennium": {"changed_at": 5_000_000_000_000},
    "a reason for what went well": {"refusal": "PAYMENT_DECLINED"},
    "no reason for what did not": {"status": "REJECTED", "lines": _lines({"status": "RELEASED"})},
    "another status's reason": {"status": "EXPIRED", "refusal": "PAYMENT_DECLINED", "lines": _lines({"status": "RELEASED"})},
    "line numbers with a hole": {"lines": (LINE, LINE._replace(line=3))},
    "an invalid line": {"lines": _lines({"quantity": 0})},
    "currency": {"currency": "gbp"},
    "user": {"user_id": ""},
    "a held line of a shipped order": {"lines": _lines({"status": "HELD"})},
    "a refused line without a reason": {"status": "REJECTED", "refusal": "INSUFFICIENT_STOCK", "lines": _lines({"status": "REFUSED"})},
    "all came back, not returned": {"lines": _lines({"returned": 1})},
    "more came back than went": {"lines": _lines({"returned": 2})},
    "what was held came back": {"status": "CONFIRMED", "lines": _lines({"status": "HELD", "quantity": 2, "returned": 1})},
}


@pytest.mark.parametrize("changes", POSSIBLE.values(), ids=POSSIBLE)
def test_an_order_as_other_systems_have_them_is_possible(changes: dict[str, Any]) -> None:
    assert saga.check_import(imported(**changes)) is None


@pytest.mark.parametrize("changes", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_an_impossible_order_is_told_why(changes: dict[str, Any]) -> None:
    assert saga.check_import(imported(**changes))


def test_the_outcome_says_what_the_import_said() -> None:
    outcome = Saga(imported()).outcomes[0]
    assert codec.decode(codec.encode("OrderOutcome", outcome)).value == outcome
    assert (outcome["version"], outcome["change"], outcome["status"], outcome["amount"], outcome["attempt"]) == (1, "IMPORTED", "SHIPPED", 30, 1)
    assert (outcome["placed_at"], outcome["decided_at"], outcome["changed_at"]) == (5, 6, 7)


def test_the_row_knows_the_order_again() -> None:
    """As it comes back from the changelog."""
    order = Saga(imported())
    assert order.order is not None
    order.order = saga.from_row(codec.decode(codec.encode("OrderRow", saga.to_row(order.order))).value)
    assert order.hear(imported()) == "IMPORTED"
    for change in ({"charged": 29}, {"user_id": "bob"}, {"lines": _lines({})}, {"status": "CANCELLED", "refusal": "CANCELLED_ON_REQUEST"}):
        assert order.hear(imported(**change)) == "IMPORTED DEAD:CONFLICTING_ORDER"
