"""Every movement of products, from the records of stock.decisions, with the stock after each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from holdfast.audit.shelf import NUMBERS, Numbers, Shelf
from schemas.outcomes import Refusal, StockCommandKind
from schemas.topics import ORDERS, STOCK_COMMANDS, STOCK_LEVELS

WITH_EFFECT: Final = frozenset({Refusal.NONE, Refusal.COUNT_BELOW_RESERVED})
"""A COUNT below what is reserved still writes off what is available."""
_HOLD: Final = ("product_id", "order_id", "line", "quantity", "refusal", "version", "offset", "index", "user_id")
_MOVE: Final = ("product_id", "order_id", "line", "quantity", "refusal", "version", "offset", "index", "actor", "kind", "command_id", *NUMBERS)


class Movement(NamedTuple):
    """One answer of the stock agent. `topic`, `partition`, `offset`, `item`: the order line or command it answers; `at` in ms.

    `order_id` and `line` are 0, and `command_id` is "", where none is concerned. `after`: the stock after it, all of NUMBERS,
    `tracked` and `frozen`.
    """

    product_id: str
    version: int
    at: int
    what: str
    quantity: int
    refusal: str
    order_id: int
    line: int
    command_id: str
    actor: str
    topic: str
    partition: int
    offset: int
    item: int
    after: Mapping[str, Any]

    def document(self) -> dict[str, Any]:
        """Return it for programs."""
        return {**self._asdict(), "order_id": str(self.order_id or ""), "after": dict(self.after)}


_SETS: Final = frozenset({StockCommandKind.COUNT.name, StockCommandKind.TRACK.name, StockCommandKind.UNTRACK.name})
Entry = tuple[int, bool, int, Movement, Numbers | None]
"""Version, whether it was refused, its number, the movement, and the numbers it states."""


class Answers:
    """The answers about some products (None: about all), as they are read; then in the order of the products' versions."""

    def __init__(self, products: Container[str] | None = None, until: int | None = None) -> None:
        self._products = products
        self._until = until
        self._found: defaultdict[str, list[Entry]] = defaultdict(list)
        self._levels: dict[str, Mapping[str, Any]] = {}

    def add(self, name: str, value: Mapping[str, Any]) -> None:
        """Take a decoded record of stock.decisions."""
        if self._until is not None and value["decided_at"] > self._until:
            return
        columns = _HOLD if name == "StockDecisions" else _MOVE
        for fields in zip(*(value[column] for column in columns), strict=True):
            if self._products is None or fields[0] in self._products:
                self._take(name, value, dict(zip(columns, fields, strict=True)))

    def _take(self, name: str, value: Mapping[str, Any], item: Mapping[str, Any]) -> None:
        refusal = Refusal(item["refusal"])
        if refusal.is_invalid_line:
            return  # says nothing of a product
        is_hold = name == "StockDecisions"
        movement = Movement(
            product_id=item["product_id"],
            version=item["version"],
            at=value["decided_at"],
            what="HOLD" if is_hold else StockCommandKind(item["kind"]).name,
            quantity=item["quantity"],
            refusal=refusal.name if refusal else "",
            order_id=item["order_id"],
            line=item["line"],
            command_id=item.get("command_id", ""),
            actor=item["user_id"] if is_hold else item["actor"],
            topic=(ORDERS if is_hold else STOCK_COMMANDS).name,
            partition=value["partition"],
            offset=item["offset"],
            item=item["index"],
            after={},
        )
        stated: Any = None if is_hold else tuple(item[number] for number in NUMBERS)
        found = self._found[movement.product_id]
        found.append((movement.version, refusal not in WITH_EFFECT, len(found), movement, stated))

    def add_level(self, value: Mapping[str, Any]) -> None:
        """Take a decoded StockLevel, where the log's beginning is gone: what a product's last one says it may say alone."""
        product, known = value["product_id"], self._levels.get(value["product_id"])
        if (self._products is None or product in self._products) and (known is None or known["version"] < value["version"]):
            self._levels[product] = value

    def products(self) -> Sequence[str]:
        """Return the products that something is known of."""
        return sorted(self._found.keys() | self._levels.keys())

    def of(self, product_id: str) -> Iterator[Movement]:
        """Yield a product's movements with the stock after each: a version's change first, then what was refused at it."""
        entries = sorted(self._found.get(product_id, ()), key=lambda entry: entry[:3])
        since, shelf = self._opening(product_id, [entry for entry in entries if not entry[1]])
        for version, is_refused, _, movement, stated in entries:
            if version < since:
                continue
            if not is_refused:
                _carry_out(shelf, movement, stated)
            yield movement._replace(after={**dict(zip(NUMBERS, shelf.numbers, strict=True)), "tracked": shelf.tracked, "frozen": shelf.frozen})

    def _opening(self, product_id: str, changes: Sequence[Entry]) -> tuple[int, Shelf]:
        """Return from which version on a product's stock can be told, and how it stood before: it was nothing, unless its beginning is gone.

        The first answer that states numbers says them, or else the product's last level, each less what came in between.
        """
        level, shelf, by = self._levels.get(product_id), Shelf(), Shelf()
        if level is None or not changes or changes[0][0] == 1:
            return 0, shelf
        stating = next((number for number, entry in enumerate(changes) if entry[4] is not None), len(changes) - 1)
        version, _, _, movement, stated = changes[stating]
        if movement.what in _SETS:  # from which nothing follows of what was before
            return version, shelf
        if stated is None and level["version"] != version:
            return version + 1, shelf
        shelf.tracked = by.tracked = bool(level["tracked"])
        for entry in changes[: stating + 1]:
            _change(by, entry[3])
        after = stated or [level[name] for name in NUMBERS]
        a, r, s, i, w, b = (after[number] - by.numbers[number] for number in range(len(NUMBERS)))
        shelf.numbers = a, r, s, i, w, b
        return 0, shelf

    def last(self, product_id: str) -> Movement | None:
        """Return a product's last movement: the stock as it then was is `after`. One of which only the level is left is as that says."""
        movement = None
        for movement in self.of(product_id):  # noqa: B007
            pass
        level = self._levels.get(product_id)
        if movement is None and level is not None and (self._until is None or level["updated_at"] <= self._until):
            after = {name: level[name] for name in (*NUMBERS, "tracked", "frozen")}
            movement = Movement(product_id, level["version"], level["updated_at"], "LEVEL", 0, "", 0, 0, "", "", STOCK_LEVELS.name, -1, -1, -1, after)
        return movement


def _carry_out(shelf: Shelf, movement: Movement, stated: Numbers | None) -> None:
    _change(shelf, movement)
    if stated is not None:
        shelf.numbers = stated


def _change(shelf: Shelf, movement: Movement) -> None:
    if movement.what == "HOLD":
        shelf.hold(movement.quantity)
    elif movement.what != StockCommandKind.COUNT.name:
        shelf.move(StockCommandKind[movement.what], movement.quantity, movement.at)
