"""The agents' own stages in one process over a queue of what was on the tape: each thing is taken when it was taken live. Pure.

What follows from it inside (releases, charges, shipments) is taken when its like was taken live, and what had no like, at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, Final

from holdfast.shadow.queue import LATE, Queue
from holdfast.shadow.rules import DROP_LINES, Rules
from holdfast.shadow.tape import AMONG, COMMAND, LINE, MOVE, ORDERS_AGENT, Asked, Hold, Move, Place, Tape, one_of
from schemas import codec
from schemas.outcomes import MAX_ITEMS, OrderCommandKind, PaymentKind, PaymentResult, StockCommandKind
from schemas.partitions import product_partition
from schemas.topics import ORDER_COMMANDS, ORDERS, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS
from streams.domain.payment import Answer, Request
from streams.payments.sandbox import Sandbox, SandboxDesk
from streams.runtime.records import Place as At
from streams.runtime.records import Record, StageKind, Write
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK

TOO_OLD: Final = "ORDER_TOO_OLD"
RESULT: Final = ("kind", "order_id", "attempt", "sequence", "amount", "currency", "result", "reason")


class Recorded:
    """The payments' provider: says again what was said, and has the sandbox say what was not. Moves no money."""

    def __init__(self, tape: Tape, rules: Rules) -> None:
        self._tape = tape
        self._rules = rules
        self._sandbox = Sandbox(rules.decline_rate or 0.0)

    def ask(self, requests: Sequence[Request]) -> Sequence[Answer | None]:
        """See Provider."""
        return [self._answer(request) for request in requests]

    def desk(self) -> SandboxDesk:
        return self._sandbox.desk()

    def _answer(self, request: Request) -> Answer | None:
        is_other = self._rules.decline_rate is not None and self._rules.counts(self._tape.first_at.get(request.order_id, 0))
        said = None if is_other else self._tape.paid.get((request.order_id, request.attempt, request.sequence))
        return Answer(PaymentResult(said[0]), said[1]) if said else self._sandbox.ask([request])[0]


