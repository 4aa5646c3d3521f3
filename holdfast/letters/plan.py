"""What is sent in the stead of dead letters, and which cannot be sent. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from holdfast.letters.book import OPEN, Letter, LetterId
from holdfast.letters.inside import TOPIC_OF, Item, order_ids_of
from holdfast.letters.mending import Correction, UnmendableError, mended
from schemas import codec
from schemas.outcomes import DeadLetterReason, OrderCommandKind, Refusal, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import Topic
from streams.domain.order_commands import check_order_command
from streams.domain.order_line import PlainLine, check_line
from streams.domain.stock import check_command

NOTHING: Final = Correction()
_ANSWERED: Final = frozenset({r.name for r in Refusal if r.is_invalid_line and r != Refusal.INVALID_ORDER_ID} | {DeadLetterReason.CONFLICTING_ORDER.name})
"""The order that such a letter names has its answer: it was rejected for it, or stands as another one."""


@dataclass(frozen=True)
class Wish:
    """`corrections` by letter, `common` for all. `new_orders`: order lines become orders of their own, under new IDs."""

    corrections: Mapping[LetterId, Correction] = field(default_factory=dict)
    common: Correction = NOTHING
    new_orders: bool = False


@dataclass(frozen=True)
class Sending:
    """One record to send."""

    topic: Topic
    partition: int
    key: bytes
    value: bytes
    order_id: int


@dataclass
class Redrive:
    """A letter and the items that go out for it."""

    letter: Letter
    record: str
    items: tuple[Item, ...]

    def sendings(self, partitions: int) -> list[Sending]:
        """Return the records to send, each on its own partition."""
        return [_sending(self.record, item, partitions) for item in self.items]


@dataclass
class Plan:
    """`groups`: letters that are settled together or not at all; `refused`: letter and why it is not sent."""

    groups: list[list[Redrive]] = field(default_factory=list)
    refused: list[tuple[LetterId, str]] = field(default_factory=list)

    @property
    def letters(self) -> int:
        """Letters that will be sent."""
        return sum(map(len, self.groups))


def plan(letters: Iterable[Letter], wish: Wish, new_ids: Callable[[int], Sequence[int]]) -> Plan:
    """Plan what to send for these letters; `new_ids` gives so many order IDs, where `wish` asks for new orders."""
    made, ready = Plan(), list[Redrive]()
    for letter in letters:
        try:
            ready.append(_redrive(letter, wish))
        except UnmendableError as error:
            made.refused.append((letter.id, str(error)))
    if wish.new_orders:
        _renumber(ready, made, new_ids)
    else:
        made.groups = [[one] for one in ready]
    return made


def _redrive(letter: Letter, wish: Wish) -> Redrive:
    if letter.state != OPEN:
        raise UnmendableError(f"it is {letter.state} already")
    record, items = mended(letter, wish.corrections.get(letter.id, NOTHING), wish.common)
    named = letter.fields["order_id"]
    if record == "OrderLine" and not wish.new_orders and letter.fields["reason"] in _ANSWERED and named in order_ids_of(items):
        raise UnmendableError(
            f"order {named} has its answer, and a line sent under its ID would change nothing: --new-order sends it as an order of its own under a new ID"
        )
    for item in items:
        fault = _fault(record, item)
        if fault:
            raise UnmendableError(f"it would die again: {fault}")
    return Redrive(letter, record, items)


def _fault(record: str, item: Item) -> str | None:
    if record == "OrderLine":
        refusal = check_line(**{name: item[name] for name in PlainLine._fields})
        return f"{refusal.name} (correct it with --set)" if refusal else None
    if record == "StockCommand":
        kind = StockCommandKind[item["kind"]]
        return check_command(kind, item["command_id"], item["product_id"], item["quantity"], item["as_of"], 0)
    return check_order_command(OrderCommandKind[item["kind"]], item["command_id"], item["order_id"], item["line"], item["quantity"])


def _sending(record: str, item: Item, partitions: int) -> Sending:
    order_id = item.get("order_id", 0)
    by_product = record != "OrderCommand"
    key = item["product_id"].encode() if by_product else b"%d" % order_id
    home = product_partition(item["product_id"], partitions) if by_product else order_partition(order_id, partitions)
    return Sending(TOPIC_OF[record], home, key, codec.encode(record, item), order_id)


# -- orders of their own -------------------------------------------------------------------------------------------------

_HEADER: Final = ("order_id", "user_id", "currency", "payment_token", "line_count")
Header = tuple[Any, ...]


def _renumber(ready: Sequence[Redrive], made: Plan, new_ids: Callable[[int], Sequence[int]]) -> None:
    """Give the lines of each whole order one new ID; an order of several lines needs all of them, each once."""
    orders: defaultdict[Header, list[Redrive]] = defaultdict(list)
    for one in ready:
        orders[_order_of(one)].append(one)
    whole = {header: parts for header, parts in orders.items() if _is_whole(header, parts, made)}
    ids = iter(new_ids(sum(header[0] == "lines" for header in whole)))
    for header, parts in whole.items():
        if header[0] == "lines":
            order_id = next(ids)
            for one in parts:
                one.items = tuple({**item, "order_id": order_id} for item in one.items)
        made.groups.append(list(parts))


def _order_of(one: Redrive) -> Header:
    if one.record != "OrderLine":
        return ("command", one.letter.id)
    header = tuple(one.items[0][name] for name in _HEADER)
    if any(tuple(item[name] for name in _HEADER) != header for item in one.items):
        return ("mixed", one.letter.id)
    # Orders of one line under one ID are as many orders as there are letters.
    return ("lines", one.letter.id if header[-1] == 1 else None, *header)


def _is_whole(header: Header, parts: Sequence[Redrive], made: Plan) -> bool:
    if header[0] == "mixed":
        made.refused.append((parts[0].letter.id, "it holds lines of several orders: --new-order cannot tell which of them belong together"))
        return False
    lines = sorted(item["line"] for one in parts for item in one.items) if header[0] == "lines" else []
    if header[0] == "command" or lines == list(range(1, header[-1] + 1)):
        return True
    there = f"of the {header[-1]} lines of order {header[2]}, {lines} are among the letters chosen"
    why = f"{there}: an order is placed again whole, or cut down with --set line=1 --set line_count=1"
    made.refused.extend((one.letter.id, why) for one in parts)
    return False
