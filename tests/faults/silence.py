"""How long nobody answered: pure measures over probe orders. Times are seconds of one clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import Final

LOG: Final = "log"
"""Where an answer shows first: order.outcomes. The other places are the stores."""


@dataclass
class Probe:
    """An order that asks one partition of every stage whether it is there. `seen`: place -> when its answer showed there.

    `expired`: the answer was that there is none, for some stage was silent until the order's deadline.
    """

    order_id: int
    partition: int
    sent: float
    expired: bool = False
    seen: dict[str, float] = field(default_factory=dict)


def silence(probes: Iterable[Probe], place: str, since: float, until: float) -> float:
    """Return the longest that a probe had to wait for its answer between these times. What comes after `until` is another fault's."""
    waits = (min(probe.seen.get(place, until), until) - max(probe.sent, since) for probe in probes)
    return max(0.0, max(waits, default=0.0))


def typical(probes: Iterable[Probe], place: str) -> float:
    """Return the median wait of the probes that were answered; 0 without any."""
    return median([probe.seen[place] - probe.sent for probe in probes if place in probe.seen] or [0.0])


def answered(probes: Iterable[Probe], partitions: int, places: Iterable[str], since: float) -> bool:
    """Whether every partition has answered, at each of these places, a probe that was sent after `since`."""
    fresh = [probe for probe in probes if probe.sent >= since and not probe.expired]
    return all({probe.partition for probe in fresh if place in probe.seen} >= set(range(partitions)) for place in places)


def under_way(sent: Mapping[int, float], decided: Mapping[int, float], since: float, until: float) -> int:
    """Return how many orders were sent by `until` and not yet decided at `since`: those that a fault in between could harm."""
    return sum(1 for order_id, at in sent.items() if at <= until and decided.get(order_id, until) >= since)
