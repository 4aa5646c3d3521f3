"""The whole pipeline in one process: the real stages as tasks over a log in memory, with the batch runtime's protocol.

What Kafka guarantees is kept: a partition's order, transactions that are seen whole or not at all, offsets with holes where
markers and aborted records stand. What it does not is made worse: batches of any size, tasks in any order, memory lost at
any time, transactions aborted, records of outside producers doubled and on any partition.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import Any, Final

from holdfast.audit.check import check
from holdfast.audit.report import Report
from schemas import codec, topics
from schemas.partitions import order_partition, product_partition
from schemas.topics import POSITIONS_KEY, Topic
from sinks.alarms import of_level, of_outcome
from streams.payments import Provider
from streams.payments.sandbox import Sandbox
from streams.runtime.batch import end_of
from streams.runtime.clients import InputTopic
from streams.runtime.positions import positions_of, positions_record
from streams.runtime.records import Place, Record, StageKind, Write
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK
from tests.support.memory_log import MemoryLog
from tests.support.stages import Item, columns

TIMEOUT: Final = 60_000
START: Final = 1_700_000_000_000


class Fate(Enum):
    """What becomes of a batch. The last three are faults of a broken runtime: the promises must not survive them."""

    COMMITTED = "committed"
    CRASHED = "crashed after the commit: memory lost"
    ABORTED = "aborted: rows thrown away, read again"
    LOST = "lost before it was decided"
    SKIPPED = "position moved, nothing decided"
    REPEATED = "committed, then decided again"
    STALE = "committed, then decided again by a zombie with the rows from before"


SOUND: Final = (Fate.COMMITTED, Fate.CRASHED, Fate.ABORTED, Fate.LOST)


class FlowTask:
    """One partition of one stage, with the task's protocol: rows and position come from the changelog and move together."""

    def __init__(self, kind: StageKind, place: Place, log: MemoryLog) -> None:
        self.kind = kind
        self.place = place
        self.log = log
        self.inputs = {topic.name: InputTopic(f"id-of-{topic.name}", place.partitions) for topic in kind.inputs}
        self.open()

    def open(self) -> None:
        """Forget everything and read it back from the changelog."""
        rows: dict[bytes, bytes] = {}
        for record in self.log.read(self.kind.changelog.name, self.place.partition, 0):
            if record.value is None:
                rows.pop(record.key or b"", None)
            else:
                rows[record.key or b""] = record.value
        recorded = positions_of(rows.pop(POSITIONS_KEY, None))
        self.position = {name: recorded[name][0] if name in recorded else 0 for name in self.inputs}
        self.stage = self.kind.new(self.place)
        self.stage.restore(rows)

    def waiting(self) -> bool:
        return any(self.log.read(name, self.place.partition, position) for name, position in self.position.items())

    def batch(self, rng: random.Random, limit: int) -> list[Record]:
        """Return up to `limit` records of all inputs, mixed in any way that keeps each partition's order."""
        queues = [self.log.read(name, self.place.partition, position) for name, position in self.position.items()]
        found: list[Record] = []
        while len(found) < limit and (filled := [queue for queue in queues if queue]):
            found.append(rng.choice(filled).pop(0))
        return found

    def take(self, records: Sequence[Record], now: int, fate: Fate) -> None:
        """Decide a batch (no records: a timer's) and let its transaction end as fate says."""
        if fate is Fate.LOST:
            return
        end = end_of(self.position, records)
        before = FlowTask(self.kind, self.place, self.log) if fate is Fate.STALE else self
        self._transact([] if fate is Fate.SKIPPED else self._decide(records, now), end, committed=fate is not Fate.ABORTED)
        if fate in (Fate.REPEATED, Fate.STALE):
            self._transact(before._decide(records, now), end, committed=True)
        if fate in (Fate.CRASHED, Fate.ABORTED):
            self.open()

    def _decide(self, records: Sequence[Record], now: int) -> list[Write]:
        return self.stage.decide(records, now) if records else self.stage.expire(now)

    def _transact(self, writes: list[Write], end: dict[str, int], *, committed: bool) -> None:
        noted = codec.encode("TaskPositions", positions_record(end, self.inputs))
        self.log.transact([*writes, Write(self.kind.changelog, self.place.partition, POSITIONS_KEY, noted)], committed=committed)
        if committed:
            self.position = end
            self.stage.committed()


