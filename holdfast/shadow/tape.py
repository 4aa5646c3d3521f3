"""What the live agents took, in the order in which they took it, read back from what they said. Pure.

The answer to each line and command names its product's version: that is the order of everything about a product. Of the orders agent's
events the outcomes tell when it decided, and which commands it refused when.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from schemas.codec import Decoded, encode
from schemas.outcomes import OrderCommandKind, OutcomeChange, Refusal, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS

READ: Final = (STOCK_DECISIONS, STOCK_COMMANDS, ORDER_COMMANDS, ORDER_OUTCOMES, PAYMENT_RESULTS)
LINE: Final = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at")
MOVE: Final = ("kind", "command_id", "order_id", "line", "product_id", "quantity")
COMMAND: Final = ("kind", "command_id", "order_id", "line", "quantity")
ORDERS_AGENT: Final = "orders"
FIRST, AMONG, LAST = range(3)
"""In which order the orders agent hears of lines within a ms."""
_COMMANDED: Final = {OutcomeChange.SHIPPED.name: OrderCommandKind.SHIP.name, OutcomeChange.RETURNED.name: OrderCommandKind.RETURN.name}
_NOT_YET: Final = frozenset({Refusal.NOT_CONFIRMED.name, Refusal.UNKNOWN_ORDER.name})
_RECORDS: Final = {topic.name: frozenset(topic.records) for topic in READ}
Place: TypeAlias = tuple[int, int, bool, int]
"""When it was decided (ms), the product's version after it, whether it was refused at that version, and a number that tells the rest apart."""


class Hold(NamedTuple):
    """A line that asked for units, as it came."""

    line: tuple[Any, ...]


class Move(NamedTuple):
    """A command about a product from outside the stages. (Not the domain's own Command, which may be another version's here.)"""

    kind: int
    command_id: str
    order_id: int
    line: int
    product_id: str
    quantity: int
    as_of: int
    actor: str


class Asked(NamedTuple):
    """A command about an order: when the brokers took it (ms), and the command. `whole`: an order that another system decided, as a record."""

    at: int
    fields: tuple[Any, ...]
    actor: str
    whole: bytes = b""


