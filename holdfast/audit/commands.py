"""I5 for stock.commands: each command is answered once, is a repeat, was dead-lettered, or was forwarded. Pure."""

from __future__ import annotations

from collections import Counter
from typing import Any, Final

from holdfast.audit.dead_letters import DeadLetters
from holdfast.audit.log import Log
from holdfast.audit.report import Report
from holdfast.audit.table import MISSING
from holdfast.audit.timeline import WITH_EFFECT
from schemas.topics import STOCK_COMMANDS

REMEMBERED: Final = 64
"""Command IDs per product: a repeat after more than so many others is a new command."""
_SAME: Final = ("kind", "command_id", "order_id", "line", "product_id", "quantity")
_FORWARDED: Final = (*_SAME, "as_of")


class StockCommands:
    """Compares `stock.commands` and the stock stage's movements, item by item."""

    def __init__(self, log: Log, report: Report, letters: DeadLetters, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.letters = letters
        self.live = live
        self.answered = bytearray(len(log.stock_commands))
        self._done: dict[tuple[str, str], int] = {}
        """(product, command ID) -> the first command of that ID that was carried out."""
        self._stray: Counter[tuple[Any, ...]] = Counter()

    def check(self) -> None:
        """Check every command and every movement."""
        self._read_answers()
        self._check_repeats()
        unanswered = sum(self._check_command(item) for item in range(len(self.log.stock_commands)))
        if self._stray and not self.live:
            self._check_forwarded()
        self.report.count("I5", stock_commands=len(self.answered), movements=len(self.log.movements), unanswered_stock_commands=unanswered)

    def _read_answers(self) -> None:
        m, commands = self.log.movements, self.log.stock_commands
        command_ids = m["command_id"]
        asked, said = [commands[name] for name in _SAME], [m[name] for name in _SAME]
        for item, (offset, index) in enumerate(zip(m["offset"], m["index"], strict=True)):
            partition = m.head("partition")[m.record[item]]
            command = commands.find(partition, offset, index)
            if command == MISSING and self.log.is_gone(STOCK_COMMANDS.name, partition, offset):
                continue
            if command == MISSING:
                self._complain("movement_without_command", item, f"stock.commands partition {partition} offset {offset} index {index}")
                continue
            if self.answered[command]:
                self._complain("command_answered_twice", item)
            self.answered[command] = 1
            if command_ids[item] and m["refusal"][item] in WITH_EFFECT:
                key = (m["product_id"][item], command_ids[item])
                self._done[key] = min(command, self._done.get(key, command))
            if [column[command] for column in asked] != [column[item] for column in said]:
                wrong = (f"{name} was {commands[name][command]}, the answer says {m[name][item]}" for name in _SAME if commands[name][command] != m[name][item])
                self._complain("movement_differs", item, ", ".join(wrong))

    def _check_repeats(self) -> None:
        """Of one product no command ID is carried out again while it is among the last that were."""
        m = self.log.movements
        recent: dict[str, list[str]] = {}
        for item in sorted(range(len(m)), key=m["version"].__getitem__):
            command_id, product = m["command_id"][item], m["product_id"][item]
            if not command_id or m["refusal"][item] not in WITH_EFFECT:
                continue
            ids = recent.setdefault(product, [])
            if command_id in ids:
                self._complain("command_carried_out_twice", item)
            ids.append(command_id)
            del ids[:-REMEMBERED]

    def _check_command(self, item: int) -> bool:
        """Check one command; returns whether it left no trace."""
        if self.answered[item]:
            return False
        c = self.log.stock_commands
        product_id, place = c["product_id"][item], c.place(item)
        if self._done.get((product_id, c["command_id"][item]), item) < item or self.letters.reasons(STOCK_COMMANDS.name, *place[1:]):
            return False
        if self.log.generations.home_of_product(product_id, place.partition) != place.partition:
            self._stray[self._content(item)] += 1
            return False
        # Where the log's beginning is gone, it may be a repeat of a command that stood there, or stand beside it.
        if not self.live and not self.log.begins_at:
            self._complain_of_command("command_unanswered", item)
        return True

    def _content(self, item: int) -> tuple[Any, ...]:
        c = self.log.stock_commands
        return (*(c[name][item] for name in _FORWARDED), c.head("actor")[c.record[item]])

    def _check_forwarded(self) -> None:
        c = self.log.stock_commands
        arrived, where = Counter[tuple[Any, ...]](), dict[tuple[Any, ...], int]()
        products = {content[_FORWARDED.index("product_id")] for content in self._stray}
        for item, product_id in enumerate(c["product_id"]):
            if product_id in products:
                here = c.partition_of(item)
                is_home = self.log.generations.home_of_product(product_id, here) == here
                arrived[self._content(item)] += is_home
                if not is_home:
                    where[self._content(item)] = item
        for content, count in self._stray.items():
            if arrived[content] < count:
                self._complain_of_command("command_not_forwarded", where[content])

    def _complain(self, kind: str, item: int, detail: str = "") -> None:
        m = self.log.movements
        self.report.add(kind, m.place(item), detail, **{name: m[name][item] for name in ("command_id", "order_id", "line", "product_id", "version")})

    def _complain_of_command(self, kind: str, item: int) -> None:
        c = self.log.stock_commands
        self.report.add(kind, c.place(item), **{name: c[name][item] for name in ("kind", "command_id", "order_id", "line", "product_id", "quantity")})
