"""What an order does when somebody cancels, ships or returns."""

from __future__ import annotations

from schemas.outcomes import MAX_COMMAND_ID_LENGTH, MAX_ORDER_ID, LineStatus, OrderCommandKind, OrderStatus, OutcomeChange, Refusal, StockCommandKind
from streams.domain.order_events import Effect, MoveStock, OrderCommand, Publish
from streams.domain.order_state import REMEMBERED_COMMANDS, Line, Order, ask_refund, decided, refuse, remember, undo


def check_order_command(kind: int, command_id: str, order_id: int, line: int, quantity: int) -> str | None:
    """Return what is impossible about a command, for its dead letter; None if nothing is."""
    checks = (
        (kind in _KINDS, f"unknown kind {kind}"),
        (0 < len(command_id) <= MAX_COMMAND_ID_LENGTH, f"a command ID has 1 to {MAX_COMMAND_ID_LENGTH} characters, not {len(command_id)}"),
        (0 < order_id <= MAX_ORDER_ID, f"an order ID is over 0, not {order_id}"),
        (line >= 0, f"a line number is over 0, or 0 for every line, not {line}"),
        (quantity >= 0, f"a quantity is over 0, or 0 for all that is left, not {quantity}"),
        (kind != OrderCommandKind.CANCEL or line == 0, f"CANCEL is for the whole order, not for line {line}"),
        (kind != OrderCommandKind.RESTATE or (line == 0 and quantity == 0), "RESTATE is for the whole order, without line and quantity"),
        (kind != OrderCommandKind.RETURN or line > 0 or quantity == 0, f"RETURN of {quantity} units must name their line"),
    )
    return next((detail for is_fine, detail in checks if not is_fine), None)


_KINDS = frozenset(OrderCommandKind)


def cancel_early(order: Order, command: OrderCommand) -> list[Effect]:
    """(unknown) or CANCEL_PENDING, CANCEL: kept until the first line is heard of, or refused at the deadline.

    One that would push another out of the memory is refused now: the other would never have an answer.
    """
    if len(order.recent_commands) >= REMEMBERED_COMMANDS:
        return refuse(command, Refusal.UNKNOWN_ORDER)
    order.status = OrderStatus.CANCEL_PENDING
    remember(order, command)
    return []


def cancel(order: Order, command: OrderCommand) -> list[Effect]:
    """RESERVING or PAYING, CANCEL: it came first, so it wins; a payment that comes later is given back."""
    remember(order, command)
    return [*undo(order), decided(order, OrderStatus.CANCELLED, Refusal.CANCELLED_ON_REQUEST)]


def ship(order: Order, command: OrderCommand) -> list[Effect]:
    """Confirmed and after, SHIP: one line, or every line that is held; with the last one the order is SHIPPED."""
    if command.line and command.line not in order.lines:
        return refuse(command, Refusal.UNKNOWN_LINE)
    going = {number: line for number, line in _named(order, command).items() if line.status is LineStatus.HELD}
    if not going:
        return refuse(command, Refusal.ALREADY_SHIPPED)
    remember(order, command)
    for line in going.values():
        line.status = LineStatus.SHIPPED
    if not any(line.status is LineStatus.HELD for line in order.lines.values()):
        order.status = OrderStatus.SHIPPED
    moves = [MoveStock(StockCommandKind.SHIP, order.order_id, number, line.product_id, line.quantity) for number, line in going.items()]
    return [*moves, Publish(OutcomeChange.SHIPPED)]


def _named(order: Order, command: OrderCommand) -> dict[int, Line]:
    return {command.line: order.lines[command.line]} if command.line else order.lines


def take_back(order: Order, command: OrderCommand) -> list[Effect]:
    """Confirmed and after, RETURN: units of one shipped line, or all that is left of every one; their price goes back."""
    refusal = _return_refusal(order, command)
    if refusal:
        return refuse(command, refusal)
    remember(order, command)
    back = [(number, line, command.quantity or line.left) for number, line in _named(order, command).items() if line.status is LineStatus.SHIPPED]
    moves: list[Effect] = [_put_back(order, number, line, units) for number, line, units in back]
    if all(line.status is LineStatus.RETURNED for line in order.lines.values()):
        order.status = OrderStatus.RETURNED
    money = sum(units * line.unit_price for _, line, units in back)
    return [*moves, *([ask_refund(order, money)] if money else []), Publish(OutcomeChange.RETURNED)]


def _return_refusal(order: Order, command: OrderCommand) -> Refusal:
    if command.line and command.line not in order.lines:
        return Refusal.UNKNOWN_LINE
    shipped = [line for line in _named(order, command).values() if line.status in {LineStatus.SHIPPED, LineStatus.RETURNED}]
    if not shipped:
        return Refusal.NOT_SHIPPED
    left = sum(line.left for line in shipped)
    return Refusal.RETURN_EXCEEDS_SHIPPED if left == 0 or command.quantity > left else Refusal.NONE


def _put_back(order: Order, number: int, line: Line, units: int) -> MoveStock:
    line.returned += units
    if line.left == 0:
        line.status = LineStatus.RETURNED
    return MoveStock(StockCommandKind.RETURN, order.order_id, number, line.product_id, units)


def restate(order: Order, command: OrderCommand) -> list[Effect]:
    """Decided, RESTATE: say it once more as it stands, as a version of its own, for whoever lost the last one."""
    remember(order, command)
    return [Publish(OutcomeChange.AMENDED)]


def unknown_order(_: Order, command: OrderCommand) -> list[Effect]:
    """Refuse: nothing is known of such an order."""
    return refuse(command, Refusal.UNKNOWN_ORDER)


def not_confirmed(_: Order, command: OrderCommand) -> list[Effect]:
    """Refuse: the order is not, or never will be, confirmed."""
    return refuse(command, Refusal.NOT_CONFIRMED)


def is_decided(_: Order, command: OrderCommand) -> list[Effect]:
    """Refuse: the order has its answer."""
    return refuse(command, Refusal.ALREADY_DECIDED)


def not_shipped(_: Order, command: OrderCommand) -> list[Effect]:
    """Refuse: nothing of the order was ever shipped."""
    return refuse(command, Refusal.NOT_SHIPPED)
