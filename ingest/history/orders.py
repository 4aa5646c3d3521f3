"""Rows become orders (pure): rows next to each other that name the same order are its lines. An order is taken whole or not at all."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final, NamedTuple

from ingest.backfill_plan import PlannedDeadLetter
from ingest.errors import InvalidRequestError
from ingest.history.fields import FieldError
from ingest.history.mapping import KEPT, REST, Header, HistoryLine, Map
from ingest.requests import Line, Order, check_order
from schemas.outcomes import MAX_LINES

FIRST_ERRORS: Final = 20


class HistoryOrder(NamedTuple):
    """An order with all its lines."""

    header: Header
    lines: tuple[HistoryLine, ...]


class Piece(NamedTuple):
    """What the rows up to number `last_row` (and after the piece before) become; `digest` is of every row up to it."""

    last_row: int
    digest: str
    order: HistoryOrder | None
    dead: list[PlannedDeadLetter]


@dataclass
class Counts:
    """rows = lines + skipped + dead_letters. `errors`: the first orders that are not taken, by their first row, with the reason."""

    rows: int = 0
    orders: int = 0
    lines: int = 0
    skipped: int = 0
    dead_letters: int = 0
    errors: list[str] = field(default_factory=list)

    def add(self, piece: Piece) -> None:
        """Count what one piece holds."""
        self.rows += (len(piece.order.lines) if piece.order else 0) + len(piece.dead)
        self.dead_letters += len(piece.dead)
        if piece.order:
            self.orders += 1
            self.lines += len(piece.order.lines)
        if piece.dead and len(self.errors) < FIRST_ERRORS:
            self.errors.append(f"row {piece.dead[0].row}: {piece.dead[0].detail}")

    def as_dict(self) -> dict[str, Any]:
        """Return the counts by name."""
        return asdict(self)


class _Row(NamedTuple):
    number: int
    raw: bytes
    line: HistoryLine | None
    fault: str


class Orders:
    """Puts rows together. `seen` are hashes of the orders that ended: one whose rows stand apart is not taken a second time."""

    def __init__(self, mapped: Map, counts: Counts, *, decided: bool) -> None:
        self._map = mapped
        self._counts = counts
        self._decided = decided
        self._seen: set[int] = set()

    def pieces(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Piece]:
        """Yield each order as its last row is known, and dead letters in their places."""
        digest, name, group, number = hashlib.sha256(), "", list[_Row](), 0
        for number, fields in enumerate(rows, 1):
            raw = json.dumps(fields, default=str, separators=(",", ":")).encode()
            row_name, row = self._read(number, raw, fields)
            if row is not None and (row_name != name or not name) and group:
                yield self._end(name, group, number - 1, digest)
                group = []
            digest.update(raw)
            if row is not None:
                name = row_name
                group.append(row)
        if group:
            yield self._end(name, group, number, digest)

    def _read(self, number: int, raw: bytes, fields: Mapping[str, Any]) -> tuple[str, _Row | None]:
        """Return the name of the row's order, empty where it cannot be read, and the row; None for one that is left out."""
        if self._map.is_skipped(fields):
            self._counts.rows += 1
            self._counts.skipped += 1
            return "", None
        name = ""
        try:
            name = self._map.name_of(fields)
            if REST in fields:
                raise FieldError("it has more columns than the header")
            return name, _Row(number, raw, self._map.line_of(fields, decided=self._decided), "")
        except FieldError as error:
            return name, _Row(number, raw, None, str(error))

    def _end(self, name: str, group: list[_Row], last_row: int, digest: Any) -> Piece:
        fault = self._fault(name, group)
        piece = Piece(last_row, digest.hexdigest(), None if fault else _order(group), _dead(group, fault))
        self._counts.add(piece)
        return piece

    def _fault(self, name: str, group: list[_Row]) -> str:
        """Return why an order is not taken; empty if it is."""
        bad = next((row for row in group if row.fault), None)
        if bad is not None:
            return f"row {bad.number} of order {name!r}: {bad.fault}" if name else bad.fault
        key = hash(name)
        if key in self._seen:
            return f"rows of order {name!r} stand apart: sort the source by order"
        self._seen.add(key)
        lines = [row.line for row in group if row.line]
        other = next((row for row in group if row.line and _difference(lines[0].header, row.line.header)), None)
        if other is not None and other.line:
            return f"row {other.number} of order {name!r} says another {_difference(lines[0].header, other.line.header)} than row {group[0].number}"
        return _impossible(lines, decided=self._decided)