class Tape:
    """Filled by `add`, one generation after the other, in any order that keeps each partition's; complete only with all of READ.

    `counts`: how many partitions each generation of the topics has, the oldest first. What is read is given the partition that it would have in the last one.
    """

    def __init__(self, *counts: int) -> None:
        self._partitions_of: Sequence[int] = counts
        self.partitions = counts[-1]
        self.stock: defaultdict[int, list[tuple[Place, Hold | Move]]] = defaultdict(list)
        self.invalid: list[tuple[tuple[int, int], int, bytes]] = []
        """((when, rank), the orders agent's partition, StockDecisions) of lines that no stock is asked for; rank: FIRST or LAST of an order's."""
        self.inner: defaultdict[tuple[int, int, int], list[Place]] = defaultdict(list)
        """(kind, order ID, line) -> when the orders agent's own commands were carried out, the first one last."""
        self.commands: defaultdict[int, list[Asked]] = defaultdict(list)
        self.decided: dict[int, tuple[str, int]] = {}
        self.refused: defaultdict[tuple[int, str], list[tuple[int, str]]] = defaultdict(list)
        """(order ID, command ID) -> when it was refused and why, each time that it came."""
        self.unknown_until: dict[int, int] = {}
        """Order ID -> when a command about it was refused because nothing had been heard of it yet: its lines were heard of later."""
        self.moved: defaultdict[tuple[int, str], list[int]] = defaultdict(list)
        """(order ID, SHIP or RETURN) -> when such a command was carried out, each time."""
        self.paid: dict[tuple[int, int, int], tuple[int, str]] = {}
        self.first_at: dict[int, int] = {}
        self.opened: dict[str, Place] = {}
        """Each product's first line."""
        self.demand: Counter[str] = Counter()
        self.end_at = 0
        self._as_of: dict[tuple[int, int, int, int], int] = {}
        """(generation, partition, offset, number in the record) of a COUNT -> of when it is."""
        self._counted: set[tuple[int, int]] = set()
        self._waiting: list[tuple[tuple[int, int, int, int], Place, Move]] = []
        self._numbers = 0
        self._same: dict[Any, Any] = {}
        """What many lines say is kept once."""

    def add(self, topic: str, partition: int, offset: int, at: int, record: Decoded, generation: int = 0) -> None:
        """Take one record; `topic` without prefix, `at` when the brokers took it in ms, `generation` its number in `counts`, from 0."""
        if record.name not in _RECORDS[topic]:
            return
        self.end_at = max(self.end_at, at)
        value = record.value
        if record.name == "StockDecisions":
            self._add_holds(value)
        elif record.name == "StockMovements":
            self._add_moves(generation, value)
        elif topic == STOCK_COMMANDS.name:
            self._add_counts(generation, partition, offset, record)
        elif topic == ORDER_COMMANDS.name:
            self._add_commands(generation, partition, at, record)
        elif record.name == "PaymentResults":
            for order_id, attempt, sequence, result, reason in zip(*(value[c] for c in ("order_id", "attempt", "sequence", "result", "reason")), strict=True):
                self.paid.setdefault((order_id, attempt, sequence), (result, reason))
        elif record.name == "OrderOutcome":
            self._add_outcome(value)
        elif record.name == "OrderCommandRefused":
            self._add_refusal(value)

    def finish(self) -> None:
        """All is read: put everything in order."""
        for source, place, move in self._waiting:
            self._put(move.product_id, place, move._replace(as_of=self._as_of.get(source, 0)))
        for items in self.stock.values():
            items.sort(key=lambda item: item[0])
        for places in self.inner.values():
            places.sort(reverse=True)
        self._waiting, self._counted, self._same = [], set(), {}

    def command_at(self, asked: Asked) -> int:
        """Return when the orders agent took a command, as near as the log says it (ms)."""
        if asked.whole:
            order_id, as_of = asked.fields
            decided_at = self.decided.get(order_id, ("", as_of))[1]
            # Another decision stands: the order was placed here first.
            return asked.at if decided_at == as_of else max(asked.at, decided_at + 1)
        kind, command_id, order_id, line, quantity = asked.fields
        if line < 0 or quantity < 0:
            return asked.at  # no command at all, and no other's place is taken by it
        status, decided_at = self.decided.get(order_id, ("", 0))
        if refused := self.refused.get((order_id, command_id)):
            refused_at, refusal = refused.pop(0)
            # A cancellation that came before its order was kept until a deadline of its own; one batch may have refused a shipment
            # and then decided the order.
            is_before = refusal in _NOT_YET and refused_at == decided_at and status == "CONFIRMED"
            return asked.at if kind == OrderCommandKind.CANCEL and refusal == Refusal.UNKNOWN_ORDER.name else refused_at - is_before
        if kind == OrderCommandKind.CANCEL:
            return decided_at if status == "CANCELLED" else asked.at
        moved = self.moved.get((order_id, OrderCommandKind(kind).name))
        return moved.pop(0) if moved else max(asked.at, decided_at)

    # -- stock ---------------------------------------------------------------------------------------------------------

    def _place(self, at: int, version: int, refusal: int) -> Place:
        self._numbers += 1
        is_refused = bool(refusal) and refusal != Refusal.COUNT_BELOW_RESERVED
        return at, version, is_refused, self._numbers

    def _put(self, product: str, place: Place, item: Hold | Move) -> None:
        self.stock[product_partition(product, self.partitions)].append((place, item))

    def _add_holds(self, value: Mapping[str, Any]) -> None:
        at, same = value["decided_at"], self._same
        for number, fields in enumerate(zip(*(value[c] for c in LINE), strict=True)):
            line = tuple(same.setdefault(field, field) for field in fields)
            self.first_at[line[0]] = min(at, self.first_at.get(line[0], at))
            if Refusal(value["refusal"][number]).is_invalid_line:
                rank = LAST if line[0] in value["order_id"][:number] else FIRST
                self.invalid.append(((at, rank), order_partition(line[0], self.partitions), one_of(value, [number])))
                continue
            place = self._place(at, value["version"][number], value["refusal"][number])
            product = line[3]
            self._put(product, place, Hold(line))
            self.opened[product] = min(place, self.opened.get(product, place))
            if line[:2] not in self._counted:
                self._counted.add(line[:2])
                self.demand[product] += line[4]

    def _add_moves(self, generation: int, value: Mapping[str, Any]) -> None:
        columns = zip(*(value[c] for c in (*MOVE, "refusal", "version", "offset", "index", "actor")), strict=True)
        for *fields, refusal, version, offset, index, actor in columns:
            place = self._place(value["decided_at"], version, refusal)
            if actor == ORDERS_AGENT and not fields[1]:
                self.inner[fields[0], fields[2], fields[3]].append(place)
            else:
                self._waiting.append(((generation, value["partition"], offset, index), place, Move._make((*fields, 0, actor))))

    def _add_counts(self, generation: int, partition: int, offset: int, record: Decoded) -> None:
        """Of a COUNT the answer does not say of when it is; the command does."""
        value = record.value
        if record.name == "StockCommand":
            self._as_of[generation, partition, offset, 0] = value["as_of"]
            return
        for index, (kind, as_of) in enumerate(zip(value["kind"], value["as_of"], strict=True)):
            if kind == StockCommandKind.COUNT:
                self._as_of[generation, partition, offset, index] = as_of

    # -- orders --------------------------------------------------------------------------------------------------------

    def _add_outcome(self, value: Mapping[str, Any]) -> None:
        if value["change"] == OutcomeChange.DECIDED.name:
            self.decided[value["order_id"]] = (value["status"], value["decided_at"])
        elif value["change"] in _COMMANDED:
            self.moved[value["order_id"], _COMMANDED[value["change"]]].append(value["changed_at"])

    def _add_refusal(self, value: Mapping[str, Any]) -> None:
        order_id, at = value["order_id"], value["refused_at"]
        self.refused[order_id, value["command_id"]].append((at, value["refusal"]))
        if value["refusal"] == Refusal.UNKNOWN_ORDER.name:
            self.unknown_until[order_id] = max(at, self.unknown_until.get(order_id, 0))

    def _add_commands(self, generation: int, partition: int, at: int, record: Decoded) -> None:
        value = record.value
        if record.name == "ImportedOrder":
            self._ask(generation, partition, value["order_id"], Asked(at, (value["order_id"], value["decided_at"]), "", encode(record.name, value)))
            return
        if record.name == "OrderCommand":
            items: list[tuple[Any, ...]] = [(OrderCommandKind[value["kind"]].value, *(value[c] for c in COMMAND[1:]))]
        else:
            items = list(zip(*(value[c] for c in COMMAND), strict=True))
        for fields in items:
            self._ask(generation, partition, fields[2], Asked(at, fields, value["actor"]))

    def _ask(self, generation: int, partition: int, order_id: int, asked: Asked) -> None:
        # One that a foreign partitioner put elsewhere was sent on, and comes by once more.
        if order_partition(order_id, self._partitions_of[generation]) == partition:
            self.commands[order_partition(order_id, self.partitions)].append(asked)


def one_of(value: Mapping[str, Any], numbers: list[int]) -> bytes:
    """Return some items of a StockDecisions record as a record of their own."""
    columns = {c: [value[c][n] for n in numbers] for c in value if c not in {"partition", "decided_at"}}
    return encode("StockDecisions", {**value, **columns, "refusal": bytes(columns["refusal"])})