class World:
    """`emit` is given each batch's writes."""

    def __init__(self, tape: Tape, rules: Rules, emit: Callable[[Sequence[Write]], None]) -> None:
        self._tape = tape
        self._rules = rules
        self._emit = emit
        self._now = 0
        self._taken = 0
        kinds = (STOCK, *_kinds(Recorded(tape, rules), rules))
        numbers = range(tape.partitions)
        self._stages = {(kind.name, p): kind.new(At(p, tape.partitions)) for kind in kinds for p in numbers}
        self._kinds: Mapping[str, StageKind] = {kind.name: kind for kind in kinds}
        self._queues = {(topic.name, p): Queue() for topic in (ORDERS, STOCK_DECISIONS, ORDER_COMMANDS, PAYMENT_RESULTS, PAYMENT_REQUESTS) for p in numbers}
        self._wakes = Queue()
        self._late_lines: set[tuple[int, int]] = set()
        """Lines that are held, of which the orders agent is to hear later."""
        self._parked: defaultdict[int, dict[int, tuple[int, bytes, bool]]] = defaultdict(dict)
        self._fill()

    @property
    def taken(self) -> int:
        """Lines and commands from outside that have been taken."""
        return self._taken

    def run(self) -> Iterator[int]:
        """Take everything there is; yields the time reached (ms) after each step."""
        while (at := min(queue.next_at() for queue in (*self._queues.values(), self._wakes))) < LATE:
            self._now = max(self._now, at)
            self._wakes.take(self._now)
            while self._turn():
                pass
            yield self._now

    # -- what is on the tape ---------------------------------------------------------------------------------------------

    def _fill(self) -> None:
        tape = self._tape
        for partition in list(tape.stock):
            for place, item in self._by_rule(tape.stock.pop(partition)):
                self._queues[ORDERS.name, partition].put(place, item)
        for (at, rank), partition, value in tape.invalid:
            (order_id,) = codec.decode(value).value["order_id"]
            self._queues[STOCK_DECISIONS.name, partition].put((self._answer_at(order_id, 1, at), rank), value)
        ended = [decided_at for status, decided_at in tape.decided.values() if status == "EXPIRED"]
        for at in (*ended, *(at - (why == TOO_OLD) for refused in tape.refused.values() for at, why in refused)):
            self._wakes.put(at, None)
        self._wakes.put(tape.end_at, None)
        for partition, commands in tape.commands.items():
            for asked in commands:
                self._queues[ORDER_COMMANDS.name, partition].put(tape.command_at(asked), asked)

    def _by_rule(self, items: Iterable[tuple[Place, Hold | Move]]) -> Iterator[tuple[Place, Hold | Move]]:
        """Yield what came in, with each product's opening stock as the rules have it."""
        opened: set[str] = set()
        for place, item in items:
            if self._rules.opening_stock is None or not self._is_opening(place, item):
                yield place, item
            elif isinstance(item, Move) and item.product_id not in opened:
                opened.add(item.product_id)
                if units := self._rules.opening_units(self._tape.demand[item.product_id]):
                    yield place, item._replace(quantity=units)

    def _is_opening(self, place: Place, item: Hold | Move) -> bool:
        """A restock before anybody asked for the product."""
        return isinstance(item, Move) and item.kind == StockCommandKind.RESTOCK and place < self._tape.opened.get(item.product_id, (LATE, 0, False, 0))

    # -- one step --------------------------------------------------------------------------------------------------------

    def _turn(self) -> bool:
        """Let every task take what is there by now; return whether any had something."""
        had = False
        for partition in range(self._tape.partitions):
            had |= self._decide("stock", partition, self._stock_records(partition))
        for partition in range(self._tape.partitions):
            had |= self._decide("orders", partition, self._order_records(partition))
            requests = [Record(PAYMENT_REQUESTS.name, partition, 0, None, value) for value in self._take(PAYMENT_REQUESTS.name, partition)]
            had |= self._decide("payments", partition, requests)
        return had

    def _decide(self, stage: str, partition: int, records: Sequence[Record]) -> bool:
        task = self._stages[stage, partition]
        is_due = task.is_due(self._now)
        if not records and not is_due:
            return False
        writes = task.decide(records, self._now) if records else []
        if task.is_due(self._now):
            writes += task.expire(self._now)
        task.committed()
        self._emit(writes)
        for write in writes:
            self._route(partition, write)
        return True

    def _take(self, topic: str, partition: int) -> list[Any]:
        return self._queues[topic, partition].take(self._now)

    def _stock_records(self, partition: int) -> list[Record]:
        items = self._take(ORDERS.name, partition)
        self._taken += len(items)
        return [self._stock_record(partition, key, some) for key, run in groupby(items, _run_key) for some in _cut(list(run))]

    def _stock_record(self, partition: int, key: str | None, run: Sequence[Hold | Move]) -> Record:
        if key is None:
            columns = dict(zip(LINE, zip(*(item.line for item in run if isinstance(item, Hold)), strict=True), strict=True))
            return Record(ORDERS.name, partition, 0, None, codec.encode("OrderLines", columns))
        values: dict[str, Any] = {name: [getattr(item, name) for item in run] for name in (*MOVE, "as_of")}
        values |= {"kind": bytes(values["kind"]), "issued_at": self._now, "actor": key}
        return Record(STOCK_COMMANDS.name, partition, 0, None, codec.encode("StockCommands", values))

    def _order_records(self, partition: int) -> list[Record]:
        found = [Record(STOCK_DECISIONS.name, partition, 0, None, value) for value in self._take(STOCK_DECISIONS.name, partition)]
        for results in _cut(self._take(PAYMENT_RESULTS.name, partition)):
            columns: dict[str, Any] = dict(zip(RESULT, zip(*results, strict=True), strict=True))
            columns |= {"kind": bytes(columns["kind"]), "result": bytes(columns["result"]), "answered_at": self._now}
            found.append(Record(PAYMENT_RESULTS.name, partition, 0, None, codec.encode("PaymentResults", columns)))
        for asked in self._take(ORDER_COMMANDS.name, partition):
            self._taken += 1
            found.append(Record(ORDER_COMMANDS.name, partition, 0, None, _command(asked)))
        return found

    # -- what follows ----------------------------------------------------------------------------------------------------

    def _route(self, partition: int, write: Write) -> None:
        name, value = write.topic.name, write.value
        if name == PAYMENT_REQUESTS.name:
            self._queues[name, write.partition].put(self._now, value)
        elif name in {STOCK_DECISIONS.name, STOCK_COMMANDS.name, PAYMENT_RESULTS.name}:
            record = codec.decode(value)
            if record.name == "StockDecisions":
                self._answer(write.partition, value or b"", record.value)
            elif record.name == "StockCommands":
                self._move(write.partition, record.value)
            elif record.name == "PaymentResults":
                self._pay(partition, record.value)

    def _answer(self, partition: int, whole: bytes, value: Mapping[str, Any]) -> None:
        """Give lines' answers to the orders agent: at once, but to an order that was cancelled or expired first, after that."""
        numbers = range(len(value["order_id"]))
        at = [self._answer_at(value["order_id"][n], value["refusal"][n], self._now) for n in numbers]
        queue = self._queues[STOCK_DECISIONS.name, partition]
        if self._rules.refusal_policy == DROP_LINES:
            for number in numbers:
                self._park(partition, value, number)
        elif all(when == self._now for when in at):
            queue.put((self._now, AMONG), whole)
        else:
            for number in numbers:
                if at[number] == self._now or value["refusal"][number] or not self._release_copy(value, number, at[number]):
                    queue.put((at[number], AMONG), one_of(value, [number]))

    def _release_copy(self, value: Mapping[str, Any], number: int, heard_at: int) -> bool:
        """Give back what was held for the copy of a line when it was given back live, if that was before the orders agent is to hear of it; return whether."""
        order_id, line = value["order_id"][number], value["line"][number]
        if (order_id, line) not in self._late_lines:
            self._late_lines.add((order_id, line))
            return False
        places = self._tape.inner.get((StockCommandKind.RELEASE, order_id, line), [])
        if not places or places[-1][0] >= heard_at:
            return False
        move = Move(StockCommandKind.RELEASE, "", order_id, line, value["product_id"][number], value["quantity"][number], 0, ORDERS_AGENT)
        partition = product_partition(move.product_id, self._tape.partitions)
        self._queues[ORDERS.name, partition].put(max(places.pop(), (self._now, 0, False, 0)), move)
        return True

    def _answer_at(self, order_id: int, refusal: int, now: int) -> int:
        """Return when the orders agent is to hear of a line: not before the cancellation that came first, nor so early that its time would be over too soon."""
        status, decided_at = self._tape.decided.get(order_id, ("", 0))
        if (unknown := self._tape.unknown_until.get(order_id, LATE)) <= decided_at:
            now = max(now, min(unknown + 1, decided_at))
        was_charged = (order_id, 1, 0) in self._tape.paid
        if (status == "CANCELLED" and not was_charged) or (refusal and status == "EXPIRED"):
            return max(now, decided_at + 1)
        if status == "EXPIRED" and was_charged:  # its time was over only after it had asked for the charge
            return max(now, decided_at - self._rules.order_timeout)
        return now if not status or status == "EXPIRED" else max(now, decided_at - self._rules.order_timeout + 1)

    def _park(self, partition: int, value: Mapping[str, Any], number: int) -> None:
        """Policy drop-lines: an order's answers wait for each other; then only the held lines are its lines."""
        order_id, line, count, refusal = (value[c][number] for c in ("order_id", "line", "line_count", "refusal"))
        queue = self._queues[STOCK_DECISIONS.name, partition]
        parked = self._parked[order_id]
        if not self._rules.counts(self._tape.first_at.get(order_id, 0)) or line in parked:
            queue.put((self._now, AMONG), one_of(value, [number]))
            return
        parked[line] = (refusal, one_of(value, [number]), bool(refusal))
        if len(parked) < count:
            return
        held = [answer for _, answer, is_refused in parked.values() if not is_refused]
        for answer in held or [answer for _, answer, _ in parked.values()]:
            queue.put((self._now, AMONG), _of_count(answer, len(held)) if held else answer)

    def _move(self, partition: int, value: Mapping[str, Any]) -> None:
        for fields in zip(*(value[c] for c in (*MOVE, "as_of")), strict=True):
            places = self._tape.inner.get((fields[0], fields[2], fields[3]))
            # What had no like live comes before whatever else is then to be taken.
            place = places.pop() if places else (self._now, 0, False, 0)
            self._queues[ORDERS.name, partition].put(max(place, (self._now, 0, False, 0)), Move._make((*fields, value["actor"])))

    def _pay(self, partition: int, value: Mapping[str, Any]) -> None:
        for fields in zip(*(value[c] for c in RESULT), strict=True):
            status, decided_at = self._tape.decided.get(fields[1], ("", 0))
            is_late = status in {"CANCELLED", "EXPIRED"}
            waits = fields[0] == PaymentKind.CHARGE and status in {"CONFIRMED", "PAYMENT_FAILED", "CANCELLED", "EXPIRED"}
            self._queues[PAYMENT_RESULTS.name, partition].put(max(self._now, decided_at + is_late) if waits else self._now, fields)