_TIMES: Final = frozenset({"placed_at", "decided_at", "changed_at"})
"""Of these the first row's count: many systems write down when each line was entered."""


def _difference(one: Header, other: Header) -> str:
    return next((n for n, a, b in zip(Header._fields, one, other, strict=True) if a != b and n not in _TIMES), "")


def _impossible(lines: list[HistoryLine], *, decided: bool) -> str:
    header = lines[0].header
    if len(lines) > MAX_LINES:
        return f"order {header.external_id!r} has {len(lines):,} lines: {MAX_LINES:,} at most"
    order_lines = [Line(x.product_id, x.quantity, x.unit_price) for x in lines]
    try:
        check_order(Order(header.order_id or 1, header.user_id, order_lines, header.currency, header.payment_token, header.placed_at))
    except InvalidRequestError as error:
        return f"order {header.external_id!r}: {error}"
    return _impossible_history(header, lines) if decided else ""


def _impossible_history(header: Header, lines: list[HistoryLine]) -> str:
    for number, line in enumerate(lines, 1):
        if not 0 <= line.returned <= line.quantity or (line.returned and header.status not in KEPT):
            return f"order {header.external_id!r}: line {number} is {header.status}, {line.returned} of {line.quantity} came back"
    charged, refunded = money_of(header, lines)
    if not 0 <= refunded <= charged:
        return f"order {header.external_id!r}: {refunded} of {charged} that were charged cannot have been given back"
    return ""


def money_of(header: Header, lines: Iterable[HistoryLine]) -> tuple[int, int]:
    """Return what was charged and refunded: as the map says, or what the lines that went and those that came back cost."""
    kept = [line for line in lines if header.status in KEPT]
    amount, back = (sum(units(line) * line.unit_price for line in kept) for units in (_all_units, lambda line: returned_of(header, line)))
    return amount if header.charged is None else header.charged, back if header.refunded is None else header.refunded


def _all_units(line: HistoryLine) -> int:
    return line.quantity


def returned_of(header: Header, line: HistoryLine) -> int:
    """Return how many units of a line came back: of a returned order, all."""
    return line.quantity if header.status == "RETURNED" else line.returned


def _order(group: list[_Row]) -> HistoryOrder:
    lines = tuple(row.line for row in group if row.line)
    return HistoryOrder(lines[0].header, lines)


def _dead(group: list[_Row], fault: str) -> list[PlannedDeadLetter]:
    return [PlannedDeadLetter(row.number, row.fault or fault, row.raw) for row in group] if fault else []


def imported(order: HistoryOrder, order_id: int, source: str, now: int, actor: str) -> dict[str, Any]:
    """Return an order that was decided elsewhere as an ImportedOrder record; `now` in ms."""
    header = order.header
    charged, refunded = money_of(header, order.lines)
    names = {"order_id": order_id, "source": source, "external_id": header.external_id, "imported_at": now, "actor": actor}
    plain = {name: getattr(header, name) for name in ("status", "refusal", "user_id", "currency", "placed_at", "decided_at", "changed_at")}
    return {**names, **plain, "charged": charged, "refunded": refunded, "lines": [_line(header, n, x) for n, x in enumerate(order.lines, 1)]}


def _line(header: Header, number: int, line: HistoryLine) -> dict[str, Any]:
    returned = returned_of(header, line)
    named = {"line": number, "product_id": line.product_id, "quantity": line.quantity, "unit_price": line.unit_price, "returned": returned}
    refused = header.status == "REJECTED"
    return {**named, "status": _status(header.status, line.quantity, returned), "refusal": header.refusal if refused else ""}


def _status(order: str, quantity: int, returned: int) -> str:
    if returned:
        return "RETURNED" if returned == quantity else "SHIPPED"
    return {"CONFIRMED": "HELD", "SHIPPED": "SHIPPED", "REJECTED": "REFUSED"}.get(order, "RELEASED")
