"""The orders stage: answers, commands, payment results and deadlines in; the saga's next steps and outcomes out."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, Final

from schemas import codec
from schemas.outcomes import MAX_ACTOR_LENGTH, DeadLetterReason, OrderCommandKind, OrderStatus, OutcomeChange
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, ORDER_STATE, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS, Topic
from streams.domain import order as saga
from streams.domain.order import AskPayment, Deadline, Event, GiveUp, LineAnswer, MoveStock, Order, OrderCommand, PaymentAnswer, Publish, RefuseCommand
from streams.runtime.records import DecidesAlone, Place, Record, StageKind, Write
from streams.stages import foreign, plain_way
from streams.stages.outbox import Columns, DeadLetters, decode_or_give_up
from streams.stages.retention import Retention
from streams.stages.rows import Rows, second_field
from streams.stages.tally import Tally

ANSWER: Final = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "currency", "user_id", "payment_token", "placed_at", "refusal")
RESULT: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "result", "reason")
COMMAND: Final = ("kind", "command_id", "order_id", "line", "quantity")
MOVE_COLUMNS: Final = ("kind", "command_id", "order_id", "line", "product_id", "quantity", "as_of")
REQUEST_COLUMNS: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "payment_token", "user_id")
ACTOR: Final = "orders"
HOT_ROWS: Final = 20_000
"""So many rows of a task stay objects: about as many orders as are under way between two of its stages under load."""
SPARE_DEADLINES: Final = 4_096
_answers_of, _results_of, _commands_of = itemgetter(*ANSWER), itemgetter(*RESULT), itemgetter(*COMMAND)
_encode_row, _encode_outcome = codec.encoder("OrderRow"), codec.encoder("OrderOutcome")
_TOPICS: Final = {t.name: t for t in (STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS)}


class OrdersStage(DecidesAlone):
    """One row per order of this partition, and the deadlines of the undecided ones."""

    def __init__(self, place: Place, timeout: int, retention: int = 0) -> None:
        self.rows: Rows[int, Order] = Rows(b"%d".__mod__, int, lambda value: saga.from_row(codec.decode(value).value))
        self.place = place
        self.timeout = timeout
        self.retention = Retention(retention)
        self.tally = Tally()
        self.open: dict[int, int] = {}
        """Order ID -> deadline, of the undecided."""
        self.deadlines: list[tuple[int, int]] = []
        """A heap of (deadline, order ID); those that `open` does not know any more count for nothing."""
        self.way = plain_way.for_orders(self)

    def restore(self, rows: dict[bytes, bytes]) -> None:
        """Take the rows; only orders that are still undecided are looked at now, for their deadlines."""
        undecided = [int(key) for key, value in rows.items() if second_field(value) < OrderStatus.CONFIRMED]
        self.retention.recover(int(key) for key in rows)
        self.rows.recover(rows)
        for order_id in undecided:
            order = self.rows.find(order_id)
            assert order is not None
            self.watch(order_id, saga.due(order))

    def watch(self, order_id: int, due: int) -> None:
        """Remember an order's deadline while one counts (`due` over 0)."""
        if not due:
            self.open.pop(order_id, None)
        elif order_id not in self.open:
            self.open[order_id] = due
            heapq.heappush(self.deadlines, (due, order_id))

    def is_due(self, now: int) -> bool:
        """Whether a deadline that still counts has passed; those of decided orders are forgotten on the way."""
        while self.deadlines and self.deadlines[0][0] <= now:
            due, order_id = self.deadlines[0]
            if self.open.get(order_id) == due:
                return True
            heapq.heappop(self.deadlines)
        return self.retention.is_due(now)

    def committed(self) -> None:
        """Keep memory in bounds: what is decided needs no deadline, and what was not touched lately need not be an object."""
        if len(self.deadlines) > 2 * len(self.open) + SPARE_DEADLINES:
            self.deadlines = [(due, order_id) for order_id, due in self.open.items()]
            heapq.heapify(self.deadlines)
        self.tally.count()
        self.rows.cool(HOT_ROWS, _row_bytes)

    def expire(self, now: int) -> list[Write]:
        batch = _OrdersBatch(self, now)
        while self.is_due(now) and self.deadlines and self.deadlines[0][0] <= now:
            _, order_id = heapq.heappop(self.deadlines)
            del self.open[order_id]
            batch.event(_TIMER, 0, order_id, Deadline(order_id))
        for order_id in self.retention.due(now):
            batch.consider(order_id)
        return batch.writes()

    def decide(self, records: Sequence[Record], now: int) -> list[Write]:
        batch = _OrdersBatch(self, now)
        for record in records:
            if not self.way.take(record):
                batch.take(record)
        return batch.writes()


