"""What a file of invoices becomes in the log (pure): survey it once, then plan it row by row, in file order.

Every row has one place: order line, return, correction or dead letter. The plan of a row depends on the rows before it and on the
survey, on nothing else; so a load that stopped goes on with what it would have sent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from fractions import Fraction
from typing import Final, NamedTuple

from ingest.errors import LoadError
from ingest.retail_file import Row
from ingest.retail_rows import CorrectionRow, InvalidRow, LineRow, ReturnRow, is_service, meaning_of
from schemas.outcomes import MAX_LINES, MAX_QUANTITY, StockCommandKind

CURRENCY: Final = "GBP"
PAYMENT_TOKEN: Final = "tok_ok"  # noqa: S105 (the sandbox's, open to all)
REMEMBERED_COMMANDS: Final = 64
"""How many of a product's commands the stock agent recognises when they come again (docs/outcomes.md)."""


class PlannedLine(NamedTuple):
    """One order line; `invoice` is the order's name in the file, to which its ID is bound."""

    invoice: str
    line: int
    line_count: int
    product: str
    quantity: int
    price: int
    user: str
    placed_at: int


class PlannedReturn(NamedTuple):
    """A return of units of one line. Line 0 with a credit note's own number: no order of the file matches."""

    command_id: str
    invoice: str
    line: int
    quantity: int


class PlannedStock(NamedTuple):
    """A command about a product: a correction, opening stock, or a service that is not to be tracked."""

    command_id: str
    kind: StockCommandKind
    product: str
    quantity: int


class PlannedDeadLetter(NamedTuple):
    """A row that is nothing we can take."""

    row: int
    detail: str
    raw: bytes


Planned = PlannedLine | PlannedReturn | PlannedStock | PlannedDeadLetter


@dataclass(slots=True)
class OrderHeader:
    """What the first row of an order says for all of them, and how many lines it has."""

    customer: str
    placed_at: int
    line_count: int = 0


@dataclass
class Survey:
    """What must be known of the whole file before its first row can be sent."""

    rows: int = 0
    headers: dict[str, OrderHeader] = field(default_factory=dict)
    demand: Counter[str] = field(default_factory=Counter)
    """Units ordered of each product."""
    corrections: Counter[str] = field(default_factory=Counter)
    """Corrections of each product."""

    def add(self, row: Row) -> None:
        """Take in the next row."""
        self.rows += 1
        meaning = meaning_of(row.fields)
        if isinstance(meaning, LineRow):
            self._add_line(meaning)
        elif isinstance(meaning, CorrectionRow):
            self.corrections[meaning.product] += 1

    def _add_line(self, line: LineRow) -> None:
        header = self.headers.get(line.invoice)
        if header is None:
            header = self.headers[line.invoice] = OrderHeader(line.customer, line.placed_at)
        if header.customer == line.customer and header.line_count < MAX_LINES:
            header.line_count += 1
            self.demand[line.product] += line.quantity

    def products(self) -> list[str]:
        """Return every product that the stock agent will hear of, sorted."""
        return sorted(self.demand.keys() | self.corrections.keys())


@dataclass
class Counts:
    """How many of each a plan holds; rows = lines + return_lines + corrections + dead_letters."""

    rows: int = 0
    orders: int = 0
    lines: int = 0
    return_lines: int = 0
    return_commands: int = 0
    returns_unmatched: int = 0
    corrections: int = 0
    dead_letters: int = 0

    def add(self, items: list[Planned]) -> None:
        """Count one row."""
        self.rows += 1
        first = items[0]
        if isinstance(first, PlannedLine):
            self.lines += 1
            self.orders += first.line == 1
        elif isinstance(first, PlannedReturn):
            self._add_return(items)
        elif isinstance(first, PlannedStock):
            self.corrections += 1
        else:
            self.dead_letters += 1

    def _add_return(self, items: list[Planned]) -> None:
        self.return_lines += 1
        self.return_commands += len(items)
        self.returns_unmatched += any(isinstance(i, PlannedReturn) and not i.line for i in items)

    def as_dict(self) -> dict[str, int]:
        """Return the counts by name."""
        return asdict(self)


class _Sold(NamedTuple):
    """Units of an order line that have not come back yet."""

    invoice: str
    line: int
    left: int


