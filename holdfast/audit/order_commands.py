"""I5 for order.commands, as far as the topics show what became of each: an outcome does not name its command. Pure.

Of one command ID seen n times and refused r times, n - r were carried out or were repeats of one carried out. So at
least one was if r < n, and none if r = n; the order's outcomes must agree with that, kind by kind.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any, Final

from holdfast.audit.dead_letters import DeadLetters
from holdfast.audit.log import Log
from holdfast.audit.outcomes import Outcomes
from holdfast.audit.report import Report
from schemas.outcomes import OrderCommandKind
from schemas.topics import ORDER_COMMANDS

_CONTENT: Final = ("kind", "command_id", "order_id", "line", "quantity")
_NAMES: Final = {int(kind): kind.name for kind in OrderCommandKind}
_CHANGES: Final = {OrderCommandKind.SHIP: "SHIPPED", OrderCommandKind.RETURN: "RETURNED"}
Key = tuple[int, str, int]
"""Order ID, command ID, kind."""


class OrderCommands:
    """Compares `order.commands` with refusals and outcomes, order by order."""

    def __init__(self, log: Log, report: Report, letters: DeadLetters, outcomes: Outcomes, *, live: bool) -> None:
        self.log = log
        self.report = report
        self.letters = letters
        self.outcomes = outcomes
        self.live = live
        self.seen: defaultdict[Key, list[int]] = defaultdict(list)
        self.refused: Counter[Key] = Counter()
        self._kinds: defaultdict[tuple[int, str], set[int]] = defaultdict(set)
        self._stray: Counter[tuple[Any, ...]] = Counter()

    def check(self) -> None:
        """Check every command and every refusal."""
        self._read_commands()
        self._read_refusals()
        if not self.live:
            self._check_forwarded()
        least, most = self._bounds()
        for order_id, versions in self.outcomes.versions.items():
            if versions:
                self._check_order(order_id, versions, least, most)
        if not self.live:
            self._check_unanswered()
        if not self.live:
            self._check_imports()
        self.report.count("I5", order_commands=len(self.log.order_commands), refused_order_commands=len(self.log.refused_commands))

    def _check_imports(self) -> None:
        """An order that another system has decided is published, given up, or forwarded to its own partition."""
        i = self.log.imports
        at_home = {order_id for item, order_id in enumerate(i["order_id"]) if self._is_home(order_id, i.partition_of(item))}
        for item, order_id in enumerate(i["order_id"]):
            strayed = self.log.is_old(order_id) or (order_id in at_home and not self._is_home(order_id, i.partition_of(item)))
            if not strayed and not self.outcomes.is_imported(order_id) and not self.letters.reasons(ORDER_COMMANDS.name, *i.place(item)[1:]):
                self.report.add("import_unanswered", i.place(item), order_id=order_id)

    def _is_home(self, order_id: int, partition: int) -> bool:
        return self.log.generations.home_of_order(order_id, partition) == partition

    def _read_commands(self) -> None:
        c = self.log.order_commands
        for item, order_id in enumerate(c["order_id"]):
            if self.log.is_old(order_id):
                continue
            place = c.place(item)
            if self.letters.reasons(ORDER_COMMANDS.name, *place[1:]):
                continue
            if not self._is_home(order_id, place.partition):
                self._stray[self._content(item)] += 1
                continue
            self.seen[order_id, c["command_id"][item], c["kind"][item]].append(item)
            self._kinds[order_id, c["command_id"][item]].add(c["kind"][item])

    def _content(self, item: int) -> tuple[Any, ...]:
        c = self.log.order_commands
        return tuple(c[name][item] for name in _CONTENT)

    def _check_forwarded(self) -> None:
        c = self.log.order_commands
        for content, count in self._stray.items():
            kind, command_id, order_id, _, _ = content
            arrived = sum(self._content(item) == content for item in self.seen.get((order_id, command_id, kind), ()))
            if arrived < count:
                stray = next(item for item in range(len(c)) if self._content(item) == content)
                self._complain("order_command_not_forwarded", stray)

    def _read_refusals(self) -> None:
        r = self.log.refused_commands
        for item, order_id in enumerate(r["order_id"]):
            if self.log.is_old(order_id):
                continue
            key = (order_id, r["command_id"][item], int(OrderCommandKind[r["kind"][item]]))
            self.refused[key] += 1
            if self.refused[key] > len(self.seen.get(key, ())):
                detail = f"refused {self.refused[key]} times, sent {len(self.seen.get(key, ()))} times"
                self.report.add("refusal_without_command", r.place(item), detail, order_id=order_id, command_id=key[1], command=r["kind"][item])

    def _bounds(self) -> tuple[Counter[tuple[int, int]], Counter[tuple[int, int]]]:
        """Return (order ID, kind) -> how many commands were carried out, at least and at most."""
        least, most = Counter[tuple[int, int]](), Counter[tuple[int, int]]()
        for (order_id, command_id, kind), items in self.seen.items():
            rest = len(items) - self.refused[order_id, command_id, kind]
            # Under one ID the first command of any kind makes the others repeats; which one it was, the topics do not show.
            least[order_id, kind] += rest > 0 and len(self._kinds[order_id, command_id]) == 1
            most[order_id, kind] += max(rest, 0)
        return least, most

    def _check_order(self, order_id: int, versions: list[int], least: Counter[tuple[int, int]], most: Counter[tuple[int, int]]) -> None:
        t = self.log.outcomes
        for kind, change in _CHANGES.items():
            items = [item for item in versions if t["change"][item] == change]
            if len(items) > most[order_id, kind]:
                detail = f"{len(items)} outcomes say {change}, {most[order_id, kind]} commands {kind.name} can have been carried out"
                self.report.add("change_without_command", t.place(items[-1]), detail, order_id=order_id)
            elif len(items) < least[order_id, kind] and not self.live:
                self._complain_of_order(order_id, kind, f"{len(items)} outcomes say {change}, {least[order_id, kind]} commands {kind.name} were not refused")
        if t["status"][versions[0]] == "CANCELLED" and not self.outcomes.is_imported(order_id) and not most[order_id, OrderCommandKind.CANCEL]:
            self.report.add("change_without_command", t.place(versions[0]), "nobody cancelled it", order_id=order_id)

    def _check_unanswered(self) -> None:
        """A command that was never refused has an order that changed by it."""
        for (order_id, command_id, kind), items in self.seen.items():
            refused = self.refused[order_id, command_id, kind]
            if len(items) <= refused or len(self._kinds[order_id, command_id]) > 1:
                continue
            if kind == OrderCommandKind.CANCEL and refused:
                continue  # repeats of a CANCEL that is kept for an order to come get one answer: the refusal when it is forgotten
            if kind == OrderCommandKind.RESTATE:
                continue  # of an order that is not decided it changes nothing, and it is never refused
            status = self.outcomes.status(order_id)
            if (kind == OrderCommandKind.CANCEL and status != "CANCELLED") or not status:
                self._complain("order_command_unanswered", items[0], f"its order is {status or 'undecided or unknown'}")

    def _complain_of_order(self, order_id: int, kind: int, detail: str) -> None:
        items = [item for (order, _, k), found in self.seen.items() if (order, k) == (order_id, kind) for item in found]
        self._complain("order_command_unanswered", items[-1], detail)

    def _complain(self, kind: str, item: int, detail: str = "") -> None:
        c = self.log.order_commands
        ids = {"order_id": c["order_id"][item], "command_id": c["command_id"][item], "command": _NAMES.get(c["kind"][item], "unknown")}
        self.report.add(kind, c.place(item), detail, **ids)
