"""Every movement of products, from the records of stock.decisions, with the stock after each. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

from holdfast.audit.shelf import NUMBERS, Numbers, Shelf
from schemas.outcomes import Refusal, StockCommandKind
from schemas.topics import ORDERS, STOCK_COMMANDS

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


class Answers:
    """The answers about some products (None: about all), as they are read; then in the order of the products' versions."""

    def __init__(self, products: Container[str] | None = None, until: int | None = None) -> None:
        self._products = products
        self._until = until
        self._found: defaultdict[str, list[tuple[int, bool, int, Movement, Numbers | None]]] = defaultdict(list)

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

    def products(self) -> Sequence[str]:
        """Return the products that something is known of."""
        return sorted(self._found)

    def of(self, product_id: str) -> Iterator[Movement]:
        """Yield a product's movements with the stock after each: a version's change first, then what was refused at it."""
        shelf = Shelf()
        for _, is_refused, _, movement, stated in sorted(self._found.get(product_id, ()), key=lambda entry: entry[:3]):
            if not is_refused:
                _carry_out(shelf, movement, stated)
            yield movement._replace(after={**dict(zip(NUMBERS, shelf.numbers, strict=True)), "tracked": shelf.tracked, "frozen": shelf.frozen})

    def last(self, product_id: str) -> Movement | None:
        """Return a product's last movement: the stock as it then was is `after`."""
        movement = None
        for movement in self.of(product_id):  # noqa: B007
            pass
        return movement


def _carry_out(shelf: Shelf, movement: Movement, stated: Numbers | None) -> None:
    if stated is None:
        shelf.hold(movement.quantity)
        return
    kind = StockCommandKind[movement.what]
    if kind != StockCommandKind.COUNT:
        shelf.move(kind, movement.quantity, movement.at)
    shelf.numbers = stated