def _kinds(provider: Recorded, rules: Rules) -> tuple[StageKind, StageKind]:
    """Return the stages of orders and payments; a version of them that knows of no retention is not told of any where there is none."""
    if not rules.order_retention:
        return orders_kind(rules.order_timeout), payments_kind(provider)
    return orders_kind(rules.order_timeout, rules.order_retention), payments_kind(provider, forgets=True)


def _run_key(item: Hold | Move) -> str | None:
    """Lines that follow each other make one record, commands of one actor another."""
    return None if isinstance(item, Hold) else item.actor


def _cut(items: Sequence[Any]) -> Iterator[Sequence[Any]]:
    """Cut items into as many as a record may have: what a live batch took as several records is one run here."""
    for start in range(0, len(items), MAX_ITEMS):
        yield items[start : start + MAX_ITEMS]


def _command(asked: Asked) -> bytes:
    if asked.whole:
        return asked.whole
    value = dict(zip(COMMAND, asked.fields, strict=True))
    return codec.encode("OrderCommand", {**value, "kind": OrderCommandKind(value["kind"]).name, "issued_at": asked.at, "actor": asked.actor})


def _of_count(answer: bytes, count: int) -> bytes:
    value = codec.decode(answer).value
    return codec.encode("StockDecisions", {**value, "line_count": [count] * len(value["line_count"])})
