"""A whole Holdfast in one process: the three domains over in-memory queues, stepped in any order, checked at every step.

Kafka keeps the order of one producer's records within a partition; all else may come in any order, and what producers
outside send may come twice. So: queues between the stages are first in, first out per product or order; the edges are pools.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from random import Random
from typing import Any

from schemas.codec import decode, encode
from schemas.outcomes import DECISIONS, LineStatus, OrderStatus, PaymentResult, Refusal, StockCommandKind
from streams.domain import order as saga
from streams.domain import payment, stock
from streams.domain.order_line import PlainLine, check_line, presentable
from streams.payments.sandbox import Sandbox
from tests.streams.domain.at_rest import check_money, check_order
from tests.streams.domain.plans import plan_of

TIMEOUT = 1_000
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

    dice: Random
    recovers: bool = True
    """Whether each row goes through its changelog record whenever it changes."""
    products: dict[str, stock.Product] = field(default_factory=dict)
    orders: dict[int, saga.Order] = field(default_factory=dict)
    payments: dict[int, payment.Payment] = field(default_factory=dict)
    to_stock: dict[str, list[stock.Command]] = field(default_factory=dict)
    to_orders: dict[str, list[saga.LineAnswer]] = field(default_factory=dict)
    requests: list[payment.Request] = field(default_factory=list)
    results: list[saga.PaymentAnswer] = field(default_factory=list)
    outcomes: dict[int, list[dict[str, Any]]] = field(default_factory=dict)
    refusals: list[dict[str, Any]] = field(default_factory=list)
    dead: list[saga.GiveUp] = field(default_factory=list)
    moved: Counter[tuple[StockCommandKind, int, int]] = field(default_factory=Counter)
    entered: dict[int, set[PlainLine]] = field(default_factory=dict)
    carried_out: set[tuple[str | int, str]] = field(default_factory=set)
    asked: set[tuple[int, ...]] = field(default_factory=set)
    now: int = 1_000_000
    provider: Sandbox = field(default_factory=lambda: Sandbox(0.0))

    def __post_init__(self) -> None:
        self.plan = plan_of(self.dice)
        for product_id, units in self.plan.opening.items():
            product = self.products[product_id] = stock.Product(product_id, tracked=units >= 0)
            stock.carry_out(product, stock.Command(StockCommandKind.RESTOCK, "opening", 0, 0, product_id, max(units, 1), 0), self.now)
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
        self.check_rest()

    def undecided(self) -> bool:
        return any(saga.due(order) for order in self.orders.values())

    def ready(self) -> list[tuple[Any, ...]]:
        inside = self.ready_inside()
        # Commands about orders come slowly, or most of them would find no order yet.
        slow = self.plan.order_commands and (not inside or self.choose(4) == 0)
        return [*inside, *([(self.take_order_command,)] if slow else [])]

    def ready_inside(self) -> list[tuple[Any, ...]]:
        return [
            *([(self.take_line,)] if self.plan.lines else []),
            *([(self.take_operator,)] if self.plan.stock_commands else []),
            *((self.take_stock_command, p) for p, queue in self.to_stock.items() if queue),
            *((self.take_answer, p) for p, queue in self.to_orders.items() if queue),
            *([(self.take_request,)] if self.requests else []),
            *([(self.take_result,)] if self.results else []),
        ]

    def step(self) -> bool:
        options = self.ready()
        if not options:
            return False
        if self.choose(12) == 11:
            self.pass_time(TIMEOUT // 2)
        else:
            act, *args = options[self.choose(len(options))]
            act(*args)
        self.now += 1
        self.check_step()
        return True

    def pass_time(self, by: int) -> None:
        """Let time pass and every deadline ring, also those that are early or count no more."""
        self.now += by
        for order_id in list(self.orders):
            self.tell(saga.Deadline(order_id))
        self.check_step()

    # -- the stock stage -----------------------------------------------------------------------------------------------

    def take_line(self) -> None:
        line = self.plan.lines.pop(self.choose(len(self.plan.lines)))
        refusal = check_line(*line)
        if refusal is Refusal.INVALID_ORDER_ID:
            return
        self.entered.setdefault(line.order_id, set()).add(line)
        product = self.products[line.product_id]
        if refusal is Refusal.NONE:
            refusal = self.hold(product, line.quantity)
        self.to_orders[line.product_id].append(saga.LineAnswer(*presentable(line), int(refusal)))

    def hold(self, product: stock.Product, quantity: int) -> Refusal:
        before = product.available
        refusal = stock.decide_hold(product, quantity)
        if refusal is Refusal.NONE:
            stock.evolve_hold(product, quantity)
            assert not product.tracked or before >= quantity, "I1: sold what was not there"
        else:
            assert product.frozen or before < quantity, "I4: refused what was there"
        return refusal

    def take_operator(self) -> None:
        command = self.plan.stock_commands.pop(self.choose(len(self.plan.stock_commands)))
        self.carry_out(command._replace(as_of=self.now - self.choose(20) if command.kind is StockCommandKind.COUNT else 0))

    def take_stock_command(self, product_id: str) -> None:
        command = self.to_stock[product_id].pop(0)
        self.moved[command.kind, command.order_id, command.line] += command.quantity
        assert self.carry_out(command) is Refusal.NONE

    def carry_out(self, command: stock.Command) -> Refusal | None:
        assert stock.check_command(*(getattr(command, name) for name in ("kind", "command_id", "product_id", "quantity", "as_of", "order_id"))) is None
        product = self.products[command.product_id]
        version = product.version
        refusal = stock.carry_out(product, command, self.now)
        assert product.version == version + (refusal in {Refusal.NONE, Refusal.COUNT_BELOW_RESERVED})
        if product.version > version and command.command_id:
            self.once(command.product_id, command.command_id)
        self.products[command.product_id] = self.recovered("ProductRow", product, stock)
        return refusal

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

    def take_result(self) -> None:
        self.tell(self.results.pop(self.choose(len(self.results))))

    def tell(self, event: saga.Event) -> None:
        order, effects = saga.decide(self.orders.get(event.order_id), event, self.now, TIMEOUT)
        if isinstance(event, saga.OrderCommand) and any(isinstance(effect, saga.Publish) for effect in effects):
            self.once(event.order_id, event.command_id)
        for effect in effects:
            self.do(order, effect)
        self.orders.pop(event.order_id, None)
        if order is not None:
            self.orders[order.order_id] = self.recovered("OrderRow", order, saga)

    def do(self, order: saga.Order | None, effect: saga.Effect) -> None:
        match effect:
            case saga.MoveStock():
                self.to_stock[effect.product_id].append(stock.Command(effect.kind, "", effect.order_id, effect.line, effect.product_id, effect.quantity, 0))
            case saga.AskPayment():
                self.requests += [payment.Request(*effect)] * (1 + (self.choose(8) == 7))
            case saga.Publish():
                assert order is not None
                self.said(saga.publish(order, effect.change, self.now))
            case saga.RefuseCommand():
                self.refusals.append(decode(encode("OrderCommandRefused", saga.refused(effect.command, effect.refusal, self.now))).value)
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

    def take_request(self) -> None:
        request = self.requests.pop(0)
        row = self.payments.get(request.order_id)
        answer = payment.answered(row, request)
        if answer is None:
            assert request[:4] not in self.asked, "the provider was asked twice"
            self.asked.add(request[:4])
            answer = self.provider.ask([request])[0]
            self.payments[request.order_id] = self.recovered("PaymentRow", payment.record(row, request, answer), payment)
        result = saga.PaymentAnswer(*request[:6], answer.result, answer.reason)
        self.results += [result] * (1 + (self.choose(8) == 7))

    # -- the promises --------------------------------------------------------------------------------------------------

    def check_step(self) -> None:
        for product in self.products.values():
            self.check_product(product)
        for order_id, row in self.payments.items():
            assert sum(charge.result is PaymentResult.PAID for charge in row.charges.values()) <= 1, "I7: charged twice"
            assert all(row.kept(attempt) >= 0 for attempt in row.charges), f"I7: order {order_id} got back more than it paid"
        for (kind, order_id, line), units in self.moved.items():
            if kind is not StockCommandKind.RELEASE:
                assert units <= self.orders[order_id].lines[line].quantity, f"{kind.name} of more than line {line} of order {order_id} has"

    def check_product(self, product: stock.Product) -> None:
        assert min(product.available, product.reserved, product.shipped) >= 0, "I1: below 0"
        assert product.available + product.reserved + product.shipped == product.received - product.written_off + product.returned, "I1: identity"
        answers = sum(a.quantity for a in self.to_orders[product.product_id] if a.refusal == 0)
        moves = sum(c.quantity for c in self.to_stock[product.product_id] if c.kind is not StockCommandKind.RETURN)
        assert product.reserved == self.held(product.product_id) + answers + moves, "I3: held by nobody, or by two"

    def held(self, product_id: str) -> int:
        lines = (line for order in self.orders.values() for line in order.lines.values())
        return sum(line.quantity for line in lines if line.product_id == product_id and line.status is LineStatus.HELD)

    def check_rest(self) -> None:
        assert not self.ready()
        assert not self.undecided()
        assert set(self.outcomes) == set(self.entered), "I2: an order without an answer, or an answer without an order"
        for product_id, product in self.products.items():
            assert product.reserved == self.held(product_id), "I3: reserved is not what orders hold"
        for order_id, order in self.orders.items():
            check_order(order, self.outcomes[order_id][-1])
            check_money(order, self.payments.get(order_id))
        self.check_dead()

    def check_dead(self) -> None:
        """Only lines that contradict each other, one of them valid, make a conflict."""
        for letter in self.dead:
            lines = self.entered[letter.order_id]
            headers = {(line.user_id, line.currency, line.payment_token, line.line_count) for line in lines}
            assert len(headers) > 1 or len({line.line for line in lines}) < len(lines), f"no conflict: {letter}"
