"""A whole Holdfast in one process: the three domains over in-memory queues, stepped in any order, held against the model.

Kafka keeps the order of one producer's records within a partition; all else may come in any order, and what producers
outside send may come twice. So: queues between the stages are first in, first out, each product and each order on a
partition of its own (fewer partitions only allow less); the edges are pools; every worker's clock may be hours off.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from schemas.codec import decode, encode
from schemas.outcomes import DECISIONS, OrderStatus, Refusal, StockCommandKind
from streams.domain import order as saga
from streams.domain import payment, stock
from streams.domain.order_line import PlainLine, check_line, presentable
from tests.streams.domain import promises
from tests.streams.domain.model import GOODS, Model
from tests.streams.domain.plans import plan_of
from tests.streams.domain.provider import Provider
from tests.streams.domain.tape import Tape

TIMEOUT = 1_000
SKEWS = (0, 0, 0, 3 * TIMEOUT, -3 * TIMEOUT)
"""How far the clock of whoever owns a partition just now is off."""
MOST_STEPS = 1_000
"""Far more than any plan takes: whoever is not at rest by then never will be."""
MAY_FOLLOW = {
    "CONFIRMED": {"CONFIRMED", "SHIPPED"},
    "SHIPPED": {"SHIPPED", "RETURNED"},
    "RETURNED": {"RETURNED"},
    **{status: {status} for status in ("REJECTED", "PAYMENT_FAILED", "EXPIRED", "CANCELLED")},
}


@dataclass
class World:
    """State of all stages, the queues between them, and everything ever said."""

    dice: Tape
    recovers: bool = True
    """Whether each row goes through its changelog record whenever it changes."""
    products: dict[str, stock.Product] = field(default_factory=dict)
    orders: dict[int, saga.Order] = field(default_factory=dict)
    payments: dict[int, payment.Payment] = field(default_factory=dict)
    to_stock: dict[str, list[stock.Command]] = field(default_factory=dict)
    to_orders: dict[str, list[saga.LineAnswer]] = field(default_factory=dict)
    requests: dict[int, list[payment.Request]] = field(default_factory=dict)
    results: dict[int, list[saga.PaymentAnswer]] = field(default_factory=dict)
    outcomes: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    dead: list[saga.GiveUp] = field(default_factory=list)
    moved: Counter[tuple[StockCommandKind, int, int]] = field(default_factory=Counter)
    entered: dict[int, set[PlainLine]] = field(default_factory=dict)
    carried_out: set[tuple[str | int, str]] = field(default_factory=set)
    model: Model = field(default_factory=Model)
    told: list[Any] = field(default_factory=list)
    """Every event, for whoever reads a history that failed."""
    cells: set[tuple[OrderStatus, saga.EventKind]] = field(default_factory=set)
    """Of the transition table: those that were entered."""
    now: int = 1_000_000
    skew: int = 0

    def __post_init__(self) -> None:
        self.plan = plan_of(self.dice)
        self.provider = Provider(self.model)
        for product_id, units in self.plan.opening.items():
            self.products[product_id] = stock.Product(product_id, tracked=units >= 0)
            self.carry_out(stock.Command(StockCommandKind.RESTOCK, "opening", 0, 0, product_id, max(units, 1), 0))
            self.to_stock[product_id] = []
            self.to_orders[product_id] = []

    def recovered(self, record: str, row: Any, domain: Any) -> Any:
        """Return the row as a task that opens would read it back."""
        if not self.recovers:
            return row
        again = domain.from_row(decode(encode(record, domain.to_row(row))).value)
        assert again == row
        return again

    # -- choosing ------------------------------------------------------------------------------------------------------

    def choose(self, options: int) -> int:
        return self.dice.randint(0, options - 1)

    def run(self) -> None:
        """Step as the dice fall until all is at rest, all deadlines included."""
        for _ in range(MOST_STEPS):
            if not self.step():
                if not self.undecided():
                    break
                self.pass_time(TIMEOUT)
        promises.check_rest(self)

    def undecided(self) -> bool:
        return any(saga.due(order) for order in self.orders.values())

    def ready(self) -> list[tuple[Any, ...]]:
        inside = self.ready_inside()
        if not inside and not self.plan.order_commands and self.plan.late:
            return [(self.take_line, self.plan.late)]
        # Commands about orders come slowly, or most of them would find no order yet.
        slow = self.plan.order_commands and (not inside or self.choose(4) == 0)
        return [*inside, *([(self.take_order_command,)] if slow else [])]

    def ready_inside(self) -> list[tuple[Any, ...]]:
        return [
            *([(self.take_line, self.plan.lines)] if self.plan.lines else []),
            *([(self.take_operator,)] if self.plan.stock_commands else []),
            *((self.take_stock_command, p) for p, queue in self.to_stock.items() if queue),
            *((self.take_answer, p) for p, queue in self.to_orders.items() if queue),
            *((self.take_request, o) for o, queue in self.requests.items() if queue),
            *((self.hear_provider, o) for o, row in self.payments.items() if row.pending),
            *((self.take_result, o) for o, queue in self.results.items() if queue),
        ]

    def step(self) -> bool:
        options = self.ready()
        if not options:
            return False
        chance = self.choose(16)
        if chance == 15:
            self.pass_time(TIMEOUT // 2)
        elif chance == 14:
            self.skew = self.dice.choice(SKEWS)
        else:
            act, *args = options[self.choose(len(options))]
            act(*args)
        self.now += 1
        promises.check_step(self)
        return True

    def pass_time(self, by: int) -> None:
        """Let time pass and every deadline ring, also those that are early or count no more."""
        self.now += by
        for order_id in list(self.orders):
            self.tell(saga.Deadline(order_id))
        promises.check_step(self)

    # -- the stock stage -----------------------------------------------------------------------------------------------

    def take_line(self, pool: list[PlainLine]) -> None:
        line = pool.pop(self.choose(len(pool)))
        refusal = check_line(*line)
        self.told.append((self.clock(), line))
        if refusal is Refusal.INVALID_ORDER_ID:
            return
        self.entered.setdefault(line.order_id, set()).add(line)
        product = self.products[line.product_id]
        if refusal is Refusal.NONE:
            refusal = self.hold(product, line.quantity)
        self.to_orders[line.product_id].append(saga.LineAnswer(*presentable(line), int(refusal)))

    def hold(self, product: stock.Product, quantity: int) -> Refusal:
        refusal = stock.decide_hold(product, quantity)
        if refusal is Refusal.NONE:
            stock.evolve_hold(product, quantity)
        if not product.frozen:
            granted = self.model.move("HOLD", product.product_id, quantity, service=not product.tracked)
            assert granted == (refusal is Refusal.NONE), "I4: refused what was there" if granted else "I1: sold what was not there"
        self.compare(product)
        return refusal

    def compare(self, product: stock.Product) -> None:
        numbers = [product.available, product.reserved, product.shipped]
        assert numbers == self.model.shelves[product.product_id], f"I1: {product.product_id} has {numbers}, not {self.model.shelves[product.product_id]}"

    def take_operator(self) -> None:
        command = self.plan.stock_commands.pop(self.choose(len(self.plan.stock_commands)))
        self.carry_out(command._replace(as_of=self.clock() - self.choose(20) if command.kind is StockCommandKind.COUNT else 0))

    def take_stock_command(self, product_id: str) -> None:
        command = self.to_stock[product_id].pop(0)
        self.moved[command.kind, command.order_id, command.line] += command.quantity
        assert self.carry_out(command) is Refusal.NONE

    def carry_out(self, command: stock.Command) -> Refusal | None:
        assert stock.check_command(*(getattr(command, name) for name in ("kind", "command_id", "product_id", "quantity", "as_of", "order_id"))) is None
        product = self.products[command.product_id]
        self.told.append((self.clock(), command))
        version, available, service = product.version, product.available, not product.tracked
        refusal = stock.carry_out(product, command, self.clock())
        done = refusal in {Refusal.NONE, Refusal.COUNT_BELOW_RESERVED}
        assert product.version == version + done
        if done and command.command_id:
            self.once(command.product_id, command.command_id)
        if refusal is not None:
            self.follow(command, product.available - available, done=done, service=service)
        self.compare(product)
        self.products[command.product_id] = self.recovered("ProductRow", product, stock)
        return refusal

    def follow(self, command: stock.Command, gap: int, *, done: bool, service: bool) -> None:
        """Tell the model; of a COUNT, how far the shelf was off, which only the books know."""
        kind = StockCommandKind(command.kind)
        if kind is StockCommandKind.COUNT:
            self.model.move("FOUND" if gap > 0 else "WRITE_OFF", command.product_id, abs(gap))
        elif kind.name in GOODS:
            moved = self.model.move(kind.name, command.product_id, command.quantity, service=service)
            assert moved == done, f"{kind.name} was {'carried out' if done else 'refused'}"

    def once(self, of: str | int, command_id: str) -> None:
        assert (of, command_id) not in self.carried_out, f"command {command_id} was carried out twice"
        self.carried_out.add((of, command_id))

    # -- the orders stage ----------------------------------------------------------------------------------------------

    def take_answer(self, product_id: str) -> None:
        self.tell(self.to_orders[product_id].pop(0))

    def take_order_command(self) -> None:
        command = self.plan.order_commands.pop(self.choose(len(self.plan.order_commands)))
        if saga.check_order_command(*command[:5]) is None:
            self.tell(command)

    def take_result(self, order_id: int) -> None:
        self.tell(self.results[order_id].pop(0))

    def clock(self) -> int:
        return self.now + self.skew

    def tell(self, event: saga.Event) -> None:
        before, kind, said = self.orders.get(event.order_id), saga.kind_of(event), len(self.outcomes.get(event.order_id, ()))
        self.told.append((self.clock(), event))
        self.cells.add((before.status if before else OrderStatus.UNKNOWN, kind))
        order, effects = saga.decide(before, event, self.clock(), TIMEOUT)
        if isinstance(event, saga.OrderCommand) and any(isinstance(effect, saga.Publish) for effect in effects):
            self.once(event.order_id, event.command_id)
        for effect in effects:
            self.do(order, effect)
        self.orders.pop(event.order_id, None)
        if order is not None:
            self.orders[order.order_id] = self.recovered("OrderRow", order, saga)
        new = self.outcomes.get(event.order_id, [])[said:]
        self.model.hear(event.order_id, kind, "".join(outcome["status"] for outcome in new if outcome["change"] == "DECIDED"))

    def do(self, order: saga.Order | None, effect: saga.Effect) -> None:
        match effect:
            case saga.MoveStock():
                self.to_stock[effect.product_id].append(stock.Command(effect.kind, "", effect.order_id, effect.line, effect.product_id, effect.quantity, 0))
            case saga.AskPayment():
                self.requests.setdefault(effect.order_id, []).extend([payment.Request(*effect)] * (1 + (self.choose(8) == 7)))
            case saga.Publish():
                assert order is not None
                self.said(saga.publish(order, effect.change, self.clock()))
            case saga.RefuseCommand():
                self.refusals.append(decode(encode("OrderCommandRefused", saga.refused(effect.command, effect.refusal, self.clock()))).value)
            case saga.GiveUp():
                self.dead.append(effect)

    def said(self, outcome: dict[str, Any]) -> None:
        """Check one published outcome against those before it (I2, I3, I7)."""
        assert not self.recovers or decode(encode("OrderOutcome", outcome)).value == outcome
        earlier = self.outcomes.setdefault(outcome["order_id"], [])
        assert outcome["version"] == len(earlier) + 1, "a hole in the versions"
        assert (outcome["change"] == "DECIDED") == (not earlier), "I2: decided not at all, or twice"
        if earlier:
            assert outcome["status"] in MAY_FOLLOW[earlier[-1]["status"]], "I2: off the transition table"
        else:
            assert OrderStatus[outcome["status"]] in DECISIONS
            assert (outcome["status"] == "CONFIRMED") == (outcome["refusal"] == "")
        if outcome["status"] == "CONFIRMED" and not earlier:
            assert [line["line"] for line in outcome["lines"]] == list(range(1, outcome["line_count"] + 1)), "I3: confirmed without a line"
            assert {line["status"] for line in outcome["lines"]} == {"HELD"}, "I3: confirmed without its goods"
            assert outcome["charged"] == outcome["amount"], "I7: confirmed without its money"
        earlier.append(outcome)

    # -- the payments stage --------------------------------------------------------------------------------------------

    def take_request(self, order_id: int) -> None:
        request = self.requests[order_id].pop(0)
        row = self.payments.get(order_id)
        assert payment.contradiction(row, request) is None
        answer = payment.answered(row, request)
        if answer is None and not (row and row.pending) and self.choose(2) == 0:
            answer = self.provider.ask(request)
            row = payment.record(row, request, answer)
        if answer is None:
            row = payment.wait(row, payment.Pending(request, self.clock(), 0, 0))
        else:
            self.answer(request, answer)
        if row is not None:
            self.payments[order_id] = self.recovered("PaymentRow", row, payment)

    def hear_provider(self, order_id: int) -> None:
        """What the provider did not say at once it says later, perhaps to somebody who asked before and was not told."""
        row = self.payments[order_id]
        request = row.first_pending().request
        doubtful = self.choose(3) == 2
        answer = self.provider.ask(request, takes=doubtful and self.choose(2) == 1)
        for settled, said in payment.settle(row, request, answer, doubtful=doubtful):
            self.answer(settled, said)
        self.payments[order_id] = self.recovered("PaymentRow", row, payment)

    def answer(self, request: payment.Request, answer: payment.Answer) -> None:
        result = saga.PaymentAnswer(*request[:6], answer.result, answer.reason)
        self.results.setdefault(request.order_id, []).extend([result] * (1 + (self.choose(8) == 7)))
