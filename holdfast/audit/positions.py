"""I5: where each task stands in its inputs, by its own changelog. Pure."""

from __future__ import annotations

from typing import Final

from holdfast.audit.log import Log
from holdfast.audit.report import Report
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
    wanted = log.last.get((topic.name, partition), -1) + 1
    end = log.ends.get((topic.name, partition), wanted)
    place = Place(topic.named(log.prefix), partition, position)
    if position < wanted:
        report.add("position_behind", place, f"{changelog.name} says {position}, the last record is at {wanted - 1}")
    elif position > max(end, wanted):
        report.add("position_ahead", place, f"{changelog.name} says {position}, the log ends at {end}")
