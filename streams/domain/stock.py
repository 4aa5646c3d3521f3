"""A product's stock: how holds and commands are decided, and how a decision changes the row. Pure.

Rows are changed in place, for speed: an aborted batch throws its rows away and reads them again from the changelog.
Every change keeps available + reserved + shipped = received - written_off + returned, with none of them below 0.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from schemas.outcomes import MAX_COMMAND_ID_LENGTH, MAX_QUANTITY, MAX_TIME, Refusal, StockCommandKind
from streams.domain.order_line import is_product_id
from streams.domain.product import Product, from_row, level, to_row

__all__ = [
    "Change",
    "Command",
    "Decision",
    "Product",
    "carry_out",
    "check_command",
    "decide_command",
    "decide_hold",
    "evolve",
    "evolve_hold",
    "from_row",
    "level",
    "to_row",
]

REMEMBERED_COMMANDS: Final = 64
REMEMBERED_MOVES: Final = 16

_YES: Final = Refusal.NONE
_FROZEN: Final = Refusal.PRODUCT_FROZEN
_TOO_FEW: Final = Refusal.INSUFFICIENT_STOCK


class Command(NamedTuple):
    """A checked command (see `check_command`); `as_of` in ms, of a COUNT alone. RELEASE, SHIP and RETURN have no ID."""

    kind: int
    command_id: str
    order_id: int
    line: int
    product_id: str
    quantity: int
    as_of: int


class Change(NamedTuple):
    """What a command does to a row: the numbers are added; None leaves a setting as it is."""

    available: int = 0
    reserved: int = 0
    shipped: int = 0
    received: int = 0
    written_off: int = 0
    returned: int = 0
    tracked: bool | None = None
    frozen: bool | None = None
    counted_at: int | None = None


class Decision(NamedTuple):
    """The answer to a command. `change` is None where nothing is carried out: no new version, the ID is not remembered."""

    refusal: Refusal
    change: Change | None


def decide_hold(product: Product, quantity: int) -> Refusal:
    """Return NONE when `quantity` units (1 or more) can be reserved, else why not. Hot."""
    if product.frozen:
        return _FROZEN
    return _YES if product.available >= quantity or not product.tracked else _TOO_FEW


def evolve_hold(product: Product, quantity: int) -> None:
    """Reserve units that `decide_hold` has granted; an untracked product makes them to order. Hot."""
    if product.tracked:
        product.available -= quantity
        assert product.available >= 0, f"{product.product_id} oversold"
    else:
        product.received += quantity
    product.reserved += quantity
    product.version += 1


_BY_OPERATORS: Final = frozenset(kind for kind in StockCommandKind if kind < StockCommandKind.RELEASE)
_KINDS: Final[dict[int, StockCommandKind]] = {int(kind): kind for kind in StockCommandKind}
"""By code: calling the enum costs ten times a look-up, and every unit shipped or released comes this way."""
_WITHOUT_QUANTITY: Final = frozenset({StockCommandKind.FREEZE, StockCommandKind.UNFREEZE, StockCommandKind.TRACK, StockCommandKind.UNTRACK})


def check_command(kind: int, command_id: str, product_id: str, quantity: int, as_of: int, order_id: int) -> str | None:
    """Return what is impossible about a command, for its dead letter; None if nothing is."""
    if kind not in _DECIDERS:
        return f"unknown kind {kind}"
    if not is_product_id(product_id):
        return f"a product ID has 1 to 64 characters and no zero byte, not {len(product_id)} characters"
    known = _KINDS[kind]
    return _check_quantity(known, quantity, as_of) or _check_sender(known, command_id, order_id)


def _check_quantity(kind: StockCommandKind, quantity: int, as_of: int) -> str | None:
    if kind in _WITHOUT_QUANTITY:
        return f"{kind.name} carries no quantity, not {quantity}" if quantity else None
    least = 0 if kind is StockCommandKind.COUNT else 1
    if not least <= quantity <= MAX_QUANTITY:
        return f"{kind.name} takes {least} to {MAX_QUANTITY} units, not {quantity}"
    if kind is StockCommandKind.COUNT and not 0 < as_of <= MAX_TIME:
        return f"COUNT needs the time of the count in ms since 1970, not {as_of}"
    return None


def _check_sender(kind: StockCommandKind, command_id: str, order_id: int) -> str | None:
    if kind not in _BY_OPERATORS:
        return None if order_id > 0 else f"{kind.name} needs the order's ID, not {order_id}"
    return None if 0 < len(command_id) <= MAX_COMMAND_ID_LENGTH else f"a command ID has 1 to {MAX_COMMAND_ID_LENGTH} characters, not {len(command_id)}"


def decide_command(product: Product, command: Command, now: int) -> Decision | None:
    """Decide a checked command at `now` (ms); None for one that was carried out before: change nothing, say nothing."""
    if command.command_id and command.command_id in product.recent_commands:
        return None
    return _DECIDERS[command.kind](product, command, now)


def _receive(_: Product, command: Command, __: int) -> Decision:
    return Decision(_YES, Change(available=command.quantity, received=command.quantity))


def _write_off(product: Product, command: Command, _: int) -> Decision:
    if command.quantity > product.available:
        return Decision(Refusal.INSUFFICIENT_STOCK, None)
    return Decision(_YES, _lost(command.quantity))


def _lost(units: int) -> Change:
    return Change(available=-units, written_off=units)


def _count(product: Product, command: Command, now: int) -> Decision:
    counted_at = min(command.as_of, now)
    if _is_forgotten(product, counted_at):
        return Decision(Refusal.COUNT_TOO_OLD, None)
    gap = command.quantity - _shelf_at(product, counted_at)
    if gap >= 0:
        return Decision(_YES, Change(available=gap, received=gap, counted_at=counted_at))
    lost = min(-gap, product.available)
    return Decision(_YES if lost == -gap else Refusal.COUNT_BELOW_RESERVED, _lost(lost)._replace(counted_at=counted_at))


def _is_forgotten(product: Product, at: int) -> bool:
    """Return whether there may have been moves after `at` that the row no longer knows."""
    moves = product.moves
    return bool(moves) and at < moves[0][0] and (len(moves) >= REMEMBERED_MOVES or moves[0][1] == 0)


def _shelf_at(product: Product, at: int) -> int:
    """Return the units on the shelf at a time (ms) by the books; units of a service that are reserved lie on none."""
    shelf = product.available + (product.reserved if product.tracked else 0)
    return shelf - sum(by for moved_at, by in product.moves if moved_at > at)


def _freeze(_: Product, __: Command, ___: int) -> Decision:
    return Decision(_YES, Change(frozen=True))


def _unfreeze(_: Product, __: Command, ___: int) -> Decision:
    return Decision(_YES, Change(frozen=False))


def _track(product: Product, command: Command, _: int) -> Decision:
    if product.reserved:
        return Decision(Refusal.ALREADY_DECIDED, None)
    return Decision(_YES, Change(tracked=command.kind == StockCommandKind.TRACK))


def _release(product: Product, command: Command, _: int) -> Decision:
    units = command.quantity
    assert units <= product.reserved, f"release of {units} of {product.product_id}, of which {product.reserved} are reserved"
    if product.tracked:
        return Decision(_YES, Change(available=units, reserved=-units))
    return Decision(_YES, Change(reserved=-units, written_off=units))


def _ship(product: Product, command: Command, _: int) -> Decision:
    units = command.quantity
    assert units <= product.reserved, f"ship of {units} of {product.product_id}, of which {product.reserved} are reserved"
    return Decision(_YES, Change(reserved=-units, shipped=units))


def _return(product: Product, command: Command, _: int) -> Decision:
    units = command.quantity
    assert product.returned + units <= product.shipped, f"return of {units} of {product.product_id}: more than was ever shipped"
    if product.tracked:
        return Decision(_YES, Change(available=units, returned=units))
    return Decision(_YES, Change(written_off=units, returned=units))


def _hold_again(product: Product, command: Command, _: int) -> Decision:
    """Take units for a line that holds them and of which the product's row does not know."""
    units = command.quantity
    if not product.tracked:
        return Decision(_YES, Change(received=units, reserved=units))
    if units > product.available:
        return Decision(Refusal.INSUFFICIENT_STOCK, None)
    return Decision(_YES, Change(available=-units, reserved=units))