class Planner:
    """Plans rows in file order."""

    def __init__(self, survey: Survey, source: str) -> None:
        self._headers = survey.headers
        self._source = source
        self._next_line: dict[str, int] = {}
        self._sold: dict[tuple[str, str], list[_Sold]] = {}

    def plan(self, row: Row) -> list[Planned]:
        """Return what a row becomes: one item, or for a return one or more."""
        meaning = meaning_of(row.fields)
        if isinstance(meaning, LineRow):
            return [self._line(row, meaning)]
        if isinstance(meaning, ReturnRow):
            return list(self._return(row, meaning))
        if isinstance(meaning, CorrectionRow):
            return [PlannedStock(f"{self._source}:{row.number}", meaning.kind, meaning.product, meaning.quantity)]
        return [_dead(row, meaning)]

    def _line(self, row: Row, meaning: LineRow) -> Planned:
        header = self._headers[meaning.invoice]
        if meaning.customer != header.customer:
            return _dead(row, InvalidRow(f"CustomerID {meaning.customer!r}: invoice {meaning.invoice} began with {header.customer!r}"))
        line = self._next_line.get(meaning.invoice, 1)
        if line > MAX_LINES:
            return _dead(row, InvalidRow(f"invoice {meaning.invoice} has {MAX_LINES:,} lines already, the most that an order may have"))
        self._next_line[meaning.invoice] = line + 1
        if meaning.customer:
            self._sold.setdefault((meaning.customer, meaning.product), []).append(_Sold(meaning.invoice, line, meaning.quantity))
        user = meaning.customer or f"guest-{meaning.invoice}"
        return PlannedLine(meaning.invoice, line, header.line_count, meaning.product, meaning.quantity, meaning.price, user, header.placed_at)

    def _return(self, row: Row, meaning: ReturnRow) -> Iterator[PlannedReturn]:
        sold, left, command = self._sold.get((meaning.customer, meaning.product), []), meaning.quantity, f"{self._source}:{row.number}"
        part = 0
        while left and sold:
            latest = sold.pop()
            units = min(left, latest.left)
            if latest.left > units:
                sold.append(latest._replace(left=latest.left - units))
            left, part = left - units, part + 1
            yield PlannedReturn(f"{command}:{part}", latest.invoice, latest.line, units)
        if left:
            yield PlannedReturn(f"{command}:{part + 1}", meaning.invoice, 0, left)


class Chunk(NamedTuple):
    """What rows up to number `last_row` (and after the chunk before) become."""

    last_row: int
    items: list[Planned]


def chunks(rows: Iterable[Row], planner: Planner, counts: Counts, start: int, size: int, returns: list[PlannedReturn]) -> Iterator[Chunk]:
    """Yield what the rows after number `start` become, `size` rows at a time; returns are put into `returns` instead.

    The rows up to `start` are planned as well, for what follows from them: all are counted in `counts`, and `returns` holds
    those of the whole file. They have to wait: months lie between an order and its return, and a load takes seconds.
    """
    items: list[Planned] = []
    number = start
    for row in rows:
        planned = planner.plan(row)
        counts.add(planned)
        is_return = isinstance(planned[0], PlannedReturn)  # then all of them are, else none
        if is_return:
            returns += [item for item in planned if isinstance(item, PlannedReturn)]
        if row.number > start:
            number = row.number
            if not is_return:
                items += planned
            if (number - start) % size == 0:
                yield Chunk(number, items)
                items = []
    if (number - start) % size:
        yield Chunk(number, items)


def opening(survey: Survey, source: str, share: Fraction) -> list[PlannedStock]:
    """Return what has to be taken before the first order: services untracked, and of each good `share` of its demand, rounded up.

    The same file, source and share give the same commands under the same IDs.
    """
    return [command for product in survey.products() for command in _opening(product, survey.demand[product], source, share)]


def _opening(product: str, demand: int, source: str, share: Fraction) -> Iterator[PlannedStock]:
    command_id = f"opening:{source}:{product}"
    if is_service(product):
        yield PlannedStock(command_id, StockCommandKind.UNTRACK, product, 0)
        return
    units = -(-demand * share.numerator // share.denominator)
    for part in range(-(-units // MAX_QUANTITY)):
        suffix = f":{part + 1}" if part else ""
        yield PlannedStock(command_id + suffix, StockCommandKind.RESTOCK, product, min(MAX_QUANTITY, units - part * MAX_QUANTITY))


def check_repeatable(survey: Survey) -> None:
    """Raise LoadError if sending every command again could carry one out twice."""
    for product, corrections in survey.corrections.items():
        if corrections + 1 > REMEMBERED_COMMANDS:
            why = f"the stock agent remembers a product's last {REMEMBERED_COMMANDS} commands, and the file has {corrections} corrections of {product}"
            raise LoadError(f"this file cannot be sent again without carrying corrections out twice: {why}")


def _dead(row: Row, invalid: InvalidRow) -> PlannedDeadLetter:
    return PlannedDeadLetter(row.number, invalid.detail, row.raw)
