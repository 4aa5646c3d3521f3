"""What an order does that another system has decided: it is published as it was there, once, and nothing moves for it here. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from schemas.outcomes import (
    MAX_LINES,
    MAX_ORDER_ID,
    MAX_TIME,
    DeadLetterReason,
    LineStatus,
    OrderCommandKind,
    OrderStatus,
    OutcomeChange,
    Refusal,
)
from streams.domain.order_events import Effect, GiveUp, Import, ImportLine, LineAnswer, OrderCommand, PublishImport
from streams.domain.order_line import check_line
from streams.domain.order_state import Order, conflict, refuse, release_answer

MAX_SOURCE: Final = 32
MAX_EXTERNAL_ID: Final = 128
_KEPT: Final = frozenset({"CONFIRMED", "SHIPPED", "RETURNED"})
_REASONS: Final = {
    "PAYMENT_FAILED": Refusal.PAYMENT_DECLINED.name,
    "EXPIRED": Refusal.DEADLINE_PASSED.name,
    "CANCELLED": Refusal.CANCELLED_ON_REQUEST.name,
}
_LINES: Final = {
    "CONFIRMED": frozenset({"HELD", "SHIPPED", "RETURNED"}),
    "SHIPPED": frozenset({"SHIPPED", "RETURNED"}),
    "RETURNED": frozenset({"RETURNED"}),
    "REJECTED": frozenset({"REFUSED", "RELEASED"}),
    **dict.fromkeys(_REASONS, frozenset({"RELEASED", "REFUSED"})),
}
"""Status of an order -> what its lines may be."""
_REFUSALS: Final = frozenset(refusal.name for refusal in Refusal if refusal)


def import_of(value: dict[str, Any]) -> Import:
    """Return the event of an ImportedOrder record."""
    lines = tuple(ImportLine(**line) for line in value["lines"])
    return Import(**{name: value[name] for name in Import._fields if name != "lines"}, lines=lines)


def check_import(order: Import) -> str | None:
    """Return what is impossible about an order that was decided elsewhere, for its dead letter; None if nothing is."""
    return next(_faults(order), None)


def _faults(order: Import) -> Iterator[str]:
    checks = (
        (0 < order.order_id <= MAX_ORDER_ID, f"an order ID is 1 to 2^63 - 1, not {order.order_id}"),
        (0 < len(order.source) <= MAX_SOURCE, f"a source has 1 to {MAX_SOURCE} characters, not {len(order.source)}"),
        (0 < len(order.external_id) <= MAX_EXTERNAL_ID, f"an external ID has 1 to {MAX_EXTERNAL_ID} characters, not {len(order.external_id)}"),
        (0 < len(order.lines) <= MAX_LINES, f"an order has 1 to {MAX_LINES} lines, not {len(order.lines)}"),
        (0 <= order.refunded <= order.charged <= MAX_ORDER_ID, f"of {order.charged} that were charged {order.refunded} cannot have been given back"),
        (0 <= order.decided_at <= MAX_TIME and 0 <= order.changed_at <= MAX_TIME, "a time is 1970 to 2100 in ms"),
        (_is_reason(order), f"{order.status} because of {order.refusal or 'nothing'}"),
    )
    yield from (detail for is_fine, detail in checks if not is_fine)
    for number, line in enumerate(order.lines, 1):
        yield from _line_faults(order, number, line)


def _is_reason(order: Import) -> bool:
    if order.status == "REJECTED":
        return order.refusal in _REFUSALS
    return order.refusal == _REASONS.get(order.status, "")


def _line_faults(order: Import, number: int, line: ImportLine) -> Iterator[str]:
    count = len(order.lines)
    invalid = check_line(order.order_id, line.line, count, line.product_id, line.quantity, line.unit_price, order.currency, order.user_id, "", order.placed_at)
    is_back = (line.status == LineStatus.RETURNED.name) == (line.returned == line.quantity)
    checks = (
        (line.line == number, f"line {line.line} stands where line {number} should"),
        (not invalid, invalid.name),
        (line.status in _LINES[order.status], f"it is {line.status}, its order is {order.status}"),
        (
            (line.refusal in _REFUSALS) if line.status == LineStatus.REFUSED.name else not line.refusal,
            f"it is {line.status} because of {line.refusal or 'nothing'}",
        ),
        (0 <= line.returned <= line.quantity and is_back, f"it is {line.status}, {line.returned} of {line.quantity} came back"),
        (not line.returned or line.status in {"SHIPPED", "RETURNED"}, f"it is {line.status}, {line.returned} came back"),
    )
    yield from (f"line {number}: {detail}" for is_fine, detail in checks if not is_fine)


def outcome_of(order: Import) -> dict[str, Any]:
    """Return the one OrderOutcome of an order that was decided elsewhere."""
    header = {name: getattr(order, name) for name in ("order_id", "status", "refusal", "user_id", "currency", "charged", "refunded")}
    times = {name: getattr(order, name) for name in ("placed_at", "decided_at", "changed_at")}
    counted = {"version": 1, "change": OutcomeChange.IMPORTED.name, "attempt": int(order.charged > 0), "line_count": len(order.lines)}
    amount = sum(line.quantity * line.unit_price for line in order.lines)
    return {**header, **times, **counted, "amount": amount, "lines": [line._asdict() for line in order.lines]}


def take_over(order: Order, imported: Import) -> list[Effect]:
    """(unknown), import: the ID is the imported order's; the row says no more than is needed to know it again."""
    for name in _REMEMBERED:
        setattr(order, name, getattr(imported, name))
    order.refusal = Refusal[imported.refusal or "NONE"]
    order.line_count = len(imported.lines)
    order.status, order.version, order.deadline = OrderStatus.IMPORTED, 1, 0
    return [PublishImport(imported)]