_TIMER: Final = Record("timer", -1, -1, None, None)
_TAKERS: Final = {
    **{"StockDecisions": "_take_answers", "StockMovements": "_take_movements", "PaymentResults": "_take_results"},
    **{"OrderCommand": "_take_command", "OrderCommands": "_take_commands", "ImportedOrder": "_take_import"},
}
_DOERS: Final = {
    **{MoveStock: "_move_stock", AskPayment: "_ask_payment", Publish: "_say"},
    **{saga.PublishImport: "_say_import", RefuseCommand: "_refuse"},
}
"""By name: a batch that held its own methods would be there until Python's collector comes by, and its stage with it."""


class _OrdersBatch:
    """One batch under way: the rows, what follows from them, which orders changed."""

    def __init__(self, stage: OrdersStage, now: int) -> None:
        self.stage = stage
        self.place = stage.place
        self.now = now
        self.touched: set[int] = set()
        self.amended: dict[int, None] = {}
        self.dead = DeadLetters("orders")
        self.moves = Columns(STOCK_COMMANDS, "StockCommands", MOVE_COLUMNS, ("kind",))
        self.requests = Columns(PAYMENT_REQUESTS, "PaymentRequests", REQUEST_COLUMNS, ("kind",))
        self.outcomes: list[Write] = []
        stage.way.begin(self, now)

    def take(self, record: Record) -> None:
        decoded = decode_or_give_up(record, _TOPICS[record.topic], self.dead)
        if decoded is None:
            return
        fault = foreign.fault_of(decoded.name, decoded.value, self.place)
        if fault is not None:
            self.dead.add(record, -1, DeadLetterReason.FOREIGN_RECORD, f"no stage writes such a {decoded.name}: {fault}")
        else:
            getattr(self, _TAKERS[decoded.name])(record, decoded.value)

    # -- events --------------------------------------------------------------------------------------------------------

    def _take_answers(self, record: Record, value: dict[str, Any]) -> None:
        self.stage.tally.answered(value["refusal"])
        for index, answer in enumerate(map(LineAnswer._make, zip(*_answers_of(value), strict=True))):
            self.event(record, index, answer.order_id, answer)

    def _take_movements(self, _: Record, value: dict[str, Any]) -> None:
        self.stage.tally.moved(value["refusal"])  # for others, but for their figures

    def _take_results(self, record: Record, value: dict[str, Any]) -> None:
        for index, answer in enumerate(map(PaymentAnswer._make, zip(*_results_of(value), strict=True))):
            self.event(record, index, answer.order_id, answer)

    def _take_command(self, record: Record, value: dict[str, Any]) -> None:
        command = OrderCommand(
            OrderCommandKind[value["kind"]], value["command_id"], value["order_id"], value["line"], value["quantity"], value["actor"][:MAX_ACTOR_LENGTH]
        )
        self.command(record, 0, command)

    def _take_commands(self, record: Record, value: dict[str, Any]) -> None:
        actor = value["actor"][:MAX_ACTOR_LENGTH]
        for index, fields in enumerate(zip(*_commands_of(value), strict=True)):
            self.command(record, index, OrderCommand(*(*fields, actor)))

    def _take_import(self, record: Record, value: dict[str, Any]) -> None:
        imported = saga.import_of(value)
        fault = saga.check_import(imported)
        home = order_partition(imported.order_id, self.place.partitions)
        if fault is not None:
            self.dead.add(record, 0, DeadLetterReason.INVALID_COMMAND, fault, max(imported.order_id, 0) or None)
        elif home != self.place.partition:
            self.outcomes.append(Write(ORDER_COMMANDS, home, b"%d" % imported.order_id, codec.encode("ImportedOrder", value)))
        else:
            self.event(record, 0, imported.order_id, imported)

    def command(self, record: Record, index: int, command: OrderCommand) -> None:
        fault = saga.check_order_command(*command[:-1])
        if fault is not None:
            self.dead.add(record, index, DeadLetterReason.INVALID_COMMAND, fault, item=self._alone(command))
            return
        home = order_partition(command.order_id, self.place.partitions)
        if home != self.place.partition:
            self._forward(home, command)
            return
        self.event(record, index, command.order_id, command)

    def _forward(self, home: int, command: OrderCommand) -> None:
        """Send a command that a foreign partitioner put here to its order's own partition."""
        value = self._alone(command)
        if command.kind != OrderCommandKind.RESTATE:
            value = codec.encode("OrderCommand", {**command._asdict(), "kind": OrderCommandKind(command.kind).name, "issued_at": self.now})
        self.outcomes.append(Write(ORDER_COMMANDS, home, b"%d" % command.order_id, value))

    def _alone(self, event: Event) -> bytes | None:
        """Return one item of a columnar record as a record of its own; None for what is kept with its whole record."""
        if isinstance(event, LineAnswer):
            return codec.encode("OrderLine", event._asdict())
        if isinstance(event, OrderCommand):
            columns = {name: [getattr(event, name)] for name in ("command_id", "order_id", "line", "quantity")}
            return codec.encode("OrderCommands", {**columns, "kind": bytes((event.kind,)), "issued_at": self.now, "actor": event.actor})
        return None

    def event(self, record: Record, index: int, order_id: int, event: Event) -> None:
        """Decide one event and carry out its effects, in order."""
        self.stage.way.leave(order_id)
        before = self.stage.rows.find(order_id)
        order, effects = saga.decide(before, event, self.now, self.stage.timeout, self.stage.retention.ms)
        self._keep(order_id, before, order)
        for effect in effects:
            if isinstance(effect, GiveUp):
                self.dead.add(record, index, effect.reason, effect.detail, effect.order_id, item=self._alone(event))
            else:
                getattr(self, _DOERS[type(effect)])(order_id, effect)

    def consider(self, order_id: int) -> None:
        """Forget a row whose order is over for long enough; look again later at any other."""
        retention, order = self.stage.retention, self.stage.rows.find(order_id)
        if order is None:
            return
        due = saga.forgotten_at(order, retention.ms) if saga.is_over(order) else retention.wait(self.now)
        if due > self.now:
            retention.later(order_id, due)
        else:
            self._ask_payment(order_id, saga.farewell(order))
            self._keep(order_id, order, None)

    def _keep(self, order_id: int, before: Order | None, order: Order | None) -> None:
        if order is not None:
            if before is None:
                self.stage.rows[order_id] = order
                self.stage.retention.note(order_id)
            self.touched.add(order_id)
            self.stage.watch(order_id, order.deadline)
        elif before is not None:
            del self.stage.rows[order_id]
            self.touched.add(order_id)
            self.stage.watch(order_id, 0)

    # -- effects -------------------------------------------------------------------------------------------------------

    def _move_stock(self, order_id: int, move: MoveStock) -> None:
        home = product_partition(move.product_id, self.place.partitions)
        self.moves.items[home].append((move.kind, "", order_id, move.line, move.product_id, move.quantity, 0))

    def _ask_payment(self, _order_id: int, ask: AskPayment) -> None:
        self.requests.items[self.place.partition].append(tuple(ask))

    def _say(self, order_id: int, publish: Publish) -> None:
        if publish.change is OutcomeChange.AMENDED:
            self.amended[order_id] = None  # said once per batch, with all that changed
        else:
            self._publish(order_id, publish.change)

    def _say_import(self, order_id: int, publish: saga.PublishImport) -> None:
        self._outcome(order_id, codec.encode("OrderOutcome", saga.outcome_of(publish.imported)))

    def _refuse(self, order_id: int, refuse: RefuseCommand) -> None:
        self.stage.tally.refused[refuse.refusal.name] += 1
        self._outcome(order_id, codec.encode("OrderCommandRefused", saga.refused(refuse.command, refuse.refusal, self.now)))

    def _publish(self, order_id: int, change: OutcomeChange) -> None:
        outcome = saga.publish(self.stage.rows[order_id], change, self.now)
        if change is OutcomeChange.DECIDED:
            self.stage.tally.decided(outcome)
        self._outcome(order_id, _encode_outcome(outcome))

    def _outcome(self, order_id: int, value: bytes) -> None:
        self.outcomes.append(Write(ORDER_OUTCOMES, self.place.partition, b"%d" % order_id, value))

    # -- what is written -----------------------------------------------------------------------------------------------

    def writes(self) -> list[Write]:
        for order_id in self.amended:
            if not self.stage.way.amend(order_id):
                self._publish(order_id, OutcomeChange.AMENDED)
        return [
            *self.moves.writes({"issued_at": self.now, "actor": ACTOR}),
            *self.requests.writes({"requested_at": self.now}),
            *self.outcomes,
            *self.dead.writes(self.now),
            *self.stage.way.changed(self.touched),
        ]

    def changed(self, order_id: int) -> Write:
        return Write(ORDER_STATE, self.place.partition, b"%d" % order_id, self.stage.rows.written(order_id, _row_bytes))


def _row_bytes(order: Order) -> bytes:
    return _encode_row(saga.to_row(order))


def orders_kind(timeout: int, retention: int = 0) -> StageKind:
    """Return the orders stage; `timeout` in ms is how long an order may stay undecided, `retention` how long its row is kept (0: for ever)."""
    inputs: tuple[Topic, ...] = (STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS)
    return StageKind("orders", inputs, ORDER_STATE, lambda place: OrdersStage(place, timeout, retention), voice=ORDER_OUTCOMES, forgets=True)
