"""Where the log's beginning was deleted: how each product stood before its first change that is left. Pure.

Every command's answer states all numbers of its product, so the numbers before it are known, and with the holds in between those
before the first of them. A product of which only holds are left is reckoned back from its row; one of which nothing is left stands
as its row says. What is reckoned so is then held against everything else that is said of the product.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from holdfast.audit.log import Log
from holdfast.audit.shelf import NUMBERS, Numbers, Shelf
from holdfast.audit.timeline import Said
from schemas.outcomes import Refusal, StockCommandKind

_TOGGLES: Final = frozenset({int(StockCommandKind.TRACK), int(StockCommandKind.UNTRACK)})
_COUNTS: Final = frozenset({int(StockCommandKind.COUNT)})
"""What was before one of these does not follow from what is after it."""
_FREEZES: Final = {int(StockCommandKind.FREEZE): False, int(StockCommandKind.UNFREEZE): True}
"""Kind -> whether the product was frozen before."""
Entry = tuple[int, int, int]
"""Version, Said, item."""
State = dict[str, Any]
"""A product's row, as it is now."""


class Opening(NamedTuple):
    """A product as it stood at a version."""

    version: int
    shelf: Shelf


class Openings:
    """Finds the openings of a log whose beginning is gone."""

    def __init__(self, log: Log) -> None:
        self._log = log
        d, m = log.decisions, log.movements
        self._held, self._kind, self._moved, self._refusal = d["quantity"], m["kind"], m["quantity"], d["refusal"]
        self._stated = [m[name] for name in NUMBERS]

    def of(self, entries: Sequence[Entry], state: State | None) -> Opening | None:
        """Return how a product stood before its first change; None if that was nothing, or cannot be told. `entries`: all of it, in order."""
        changes = [entry for entry in entries if entry[1] <= Said.MOVE]
        if not changes:
            return None if state is None else Opening(state["version"], self._shelf(_numbers(state), state, entries, state["version"]))
        if changes[0][0] == 1:
            return None
        if toggle := next((entry for entry in changes if self._is_move(entry, _TOGGLES)), None):
            version, _, item = toggle
            return Opening(version, self._shelf(self._numbers(item), {"tracked": self._kind[item] == StockCommandKind.TRACK}, entries, version))
        for number, (version, said, item) in enumerate(changes):
            if self._is_move(changes[number], _COUNTS):
                return Opening(version, self._shelf(self._numbers(item), state, entries, version))
            if said == Said.MOVE:
                return self._reckoned(changes[: number + 1], self._numbers(item), state, entries)
        return None if state is None or state["version"] < changes[-1][0] else self._reckoned(changes, _numbers(state), state, entries)

    def _is_move(self, entry: Entry, kinds: frozenset[int]) -> bool:
        return entry[1] == Said.MOVE and self._kind[entry[2]] in kinds

    def _reckoned(self, changes: Sequence[Entry], after: Numbers, state: State | None, entries: Sequence[Entry]) -> Opening:
        version = changes[0][0] - 1
        shelf = self._shelf(after, state, entries, version)
        by = Shelf()
        by.tracked = shelf.tracked
        for _, said, item in changes:
            if said == Said.HOLD:
                by.hold(self._held[item])
            else:
                by.move(self._kind[item], self._moved[item], 0)
        a, r, s, i, w, b = (after[number] - by.numbers[number] for number in range(len(NUMBERS)))
        shelf.numbers = a, r, s, i, w, b
        return Opening(version, shelf)

    def _shelf(self, numbers: Numbers, state: State | None, entries: Sequence[Entry], since: int) -> Shelf:
        shelf = Shelf()
        shelf.numbers = numbers
        shelf.tracked = True if state is None else bool(state["tracked"])
        shelf.frozen = self._is_frozen(state, [entry for entry in entries if entry[0] >= since])
        shelf.moves = [[self._log.begins_at, 0]]
        return shelf

    def _is_frozen(self, state: State | None, entries: Sequence[Entry]) -> bool:
        """The first thing that tells: a level, a line that was held, one that was refused as frozen, or a change of just this."""
        for _, said, item in entries:
            if said == Said.LEVEL:
                return bool(self._log.levels["frozen"][item])
            if said == Said.HOLD:
                return False
            if said == Said.REFUSED_LINE and self._refusal[item] == Refusal.PRODUCT_FROZEN:
                return True
            if said == Said.MOVE and self._kind[item] in _FREEZES:
                return _FREEZES[self._kind[item]]
        return bool((state or {}).get("frozen", False))

    def _numbers(self, item: int) -> Numbers:
        a, r, s, i, w, b = [column[item] for column in self._stated]
        return a, r, s, i, w, b


def _numbers(state: State) -> Numbers:
    a, r, s, i, w, b = [int(state[name]) for name in NUMBERS]
    return a, r, s, i, w, b
