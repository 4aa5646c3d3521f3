"""I5 and I2 by the clients' journals: what the brokers acknowledged is in the log, and decided. Pure, but for reading the journals."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from functools import partial
from typing import Final

from holdfast.audit.journals import Acknowledged, Journal, Sent
from holdfast.audit.log import Log
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.progress import Progress
from holdfast.audit.report import Report
from holdfast.audit.table import Place, Table
from schemas.outcomes import MAX_ORDER_ID, OrderCommandKind, StockCommandKind
from schemas.topics import ORDER_COMMANDS, ORDERS, STOCK_COMMANDS

Line = tuple[int, int, str, int]
"""Order ID, line, product ID, quantity."""
Command = tuple[str, str, str]
"""Command ID, kind, and the product or the order that it is about."""
_TOPICS: Final = {**{kind.name: STOCK_COMMANDS.name for kind in StockCommandKind}, **{kind.name: ORDER_COMMANDS.name for kind in OrderCommandKind}}


@dataclass
class _Client:
    """What one journal's writer has sent and not been told of yet."""

    journal: Journal
    lines: dict[int, dict[int, list[Line]]] = field(default_factory=dict)
    """Order ID -> line -> each line sent under that number."""
    commands: dict[str, list[Command]] = field(default_factory=dict)


class Journals:
    """Holds journals against the log. What was sent and not acknowledged may be there or not; what nobody sent, only if not `complete`."""

    def __init__(self, log: Log, report: Report, outcomes: Outcomes, *, live: bool, complete: bool) -> None:
        self.log = log
        self.report = report
        self.outcomes = outcomes
        self.live = live
        self.complete = complete
        self._there = {hash(thing) for _, _, thing in _things(log)}
        self._sent: set[int] = set()
        """By hash: every line and command that a journal says was sent; kept only for a complete set of journals."""
        self._told: set[Line | Command | int] = set()
        self._acknowledged = 0

    def check(self, journals: Sequence[Journal], progress: Progress) -> None:
        """Check every journal; with a complete set also that nothing else is in the log."""
        for journal in journals:
            client = _Client(journal)
            for number, sent, acknowledged in journal.entries(partial(progress, f"reading {journal.path.name}")):
                if sent is not None:
                    self._note(client, sent)
                if acknowledged is not None:
                    self._check(client, number, acknowledged)
        if self.complete:
            self._check_complete()
        self.report.count("I5", journals=len(journals), acknowledged=self._acknowledged)

    # -- what was sent -------------------------------------------------------------------------------------------------

    def _note(self, client: _Client, sent: Sent) -> None:
        if sent.command_id:
            command = (sent.command_id, sent.kind, sent.product_id or str(int(sent.order_id)))
            client.commands.setdefault(sent.command_id, []).append(command)
            self._remember(command)
            return
        order_id = int(sent.order_id)
        order = client.lines.setdefault(order_id, {})
        for number, product_id, quantity in sent.lines:
            line = (order_id, number, product_id, quantity)
            order.setdefault(number, []).append(line)
            self._remember(line)

    def _remember(self, thing: Line | Command) -> None:
        if self.complete:
            self._sent.add(hash(thing))

    # -- what was acknowledged -----------------------------------------------------------------------------------------

    def _check(self, client: _Client, number: int, acknowledged: Acknowledged) -> None:
        """Check an acknowledgement; one that comes again was checked before."""
        place = Place(f"{client.journal.path} line {number}")
        if acknowledged.command_id:
            self._check_there(client.commands.pop(acknowledged.command_id, ()), place)
            return
        order_id = int(acknowledged.order_id)
        if self.log.is_old(order_id):
            return
        order = client.lines.get(order_id, {})
        for line in acknowledged.lines:
            self._check_there(order.pop(line, ()), place)
        if not order:
            client.lines.pop(order_id, None)
        self._check_decided(order_id, place)

    def _check_there(self, sent: Sequence[Line | Command], place: Place) -> None:
        """Of several things sent under one number or ID, which one was acknowledged is not told: one of them must be there."""
        self._acknowledged += 1
        if not sent or any(hash(thing) in self._there for thing in sent) or sent[-1] in self._told:
            return
        if self.log.begins_at and len(sent[-1]) != 4:
            return  # a command that may have stood in what was deleted
        self._told.add(sent[-1])
        missing = sent[-1]
        topic = ORDERS.name if len(missing) == 4 else _TOPICS.get(missing[1], "any topic")
        self.report.add("acknowledged_not_in_log", place, f"not on {topic}", **_ids(missing))

    def _check_decided(self, order_id: int, place: Place) -> None:
        """Every order that can be named has its decision; one that cannot is a dead letter, as any line on its topic."""
        if self.live or order_id in self._told or not 0 < order_id <= MAX_ORDER_ID or self.outcomes.versions.get(order_id):
            return
        self._told.add(order_id)
        self.report.add("acknowledged_undecided", place, order_id=order_id)

    # -- what nobody sent ----------------------------------------------------------------------------------------------

    def _check_complete(self) -> None:
        for table, item, thing in _things(self.log):
            if hash(thing) not in self._sent:
                self.report.add("in_log_unsent", table.place(item), **_ids(thing))


def _ids(thing: Line | Command) -> dict[str, int | str]:
    names = ("order_id", "line", "product_id", "quantity") if len(thing) == 4 else ("command_id", "command", "about")
    return dict(zip(names, thing, strict=True))


def _things(log: Log) -> Iterator[tuple[Table, int, Line | Command]]:
    """Yield what clients can have put into the log, as they write it down."""
    lines = log.lines
    for item, line in enumerate(zip(*(lines[name] for name in ("order_id", "line", "product_id", "quantity")), strict=True)):
        yield lines, item, line
    yield from _commands(log.stock_commands, "product_id", StockCommandKind)
    yield from _commands(log.order_commands, "order_id", OrderCommandKind)


def _commands(table: Table, about: str, kinds: Iterable[IntEnum]) -> Iterator[tuple[Table, int, Command]]:
    """Yield commands; those without an ID are the orders stage's own."""
    names = {int(kind): kind.name for kind in kinds}
    for item, (command_id, kind, of) in enumerate(zip(table["command_id"], table["kind"], table[about], strict=True)):
        if command_id:
            yield table, item, (command_id, names.get(kind, str(kind)), str(of))
