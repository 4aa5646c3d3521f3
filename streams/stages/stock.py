"""The stock stage: order lines and commands about products in, answers and levels out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from operator import itemgetter
from typing import Any, Final

from schemas import codec
from schemas.outcomes import MAX_ACTOR_LENGTH, DeadLetterReason, Refusal, StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDERS, STOCK_COMMANDS, STOCK_DECISIONS, STOCK_LEVELS, STOCK_STATE, Topic
from streams.domain import stock
from streams.domain.order_line import PlainLine, check_line, presentable
from streams.domain.stock import Command, Product
from streams.runtime.records import DecidesAlone, Place, Record, StageKind, Write
from streams.stages.outbox import DeadLetters, decode_or_give_up
from streams.stages.stock_table import LINE, StockTable, new_table

_line_of = itemgetter(*LINE)


class StockStage(DecidesAlone):
    """One row per product of this partition."""

    def __init__(self, place: Place, table: Callable[[Place], StockTable] | None = None) -> None:
        self.rows = (table or new_table)(place)
        self.place = place

    def restore(self, rows: dict[bytes, bytes]) -> None:
        self.rows.restore(rows)

    def is_due(self, now: int) -> bool:  # noqa: ARG002 - products have no deadlines
        return False

    def expire(self, now: int) -> list[Write]:  # noqa: ARG002 - products have no deadlines
        return []

    def decide(self, records: Sequence[Record], now: int) -> list[Write]:
        batch = _StockBatch(self.rows, self.place, now)
        at = self.rows.take(records, 0)
        while at < len(records):
            batch.take(records[at])
            at = self.rows.take(records, at + 1)
        return batch.writes()


class _StockBatch:
    """One batch under way, record by record: all that the table does not take itself."""

    def __init__(self, rows: StockTable, place: Place, now: int) -> None:
        self.rows = rows
        self.place = place
        self.now = now
        rows.begin(now)
        self.dead = DeadLetters("stock")
        self.forwarded: list[Write] = []

    def take(self, record: Record) -> None:
        topic = ORDERS if record.topic == ORDERS.name else STOCK_COMMANDS
        decoded = decode_or_give_up(record, topic, self.dead)
        if decoded is None:
            return
        if decoded.name == "OrderLine":
            self._line(record, 0, _line_of(decoded.value))
        elif decoded.name == "OrderLines":
            for index, fields in enumerate(zip(*_line_of(decoded.value), strict=True)):
                self._line(record, index, fields)
        else:
            self._commands(record, decoded)

    # -- order lines ---------------------------------------------------------------------------------------------------

    def _line(self, record: Record, index: int, fields: tuple[Any, ...]) -> None:
        refusal = check_line(*fields)
        if refusal:
            self._refuse_invalid(record, index, fields, refusal)
            return
        product_id, quantity = fields[3], fields[4]
        product = self.rows.find(product_id)
        if product is None:
            home = product_partition(product_id, self.place.partitions)
            if home != self.place.partition:
                self._forward(ORDERS, home, product_id, codec.encode("OrderLine", dict(zip(LINE, fields, strict=True))))
                return
            product = Product(product_id)
        refusal = stock.decide_hold(product, quantity)
        if not refusal:
            stock.evolve_hold(product, quantity)
            self.rows.put(product)
        self._answer(fields, refusal, product.available, product.version, record.offset, index)

    def _answer(self, fields: tuple[Any, ...], *answer: int) -> None:
        self.rows.answer(order_partition(fields[0], self.place.partitions), (*fields, *answer))

    def _refuse_invalid(self, record: Record, index: int, fields: tuple[Any, ...], refusal: Refusal) -> None:
        """Give an impossible line up; where it names an order, refuse it too, so that the order is rejected."""
        named = refusal != Refusal.INVALID_ORDER_ID
        shown = dict(zip(LINE, fields, strict=True))
        self.dead.add(record, index, refusal.name, f"order line refused: {shown!r:.500}", fields[0] if named else None, item=codec.encode("OrderLine", shown))
        if named:
            product = self.rows.find(shown["product_id"]) or _NOTHING
            self._answer(presentable(PlainLine(*fields)), refusal, product.available, product.version, record.offset, index)

    def _forward(self, topic: Topic, home: int, product_id: str, value: bytes) -> None:
        """Send what a foreign partitioner put here to the product's own partition: its stock must not be split."""
        self.forwarded.append(Write(topic, home, product_id.encode(), value))

    # -- commands ------------------------------------------------------------------------------------------------------

    def _commands(self, record: Record, decoded: codec.Decoded) -> None:
        value, actor = decoded.value, decoded.value["actor"][:MAX_ACTOR_LENGTH]
        if decoded.name == "StockCommand":
            kind = StockCommandKind[value["kind"]]
            self._command(record, 0, Command(kind, value["command_id"], 0, 0, value["product_id"], value["quantity"], value["as_of"]), actor)
            return
        columns = zip(*(value[c] for c in ("kind", "command_id", "order_id", "line", "product_id", "quantity", "as_of")), strict=True)
        for index, fields in enumerate(columns):
            self._command(record, index, Command(*fields), actor)

    def _command(self, record: Record, index: int, command: Command, actor: str) -> None:
        fault = stock.check_command(command.kind, command.command_id, command.product_id, command.quantity, command.as_of, command.order_id)
        if fault is not None:
            self.dead.add(record, index, DeadLetterReason.INVALID_COMMAND, fault, item=self._alone(command, actor))
            return
        product = self.rows.find(command.product_id)
        if product is None:
            home = product_partition(command.product_id, self.place.partitions)
            if home != self.place.partition:
                self._forward(STOCK_COMMANDS, home, command.product_id, self._alone(command, actor))
                return
            product = Product(command.product_id)
        fault = _impossible(product, command)
        if fault is not None:
            self.dead.add(record, index, DeadLetterReason.INVALID_COMMAND, fault, command.order_id or None, item=self._alone(command, actor))
            return
        self._carry_out(record, index, product, command, actor)

    def _carry_out(self, record: Record, index: int, product: Product, command: Command, actor: str) -> None:
        before = product.version
        refusal = stock.carry_out(product, command, self.now)
        if refusal is None:
            return
        if product.version != before:
            self.rows.put(product)
        p = product
        levels = (p.available, p.reserved, p.shipped, p.received, p.written_off, p.returned, p.version)
        asked = (command.kind, command.command_id, command.order_id, command.line, command.product_id, command.quantity, refusal)
        self.rows.move((*asked, *levels, record.offset, index, actor))

    def _alone(self, command: Command, actor: str) -> bytes:
        """Return one item of a columnar record as a record of its own."""
        columns = {name: [getattr(command, name)] for name in ("command_id", "order_id", "line", "product_id", "quantity", "as_of")}
        return codec.encode("StockCommands", {**columns, "kind": bytes((command.kind,)), "issued_at": self.now, "actor": actor})

    # -- what is written -----------------------------------------------------------------------------------------------

    def writes(self) -> list[Write]:
        return [
            *(Write(STOCK_DECISIONS, partition, None, value) for partition, value in self.rows.answers()),
            *(Write(STOCK_DECISIONS, self.place.partition, None, value) for value in self.rows.movements()),
            *self.forwarded,
            *self.dead.writes(self.now),
            *self._changed(),
        ]

    def _changed(self) -> list[Write]:
        changed, here, new = self.rows.changed(), self.place.partition, Write._make  # of a million products each order changes another
        return [*[new((STOCK_STATE, here, key, row)) for key, row, _ in changed], *[new((STOCK_LEVELS, here, key, level)) for key, _, level in changed]]


def _impossible(product: Product, command: Command) -> str | None:
    """Return why a saga's command cannot be from the orders agent, which never moves more units than an order holds."""
    if command.kind == StockCommandKind.RETURN and product.returned + command.quantity > product.shipped:
        return f"RETURN of {command.quantity} units of {product.product_id}: {product.shipped} were shipped, {product.returned} came back"
    if command.kind in _FROM_RESERVED and command.quantity > product.reserved:
        return f"{StockCommandKind(command.kind).name} of {command.quantity} units of {product.product_id}, of which {product.reserved} are reserved"
    return None


_FROM_RESERVED: Final = frozenset({StockCommandKind.RELEASE, StockCommandKind.SHIP})
_NOTHING: Final = Product("")

STOCK: Final = StageKind("stock", (ORDERS, STOCK_COMMANDS), STOCK_STATE, StockStage, voice=STOCK_LEVELS)
