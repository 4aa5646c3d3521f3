"""The fold of one product: seven numbers and two settings, by the rules of docs/outcomes.md. Pure."""

from __future__ import annotations

from typing import Final, NamedTuple

from schemas.outcomes import Refusal, StockCommandKind

NUMBERS: Final = ("available", "reserved", "shipped", "received", "written_off", "returned")
Numbers = tuple[int, int, int, int, int, int]
REMEMBERED_MOVES: Final = 16
HOLD: Final = -1
"""Beside the codes of StockCommandKind: a line held."""

_NOTHING: Final = (0, 0, 0, 0, 0, 0)
_TRACKED: Final[dict[int, Numbers]] = {
    HOLD: (-1, 1, 0, 0, 0, 0),
    StockCommandKind.RESTOCK: (1, 0, 0, 1, 0, 0),
    StockCommandKind.FOUND: (1, 0, 0, 1, 0, 0),
    StockCommandKind.WRITE_OFF: (-1, 0, 0, 0, 1, 0),
    StockCommandKind.RELEASE: (1, -1, 0, 0, 0, 0),
    StockCommandKind.SHIP: (0, -1, 1, 0, 0, 0),
    StockCommandKind.RETURN: (1, 0, 0, 0, 0, 1),
    StockCommandKind.REHOLD: (-1, 1, 0, 0, 0, 0),
}
_UNTRACKED: Final[dict[int, Numbers]] = {
    **_TRACKED,
    HOLD: (0, 1, 0, 1, 0, 0),
    StockCommandKind.RELEASE: (0, -1, 0, 0, 1, 0),
    StockCommandKind.RETURN: (0, 0, 0, 0, 1, 1),
    StockCommandKind.REHOLD: (0, 1, 0, 1, 0, 0),
}


def is_balanced(numbers: tuple[int, ...]) -> bool:
    """Return whether available + reserved + shipped = received - written_off + returned."""
    available, reserved, shipped, received, written_off, returned, *_ = numbers
    return available + reserved + shipped == received - written_off + returned


class Count(NamedTuple):
    """A COUNT: so many units lay on the shelf at `at` (ms)."""

    units: int
    at: int


class Shelf:
    """One product as its history makes it. `moves` are [ms, by] of the last changes of units on the shelf; a first
    one by 0 is a COUNT, before which nothing is known any more."""

    __slots__ = ("frozen", "moves", "numbers", "tracked")

    def __init__(self) -> None:
        self.numbers: Numbers = _NOTHING
        self.tracked = True
        self.frozen = False
        self.moves: list[list[int]] = []

    @property
    def is_negative(self) -> bool:
        return min(self.numbers) < 0

    @property
    def units(self) -> int:
        """Units on the shelf; what is reserved of a service lies on none."""
        return self.numbers[0] + (self.numbers[1] if self.tracked else 0)

    def hold(self, quantity: int) -> None:
        """Reserve."""
        self._add(HOLD, quantity)

    def move(self, kind: int, quantity: int, now: int) -> None:
        """Carry out any command but COUNT, at `now` (ms)."""
        before = self.units
        if kind in (StockCommandKind.FREEZE, StockCommandKind.UNFREEZE):
            self.frozen = kind == StockCommandKind.FREEZE
        elif kind in (StockCommandKind.TRACK, StockCommandKind.UNTRACK):
            self.tracked = kind == StockCommandKind.TRACK
        else:
            self._add(kind, quantity)
            self._remember(self.units - before, now)

    def _add(self, kind: int, quantity: int) -> None:
        a, r, s, i, w, b = (_TRACKED if self.tracked else _UNTRACKED).get(kind, _NOTHING)
        n = self.numbers
        self.numbers = n[0] + a * quantity, n[1] + r * quantity, n[2] + s * quantity, n[3] + i * quantity, n[4] + w * quantity, n[5] + b * quantity

    def _remember(self, by: int, now: int) -> None:
        if not by:
            return
        moves = self.moves
        at = max(now, moves[-1][0]) if moves else now
        if moves and moves[-1][0] == at and moves[-1][1]:
            moves[-1][1] += by
        else:
            moves.append([at, by])
        del moves[:-REMEMBERED_MOVES]

    def correction(self, count: Count) -> int:
        """Return by how many units a COUNT has to correct the books, before what is reserved limits it."""
        return count.units - self.units + sum(by for at, by in self.moves if at > count.at)

    def is_forgotten(self, at: int) -> bool:
        """Return whether a COUNT as of `at` comes too late to be compared with the books."""
        moves = self.moves
        return bool(moves) and at < moves[0][0] and (len(moves) >= REMEMBERED_MOVES or moves[0][1] == 0)

    def count(self, count: Count) -> Refusal:
        """Carry out a COUNT; returns COUNT_BELOW_RESERVED where not all that is missing was available."""
        gap = self.correction(count)
        by = max(gap, -self.numbers[0])
        available, reserved, shipped, received, written_off, returned = self.numbers
        self.numbers = available + by, reserved, shipped, received + max(by, 0), written_off - min(by, 0), returned
        self.moves = [[count.at, 0], *([at, moved] for at, moved in self.moves if at > count.at)][-REMEMBERED_MOVES:]
        return Refusal.NONE if by == gap else Refusal.COUNT_BELOW_RESERVED
