"""An order in the changelog (OrderRow) and on order.outcomes (OrderOutcome, OrderCommandRefused). Pure."""

from __future__ import annotations

from collections.abc import Sequence
from operator import attrgetter, itemgetter
from typing import Any, Final

from schemas.outcomes import LineStatus, OrderCommandKind, OrderStatus, OutcomeChange, Refusal
from streams.domain.order_events import OrderCommand
from streams.domain.order_state import Line, Order


def publish(order: Order, change: OutcomeChange, now: int) -> dict[str, Any]:
    """Make the order's next version and return it as an OrderOutcome record; `now` in ms."""
    assert (change is OutcomeChange.DECIDED) == (order.version == 0), f"order {order.order_id}: {change.name} at version {order.version}"
    order.version += 1
    if change is OutcomeChange.DECIDED:
        order.decided_at = now
    return {
        "order_id": order.order_id,
        "version": order.version,
        "change": _CHANGES[change],
        "status": _STATUSES[order.status],
        "refusal": _name(order.refusal),
        "user_id": order.user_id,
        "currency": order.currency,
        "amount": order.amount,
        "charged": order.charged,
        "refunded": order.refunded,
        "attempt": order.attempt if order.charged else 0,
        "line_count": order.line_count,
        "lines": [_outcome_line(number, line) for number, line in sorted(order.lines.items())],
        "placed_at": order.placed_at,
        "decided_at": order.decided_at,
        "changed_at": now,
    }


# By number: an enum's own `name` is a property written in Python.
_STATUSES: Final = {int(status): status.name for status in OrderStatus}
_LINE_STATUSES: Final = tuple(status.name for status in LineStatus)
_CHANGES: Final = tuple(change.name for change in OutcomeChange)


def _name(refusal: Refusal) -> str:
    return refusal.name if refusal else ""


def _outcome_line(number: int, line: Line) -> dict[str, Any]:
    return {
        "line": number,
        "product_id": line.product_id,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "status": _LINE_STATUSES[line.status],
        "refusal": _name(line.refusal),
        "returned": line.returned,
    }


def refused(command: OrderCommand, refusal: Refusal, now: int) -> dict[str, Any]:
    """Return the answer to a command that changes nothing as an OrderCommandRefused record; `now` in ms."""
    return {
        "command_id": command.command_id,
        "kind": OrderCommandKind(command.kind).name,
        "order_id": command.order_id,
        "line": command.line,
        "quantity": command.quantity,
        "refusal": refusal.name,
        "refused_at": now,
        "actor": command.actor,
    }


def to_row(order: Order) -> dict[str, Any]:
    """Return the order as an OrderRow record."""
    product_id, quantity, unit_price, status, refusal, returned = _columns_of(order)
    return {
        "order_id": order.order_id,
        "status": order.status,
        "version": order.version,
        "refusal": order.refusal,
        "user_id": order.user_id,
        "currency": order.currency,
        "payment_token": order.payment_token,
        "placed_at": order.placed_at,
        "decided_at": order.decided_at,
        "deadline": order.deadline,
        "line_count": order.line_count,
        "line": list(order.lines),
        "product_id": product_id,
        "quantity": quantity,
        "unit_price": unit_price,
        "line_status": bytes(status),
        "line_refusal": bytes(refusal),
        "returned": returned,
        "attempt": order.attempt,
        "charged": order.charged,
        "refund_asked": order.refund_asked,
        "refunded": order.refunded,
        "refund_sequence": order.refund_sequence,
        "open_refunds": order.open_refunds.copy(),
        "recent_commands": order.recent_commands.copy(),
    }


_line_fields = attrgetter("product_id", "quantity", "unit_price", "status", "refusal", "returned")


def _columns_of(order: Order) -> Sequence[Sequence[Any]]:
    """Return the lines' fields in columns."""
    if len(order.lines) == 1:
        return [(each,) for each in _line_fields(next(iter(order.lines.values())))]
    return list(zip(*map(_line_fields, order.lines.values()), strict=True)) or _NO_LINES


_NO_LINES: Final = ((),) * 6
_STATUS_OF: Final = {int(status): status for status in OrderStatus}
_LINE_STATUS_OF: Final = {int(status): status for status in LineStatus}
_REFUSAL_OF: Final = {int(refusal): refusal for refusal in Refusal}
_of_lines = itemgetter("product_id", "quantity", "unit_price", "line_status", "line_refusal", "returned")


def from_row(row: dict[str, Any]) -> Order:
    """Return the order of an OrderRow record; raises KeyError where a number in it stands for nothing."""
    return Order(
        order_id=row["order_id"],
        status=_STATUS_OF[row["status"]],
        version=row["version"],
        refusal=_REFUSAL_OF[row["refusal"]],
        user_id=row["user_id"],
        currency=row["currency"],
        payment_token=row["payment_token"],
        placed_at=row["placed_at"],
        decided_at=row["decided_at"],
        deadline=row["deadline"],
        line_count=row["line_count"],
        lines=dict(zip(row["line"], _lines(row), strict=True)),
        attempt=row["attempt"],
        charged=row["charged"],
        refund_asked=row["refund_asked"],
        refunded=row["refunded"],
        refund_sequence=row["refund_sequence"],
        open_refunds=list(row["open_refunds"]),
        recent_commands=list(row["recent_commands"]),
    )


def _lines(row: dict[str, Any]) -> list[Line]:
    return [
        Line(product_id, quantity, unit_price, _LINE_STATUS_OF[status], _REFUSAL_OF[refusal], returned)
        for product_id, quantity, unit_price, status, refusal, returned in zip(*_of_lines(row), strict=True)
    ]