class Flow:
    """A shop: what comes in from outside, the tasks that decide it, the clock."""

    def __init__(
        self, seed: int = 0, partitions: int = 3, provider: Provider | None = None, timeout: int = TIMEOUT, log: MemoryLog | None = None, retention: int = 0
    ) -> None:
        self.rng = random.Random(seed)
        self.now = START
        self.log = log or MemoryLog(partitions)
        self.partitions = partitions
        self.kinds = (STOCK, orders_kind(timeout, retention), payments_kind(provider or Sandbox(), forgets=retention > 0))
        self.tasks = [FlowTask(kind, Place(p, partitions), self.log) for kind in self.kinds for p in range(partitions)]
        self.fates: Sequence[Fate] = (Fate.COMMITTED,)
        self.weights: Sequence[float] = (1.0,)
        self.happened: Counter[Fate] = Counter()
        self._commands = 0

    # -- what comes in -------------------------------------------------------------------------------------------------

    def order(self, order_id: int, *lines: tuple[str, int], **fields: Any) -> list[Item]:
        """Place an order of (product, quantity) lines, one OrderLine record each; return the lines."""
        header = {"unit_price": 100, "currency": "GBP", "user_id": "ann", "payment_token": "tok_ann", "placed_at": self.now, **fields}
        whole = [
            {"order_id": order_id, "line": n, "line_count": len(lines), "product_id": product_id, "quantity": quantity, **header}
            for n, (product_id, quantity) in enumerate(lines, 1)
        ]
        for line in whole:
            self.send_line(line)
        return whole

    def send_line(self, line: Item, partition: int | None = None) -> None:
        """Write one line, to its product's partition unless told otherwise."""
        home = product_partition(line["product_id"], self.partitions) if partition is None else partition
        self.log.append(topics.ORDERS, home, line["product_id"].encode(), codec.encode("OrderLine", line))

    def send_lines(self, lines: Sequence[Item], partition: int) -> None:
        """Write lines as one columnar record."""
        self.log.append(topics.ORDERS, partition, None, codec.encode("OrderLines", columns(lines)))

    def stock(self, kind: str, product_id: str, quantity: int = 0, **fields: Any) -> None:
        """Write a command about a product."""
        self._commands += 1
        whole = {"command_id": f"s{self._commands}", "kind": kind, "product_id": product_id, "quantity": quantity, "as_of": 0, "issued_at": self.now}
        whole |= {"actor": "test", "note": "", **{k: v for k, v in fields.items() if k != "partition"}}
        home = fields.get("partition", product_partition(product_id, self.partitions))
        self.log.append(topics.STOCK_COMMANDS, home, product_id.encode(), codec.encode("StockCommand", whole))

    def command(self, kind: str, order_id: int, line: int = 0, quantity: int = 0, **fields: Any) -> None:
        """Write a command about an order."""
        self._commands += 1
        whole = {"command_id": f"o{self._commands}", "kind": kind, "order_id": order_id, "line": line, "quantity": quantity, "issued_at": self.now}
        whole |= {"actor": "test", **{k: v for k, v in fields.items() if k != "partition"}}
        home = fields.get("partition", order_partition(order_id, self.partitions))
        self.log.append(topics.ORDER_COMMANDS, home, b"%d" % order_id, codec.encode("OrderCommand", whole))

    def garbage(self, topic: Topic, value: bytes | None, partition: int = 0) -> None:
        self.log.append(topic, partition, None, value)

    # -- time and tasks ------------------------------------------------------------------------------------------------

    def run(self, *stages: str) -> None:
        """Let the tasks (of these stages; none named: of all) work until they have nothing to do."""
        while self.step(*stages):
            pass

    def step(self, *stages: str) -> bool:
        """Let one task with something to do take one batch; return whether there was one."""
        ready = [t for t in self.tasks if (not stages or t.kind.name in stages) and (t.waiting() or t.stage.is_due(self.now))]
        if not ready:
            return False
        task, fate = self.rng.choice(ready), self.rng.choices(self.fates, self.weights)[0]
        self.now += self.rng.randrange(3)
        self.happened[fate] += 1
        is_timer = task.stage.is_due(self.now) and (not task.waiting() or self.rng.random() < 0.5)
        task.take([] if is_timer else task.batch(self.rng, self.rng.choice((1, 2, 3, 10, 1_000))), self.now, fate)
        return True

    def wait(self, ms: int = TIMEOUT + 1) -> None:
        """Let time pass."""
        self.now += ms

    def settle(self) -> None:
        """Work until nothing is left to do and no order is waiting for anything any more."""
        self.run()
        self.wait()
        self.run()

    # -- what came out -------------------------------------------------------------------------------------------------

    def said(self, topic: Topic, name: str) -> list[Item]:
        """Return the records of one kind, partition by partition; those from outside that are none are left out."""
        records = (r for p in range(self.partitions) for r in self.log.records[topic.name, p])
        return [value for r in records if (value := _value(r.value, name)) is not None]

    def outcomes(self, order_id: int) -> list[Item]:
        return [outcome for outcome in self.said(topics.ORDER_OUTCOMES, "OrderOutcome") if outcome["order_id"] == order_id]

    def history(self, order_id: int) -> list[str]:
        """Return an order's outcomes as words: 'DECIDED CONFIRMED', ..."""
        return [f"{outcome['change']} {outcome['status']}" for outcome in self.outcomes(order_id)]

    def refusals(self) -> list[tuple[str, int, str]]:
        """Return the refused commands: (kind, order ID, refusal)."""
        return [(r["kind"], r["order_id"], r["refusal"]) for r in self.said(topics.ORDER_OUTCOMES, "OrderCommandRefused")]

    def dead(self) -> list[str]:
        """Return the reasons of the dead letters, sorted."""
        return sorted(letter["reason"] for letter in self.said(topics.DEAD_LETTERS, "DeadLetter"))

    def level(self, product_id: str) -> tuple[int, int, int]:
        """Return (available, reserved, shipped) as last published."""
        levels = [level for level in self.said(topics.STOCK_LEVELS, "StockLevel") if level["product_id"] == product_id]
        return (levels[-1]["available"], levels[-1]["reserved"], levels[-1]["shipped"]) if levels else (0, 0, 0)

    def kept(self, order_id: int) -> int:
        """Return the money kept of an order by the payments agent's answers, each counted once."""
        answers = {(r["attempt"], r["sequence"]): (r["amount"], r["result"]) for r in self._results() if r["order_id"] == order_id}
        return sum({0: amount, 1: 0, 2: -amount}[result] for amount, result in answers.values())

    def _results(self) -> Iterable[Item]:
        for whole in self.said(topics.PAYMENT_RESULTS, "PaymentResults"):
            names = [name for name, value in whole.items() if isinstance(value, list | bytes)]
            yield from (dict(zip(names, values, strict=True)) for values in zip(*(whole[name] for name in names), strict=True))

    # -- the promises --------------------------------------------------------------------------------------------------

    def audit(self, *, live: bool = False) -> Report:
        return check(self.log.for_audit(), live=live)

    def assert_clean(self) -> None:
        """Nothing is left to do, the audit finds nothing, and every task's memory is what its changelog says."""
        assert not self.step()
        self.assert_promises()
        for task in self.tasks:
            again = FlowTask(task.kind, task.place, self.log)
            assert again.position == task.position
            keys = set(task.stage.rows.keys_all())
            assert {key: task.stage.rows.find(key) for key in keys} == {key: again.stage.rows.find(key) for key in set(again.stage.rows.keys_all())}

    def assert_promises(self, *, live: bool = False) -> None:
        report = self.audit(live=live)
        assert report.ok, report.text()
        said = [*self.said(topics.STOCK_LEVELS, "StockLevel"), *self.said(topics.ORDER_OUTCOMES, "OrderOutcome")]
        assert [alarm for value in said for alarm in (of_level(value) if "product_id" in value else of_outcome(value))] == []


def _value(data: bytes | None, name: str) -> Item | None:
    """Return a record of this name; None for any other bytes."""
    try:
        decoded = codec.decode(data)
    except codec.UndecodableError:
        return None
    return decoded.value if decoded.name == name else None
