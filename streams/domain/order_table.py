"""The transition table: what an order does in every state at every event. The same table, in words, is docs/outcomes.md."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, TypeAlias

from schemas.outcomes import OrderStatus as State
from streams.domain.order_commands import (
    cancel,
    cancel_early,
    is_decided,
    not_confirmed,
    not_shipped,
    restate,
    ship,
    take_back,
    unknown_order,
)
from streams.domain.order_events import Effect, EventKind
from streams.domain.order_import import imported_held, imported_refused, in_the_way, only_history, take_over, take_over_cancelled, taken_over
from streams.domain.order_lines import (
    cancelled_held,
    cancelled_refused,
    first_held,
    first_refused,
    held,
    held_twice,
    late_held,
    late_refused,
    refused,
    refused_twice,
)
from streams.domain.order_money import declined, expired, forget, paid, paid_late, paid_twice, refunded, unasked, unrefunded
from streams.domain.order_state import Order

Handler: TypeAlias = Callable[[Order, Any], list[Effect]]


def nothing(_: Order, __: Any) -> list[Effect]:
    """Change nothing and say nothing."""
    return []


# fmt: off
_ROWS: Final[dict[State, tuple[Handler, ...]]] = {
    #                      HELD            REFUSED            PAID        DECLINED  REFUNDED  (DECLINED)  CANCEL        SHIP           RETURN         DEADLINE
    State.UNKNOWN:        (first_held,     first_refused,     unasked,    nothing,  nothing,  nothing,    cancel_early, unknown_order, unknown_order, nothing),
    State.CANCEL_PENDING: (cancelled_held, cancelled_refused, unasked,    nothing,  nothing,  nothing,    cancel_early, unknown_order, unknown_order, forget),
    State.RESERVING:      (held,           refused,           unasked,    nothing,  nothing,  nothing,    cancel,       not_confirmed, not_confirmed, expired),
    State.PAYING:         (held_twice,     refused_twice,     paid,       declined, nothing,  nothing,    cancel,       not_confirmed, not_confirmed, expired),
    State.CONFIRMED:      (held_twice,     refused_twice,     paid_twice, nothing,  refunded, unrefunded, is_decided,   ship,          take_back,     nothing),
    State.SHIPPED:        (held_twice,     refused_twice,     paid_twice, nothing,  refunded, unrefunded, is_decided,   ship,          take_back,     nothing),
    State.RETURNED:       (held_twice,     refused_twice,     paid_twice, nothing,  refunded, unrefunded, is_decided,   ship,          take_back,     nothing),
    State.REJECTED:       (late_held,      late_refused,      paid_late,  nothing,  refunded, unrefunded, is_decided,   not_confirmed, not_shipped,   nothing),
    State.PAYMENT_FAILED: (late_held,      late_refused,      paid_late,  nothing,  refunded, unrefunded, is_decided,   not_confirmed, not_shipped,   nothing),
    State.EXPIRED:        (late_held,      late_refused,      paid_late,  nothing,  refunded, unrefunded, is_decided,   not_confirmed, not_shipped,   nothing),
    State.CANCELLED:      (late_held,      late_refused,      paid_late,  nothing,  refunded, unrefunded, is_decided,   not_confirmed, not_shipped,   nothing),
    State.IMPORTED:       (imported_held,  imported_refused,  unasked,    nothing,  nothing,  nothing,    only_history, only_history,  only_history,  nothing),
}
# fmt: on

_IMPORT: Final[dict[State, Handler]] = {State.UNKNOWN: take_over, State.CANCEL_PENDING: take_over_cancelled, State.IMPORTED: taken_over}
"""The column IMPORT; in every other state an imported order comes too late."""

_DECIDED: Final = frozenset(_ROWS) - {State.UNKNOWN, State.CANCEL_PENDING, State.RESERVING, State.PAYING, State.IMPORTED}


def _whole(state: State, row: tuple[Handler, ...]) -> tuple[Handler, ...]:
    """Return a row with the columns IMPORT and RESTATE; an order that is not decided, or not here, has nothing to say again."""
    return (*row, _IMPORT.get(state, in_the_way), restate if state in _DECIDED else nothing)


TABLE: Final[dict[tuple[State, EventKind], Handler]] = {
    (state, kind): handler for state, row in _ROWS.items() for kind, handler in zip(EventKind, _whole(state, row), strict=True)
}
"""Total: every state and every kind of event has its handler."""
