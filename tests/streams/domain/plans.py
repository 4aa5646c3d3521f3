"""Plans of a few orders over a tiny stock, with duplicates, conflicts and invalid lines, as the dice fall."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.outcomes import OrderCommandKind, StockCommandKind
from streams.domain.order import OrderCommand
from streams.domain.order_line import PlainLine
from streams.domain.stock import Command
from tests.streams.domain.tape import Tape

PRODUCTS = ("A", "B", "service")
DECLINED_TOKEN = "tok_declined"
_PLACED = 1_291_191_960_000
_COMMANDS = (OrderCommandKind.CANCEL, OrderCommandKind.SHIP, OrderCommandKind.SHIP, OrderCommandKind.RETURN, OrderCommandKind.RETURN)
_OPERATORS = [kind for kind in StockCommandKind if kind < StockCommandKind.RELEASE]


@dataclass
class Plan:
    """What comes from outside, in pools; `late` lines come when all else is done. `opening` is units by product, -1 for a service."""

    lines: list[PlainLine]
    late: list[PlainLine]
    order_commands: list[OrderCommand]
    stock_commands: list[Command]
    opening: dict[str, int]


def plan_of(dice: Tape) -> Plan:
    """Return 1 to 4 orders (some under one ID), commands about them and about their products."""
    lines = [line for n in range(1, dice.randint(2, 5)) for line in _order(dice, n)]
    late = [lines.pop(dice.randint(0, len(lines) - 1)) for _ in range(dice.choice((0, 0, 1, 2))) if lines]
    commands = [_order_command(dice) for _ in range(dice.randint(0, 16))]
    operators = [_stock_command(dice) for _ in range(dice.randint(0, 4))]
    return Plan(lines, late, commands, operators, {"A": dice.randint(0, 12), "B": dice.randint(0, 12), "service": -1})


def _order(dice: Tape, number: int) -> list[PlainLine]:
    order_id, count = dice.choice((number, number, number, 1)), dice.choice((1, 1, 2, 3))
    token, user = dice.choice(("tok", "tok", "tok", "tok", DECLINED_TOKEN)), dice.choice(("ann", "ann", "ann", "bob"))
    numbers = [n for n in range(1, count + 1) for _ in range(dice.choice((1, 1, 1, 2)))]
    quantities = [dice.randint(1, 4) for _ in range(count)]
    prices = [dice.randint(0, 3) for _ in range(count)]
    products = [dice.choice(PRODUCTS) for _ in range(count)]
    return [_spoilt(dice, PlainLine(order_id, n, count, products[n - 1], quantities[n - 1], prices[n - 1], "GBP", user, token, _PLACED)) for n in numbers]


def _spoilt(dice: Tape, line: PlainLine) -> PlainLine:
    """Return the line, now and then made invalid, so that any field can be the one at fault."""
    ways = ({"quantity": 0}, {"line": line.line_count + 1}, {"currency": "ZZZ"}, {"user_id": "u" * 70}, {"line": 2_000}, {"placed_at": -1})
    return line._replace(**dice.choice(ways)) if dice.randint(0, 29) == 29 else line


def _order_command(dice: Tape) -> OrderCommand:
    kind, line = dice.choice(_COMMANDS), dice.choice((0, 0, 0, 1, 1, 2, 3, 4))
    return OrderCommand(kind, f"c{dice.randint(0, 25)}", dice.choice((1, 1, 2, 2, 3, 4)), line, dice.randint(0, 3), "test")


def _stock_command(dice: Tape) -> Command:
    kind = dice.choice(_OPERATORS)
    least = 0 if kind is StockCommandKind.COUNT else 1
    quantity = dice.randint(least, 5) if kind < StockCommandKind.FREEZE else 0
    return Command(kind, f"s{dice.randint(0, 6)}", 0, 0, dice.choice(PRODUCTS), quantity, 0)
