"""I5 and I6: where each task and each sink stands in its inputs, by its own word. Pure."""

from __future__ import annotations

from typing import Final

from holdfast.audit.log import Log
from holdfast.audit.report import Report
from holdfast.audit.stores import Stores
from holdfast.audit.table import Place
from schemas import topics
from schemas.topics import Topic

INPUTS: Final[dict[Topic, tuple[Topic, ...]]] = {
    topics.STOCK_STATE: (topics.ORDERS, topics.STOCK_COMMANDS),
    topics.ORDER_STATE: (topics.STOCK_DECISIONS, topics.ORDER_COMMANDS, topics.PAYMENT_RESULTS),
    topics.PAYMENT_STATE: (topics.PAYMENT_REQUESTS,),
}
"""Changelog -> what its stage reads."""


def check_positions(log: Log, report: Report) -> None:
    """At rest each task stands behind the last record of each input, and not beyond the input's end."""
    checked = 0
    for changelog, inputs in INPUTS.items():
        for partition in range(log.partitions):
            for topic in inputs:
                _check(log, report, changelog, topic, partition)
                checked += 1
    report.count("I5", positions=checked)


def _check(log: Log, report: Report, changelog: Topic, topic: Topic, partition: int) -> None:
    position = log.positions.get((changelog.name, partition), {}).get(topic.name, 0)
    fault = _fault(log, topic, partition, position)
    if fault:
        kind = "position_ahead" if fault == AHEAD else "position_behind"
        report.add(kind, Place(topic.named(log.prefix), partition, position), f"{changelog.name} says {position}, the log is {_reach(log, topic, partition)}")


AHEAD: Final = "ahead"
BEHIND: Final = "behind"


def _fault(log: Log, topic: Topic, partition: int, position: int) -> str:
    wanted = log.last.get((topic.name, partition), -1) + 1
    end = log.ends.get((topic.name, partition), wanted)
    return BEHIND if position < wanted else AHEAD if position > max(end, wanted) else ""


def _reach(log: Log, topic: Topic, partition: int) -> str:
    place = topic.name, partition
    return f"read to offset {log.last.get(place, -1)} and ends at {log.ends.get(place, 0)}"


def check_store_positions(log: Log, stores: Stores, report: Report, *, live: bool) -> None:
    """No sink stands beyond its input's end, where it would pass over what comes next; at rest it stands behind the last record."""
    for sink in stores.sinks:
        for topic in (topics.STOCK_LEVELS, topics.ORDER_OUTCOMES):
            for partition in range(log.partitions):
                generation = log.generations.of(partition)
                position = stores.positions.get((sink, topic.named(generation.prefix), partition - generation.base), 0)
                fault = _fault(log, topic, partition, position)
                if fault == AHEAD or (fault and not live):
                    place = Place(f"{sink}:position of {topic.name}", partition, position)
                    report.add(f"store_position_{fault}", place, f"the log is {_reach(log, topic, partition)}")
    report.count("I6", positions=len(stores.positions))
