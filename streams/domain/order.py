"""The order saga: state, events, decision, effects. This is the one module that the orders agent needs.

`decide` looks up the cell of `order_table.TABLE`; the cells are in order_lines, order_money and order_commands.
Rows are changed in place: an aborted batch throws its rows away and reads them again from the changelog.
"""

from __future__ import annotations

from streams.domain.order_commands import check_order_command
from streams.domain.order_events import (
    AskPayment,
    Deadline,
    Effect,
    Event,
    EventKind,
    GiveUp,
    Import,
    LineAnswer,
    MoveStock,
    OrderCommand,
    PaymentAnswer,
    Publish,
    PublishImport,
    RefuseCommand,
    kind_of,
)
from streams.domain.order_import import check_import, import_of, outcome_of
from streams.domain.order_retention import farewell, forgotten_at, is_over, is_too_old, too_late
from streams.domain.order_rows import from_row, publish, refused, to_row
from streams.domain.order_state import Line, Order
from streams.domain.order_table import TABLE

__all__ = [
    "TABLE",
    "AskPayment",
    "Deadline",
    "Effect",
    "Event",
    "EventKind",
    "GiveUp",
    "Import",
    "Line",
    "LineAnswer",
    "MoveStock",
    "Order",
    "OrderCommand",
    "PaymentAnswer",
    "Publish",
    "PublishImport",
    "RefuseCommand",
    "check_import",
    "check_order_command",
    "decide",
    "due",
    "farewell",
    "forgotten_at",
    "from_row",
    "import_of",
    "is_over",
    "is_too_old",
    "outcome_of",
    "publish",
    "refused",
    "to_row",
]


def decide(order: Order | None, event: Event, now: int, timeout: int, retention: int = 0) -> tuple[Order | None, list[Effect]]:
    """Return the order after an event, changed in place or new, and what is to be done, in that order.

    `retention`: for how long rows are kept, in ms; 0: for ever.

    The order is None where there is no row, before or any more. `now` and `timeout` in ms; the time of a new row is up
    at now + timeout. A `Publish` must be carried out (by `publish`) before the order hears the next event; only one of
    AMENDED may wait, so that several become one.
    """
    if order is None and is_too_old(event.order_id, now, retention):
        return None, too_late(event, kind_of(event))
    if order is None:
        order = Order(event.order_id, deadline=now + timeout)
    effects: list[Effect] = []
    if not _is_moot(order, event, now):
        effects = TABLE[order.status, kind_of(event)](order, event)
    return (order if order.status else None), effects


def _is_moot(order: Order, event: Event, now: int) -> bool:
    """Return whether a command was carried out before, or a deadline is early (that of a row since forgotten)."""
    kind = type(event)
    if kind is LineAnswer or kind is PaymentAnswer:
        return False
    if isinstance(event, OrderCommand):
        return event.command_id in order.recent_commands
    return kind is Deadline and now < order.deadline


def due(order: Order) -> int:
    """Return when the order's time is up, in ms; 0 once it is decided."""
    return order.deadline