_REMEMBERED: Final = ("user_id", "currency", "placed_at", "decided_at", "charged", "refunded")


def take_over_cancelled(order: Order, imported: Import) -> list[Effect]:
    """CANCEL_PENDING, import: it was decided elsewhere, so every cancel kept for it is refused."""
    cancels = [OrderCommand(OrderCommandKind.CANCEL, command_id, order.order_id, 0, 0, "") for command_id in order.recent_commands]
    order.recent_commands = []
    return [*(effect for cancel in cancels for effect in refuse(cancel, Refusal.IMPORTED_ORDER)), *take_over(order, imported)]


def taken_over(order: Order, imported: Import) -> list[Effect]:
    """IMPORTED, import: the same order again is nothing; another one under its ID is a dead letter."""
    same = all(getattr(order, name) == getattr(imported, name) for name in _REMEMBERED) and order.line_count == len(imported.lines)
    return [] if same and order.refusal.name == (imported.refusal or "NONE") else in_the_way(order, imported)


def in_the_way(order: Order, imported: Import) -> list[Effect]:
    """Any other state, import: an order of ours, or another imported one, has that ID."""
    detail = f"order {imported.external_id!r} of {imported.source!r} under the ID {order.order_id}, which is another order's ({order.status.name})"
    return [GiveUp(DeadLetterReason.CONFLICTING_ORDER, detail, order.order_id)]


def imported_held(_: Order, answer: LineAnswer) -> list[Effect]:
    """IMPORTED, held: somebody placed an order under its ID; the units go back."""
    return [release_answer(answer), conflict(answer)]


def imported_refused(_: Order, answer: LineAnswer) -> list[Effect]:
    """IMPORTED, refused: the same; an invalid line is in the dead letters already."""
    return [] if Refusal(answer.refusal).is_invalid_line else [conflict(answer)]


def only_history(_: Order, command: OrderCommand) -> list[Effect]:
    """IMPORTED, a command: what was sold elsewhere is shipped, cancelled and taken back there."""
    return refuse(command, Refusal.IMPORTED_ORDER)
