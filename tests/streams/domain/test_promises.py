"""The promises I1-I4 and I7 over random interleavings, duplicates and conflicts; and that the check can fail."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.outcomes import OrderStatus as State
from schemas.outcomes import OutcomeChange, Refusal
from streams.domain import order as saga
from streams.domain import order_commands, order_lines, order_money, payment, stock
from streams.domain.order import TABLE, EventKind, Publish
from streams.domain.order_state import ask_refund, undo
from streams.domain.order_table import nothing
from tests.streams.domain.world import World

SEEDS = 1_000


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.randoms(use_true_random=False))
def test_every_promise_holds_in_every_interleaving(dice: Random) -> None:
    World(dice).run()


def test_every_promise_holds_over_many_seeds() -> None:
    _run_seeds(SEEDS)


def _run_seeds(seeds: int) -> None:
    for seed in range(seeds):
        World(Random(seed), recovers=seed % 10 == 0).run()


def _cell(state: State, kind: EventKind, handler: Callable[..., Any]) -> Callable[[pytest.MonkeyPatch], None]:
    return lambda patch: patch.setitem(TABLE, (state, kind), handler)


def _all_lines_but_one(order: saga.Order) -> list[saga.Effect]:
    return undo(order)[1:]


def _keep_both(order: saga.Order, answer: saga.LineAnswer) -> list[saga.Effect]:
    order_lines.note_line(order, answer, order_lines.LineStatus.HELD)
    return []


def _say_twice(order: saga.Order, answer: saga.PaymentAnswer) -> list[saga.Effect]:
    return [*order_money.paid(order, answer), Publish(OutcomeChange.DECIDED)]


def _confirm_at_once(order: saga.Order, answer: saga.LineAnswer) -> list[saga.Effect]:
    return [*order_lines.first_held(order, answer), order_lines.decided(order, State.CONFIRMED)]


def _refund_half(order: saga.Order, amount: int) -> saga.AskPayment:
    return ask_refund(order, max(1, amount // 2))


def _ship_again(order: saga.Order, command: saga.OrderCommand) -> list[saga.Effect]:
    for line in order.lines.values():
        line.status = order_lines.LineStatus.HELD
    return order_commands.ship(order, command)


def _uncapped(order: saga.Order, command: saga.OrderCommand) -> Refusal:
    refusal = return_refusal(order, command)
    return Refusal.NONE if refusal is Refusal.RETURN_EXCEEDS_SHIPPED else refusal


return_refusal = order_commands._return_refusal


def _decide_anew(product: stock.Product, command: stock.Command, now: int) -> stock.Decision | None:
    return decide_command(product, command._replace(command_id=""), now)


decide_command = stock.decide_command


MUTANTS: dict[str, Callable[[pytest.MonkeyPatch], None]] = {
    "a duplicate hold is kept": _cell(State.PAYING, EventKind.HELD, nothing),
    "a duplicate hold is kept after the decision": _cell(State.CONFIRMED, EventKind.HELD, nothing),
    "a duplicate hold replaces the first": _cell(State.RESERVING, EventKind.HELD, _keep_both),
    "a late hold of a rejected order is kept": _cell(State.REJECTED, EventKind.HELD, nothing),
    "a late hold of an expired order is kept": _cell(State.EXPIRED, EventKind.HELD, nothing),
    "a late hold of a cancelled order is kept": _cell(State.CANCELLED, EventKind.HELD, nothing),
    "an early cancel is not answered with the line": _cell(State.CANCEL_PENDING, EventKind.HELD, nothing),
    "an early cancel is lost": _cell(State.CANCEL_PENDING, EventKind.DEADLINE, nothing),
    "one line is not released on rejection": lambda patch: patch.setattr(order_lines, "undo", _all_lines_but_one),
    "one line is not released on cancel": lambda patch: patch.setattr(order_commands, "undo", _all_lines_but_one),
    "one line is not released on decline or expiry": lambda patch: patch.setattr(order_money, "undo", _all_lines_but_one),
    "a late payment is kept after a cancel": _cell(State.CANCELLED, EventKind.PAID, nothing),
    "a late payment is kept after expiry": _cell(State.EXPIRED, EventKind.PAID, nothing),
    "a late payment is given back by half": lambda patch: patch.setattr(order_money, "ask_refund", _refund_half),
    "a return is refunded by half": lambda patch: patch.setattr(order_commands, "ask_refund", _refund_half),
    "confirmed before the money": _cell(State.UNKNOWN, EventKind.HELD, _confirm_at_once),
    "decided twice": _cell(State.PAYING, EventKind.PAID, _say_twice),
    "a confirmed order can be cancelled": _cell(State.CONFIRMED, EventKind.CANCEL, order_commands.cancel),
    "a shipped line is shipped again": _cell(State.SHIPPED, EventKind.SHIP, _ship_again),
    "a return is not capped": lambda patch: patch.setattr(order_commands, "_return_refusal", _uncapped),
    "the same refund answer counts twice": lambda patch: patch.setattr(order_money, "_close_refund", lambda order, answer: True),
    "the same request is asked anew": lambda patch: patch.setattr(payment, "answered", lambda row, request: None),
    "a command of an order is forgotten": lambda patch: patch.setattr(order_commands, "remember", lambda order, command: None),
    "a command of a product is forgotten": lambda patch: patch.setattr(stock, "decide_command", _decide_anew),
    "oversold": lambda patch: patch.setattr(stock, "decide_hold", lambda product, quantity: Refusal.NONE),
    "refused for nothing": lambda patch: patch.setattr(stock, "decide_hold", lambda product, quantity: Refusal.INSUFFICIENT_STOCK),
}


@pytest.mark.parametrize("rule", MUTANTS)
def test_a_broken_rule_breaks_a_promise(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    MUTANTS[rule](monkeypatch)
    with pytest.raises(AssertionError):
        _run_seeds(SEEDS)