_DECIDERS: Final[dict[int, Callable[[Product, Command, int], Decision]]] = {
    StockCommandKind.RESTOCK: _receive,
    StockCommandKind.FOUND: _receive,
    StockCommandKind.WRITE_OFF: _write_off,
    StockCommandKind.COUNT: _count,
    StockCommandKind.FREEZE: _freeze,
    StockCommandKind.UNFREEZE: _unfreeze,
    StockCommandKind.TRACK: _track,
    StockCommandKind.UNTRACK: _track,
    StockCommandKind.RELEASE: _release,
    StockCommandKind.SHIP: _ship,
    StockCommandKind.RETURN: _return,
    StockCommandKind.REHOLD: _hold_again,
}


def evolve(product: Product, change: Change, now: int) -> None:
    """Carry out a decided change at `now` (ms) and make a new version of the row."""
    before = product.available + product.reserved if product.tracked else product.available
    product.available += change.available
    product.reserved += change.reserved
    product.shipped += change.shipped
    product.received += change.received
    product.written_off += change.written_off
    product.returned += change.returned
    product.version += 1
    assert product.available >= 0 <= product.reserved, f"{product.product_id} below 0"
    after = product.available + product.reserved if product.tracked else product.available
    _set(product, change)
    _remember_move(product.moves, change, after - before, now)


def _set(product: Product, change: Change) -> None:
    if change.tracked is not None:
        product.tracked = change.tracked
    if change.frozen is not None:
        product.frozen = change.frozen


def _remember_move(moves: list[tuple[int, int]], change: Change, by: int, now: int) -> None:
    if change.counted_at is not None:
        # The gap was there when the shelf was counted, and an older count would find it again: a count settles its past.
        moves[:] = [(change.counted_at, 0), *(move for move in moves if move[0] > change.counted_at)]
    elif by:
        at = max(now, moves[-1][0]) if moves else now  # clocks of several workers; the list stays in order
        full = len(moves) == REMEMBERED_MOVES
        if moves and moves[-1][0] == at and moves[-1][1]:
            by += moves.pop()[1]
        if by or full:  # in a full list even a move by 0 keeps its place: the list must go on saying that it has forgotten some
            moves.append((at, by))
    del moves[:-REMEMBERED_MOVES]


def carry_out(product: Product, command: Command, now: int) -> Refusal | None:
    """Decide a checked command, change the row and remember the command's ID; None for a repeat: nothing is to be said."""
    decision = decide_command(product, command, now)
    if decision is None:
        return None
    if decision.change is not None:
        evolve(product, decision.change, now)
        if command.command_id:
            product.recent_commands.append(command.command_id)
            del product.recent_commands[:-REMEMBERED_COMMANDS]
    return decision.refusal
