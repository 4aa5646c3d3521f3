"""What strikes when: pure, from a seed. First every kind on its own, then all of them mixed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from random import Random
from typing import Final

from tests.faults.fault import Fault

ROUND_S: Final = 300.0
"""Load per stack, in seconds, about: a fresh one now and then, so that the audit stays small and nothing hides in a long history."""
WARM_UP_S: Final = 4.0
SPACE_S: Final = 8.0
"""Planned between the healing of a single fault and the next strike; what takes longer to answer again delays the next one."""
MIXED_GAP_S: Final = 2.6
"""Between two strikes of a mixed round, on average."""
MIXED_SHARE: Final = 0.45
"""At least this share of the time is for mixed faults."""
SECOND_SHARE: Final = 10.0
"""A fault that lasts so many seconds comes half as often in a mixed round: long ones would leave nothing else to do."""


@dataclass(frozen=True)
class Strike:
    """One fault: when (seconds of load; at the earliest), which kind, and the seed of its chance."""

    at_s: float
    kind: str
    chance: int


@dataclass(frozen=True)
class Round:
    """One stack's life under load: single faults, each waited for (`at_s` from its beginning), then `mixed_s` of mixed ones (`at_s` from theirs)."""

    number: int
    seed: int
    singles: tuple[Strike, ...] = ()
    mixed: tuple[Strike, ...] = ()
    mixed_s: float = 0.0


def rounds(seed: int, seconds: float, faults: Mapping[str, Fault]) -> list[Round]:
    """Return the rounds for this much load, in seconds: the same for the same arguments."""
    random = Random(seed)
    queue = _shuffled(random, faults)
    able_to_mix = [name for name in queue if not faults[name].alone]
    singles, spent = _singles(random, queue, faults, seconds * (1 - MIXED_SHARE) if able_to_mix else seconds)
    left = seconds - spent
    mixed = [(length, _mixed(random, length, able_to_mix, faults)) for length in _parts(left)] if able_to_mix and left > 2 * WARM_UP_S else []
    if seconds <= ROUND_S and len(singles) == 1 and mixed:
        (length, strikes), *_ = mixed
        return [Round(1, random.getrandbits(32), singles[0], strikes, length)]
    drawn = [Round(0, 0, strikes) for strikes in singles] + [Round(0, 0, (), strikes, length) for length, strikes in mixed]
    return [replace(each, number=number, seed=random.getrandbits(32)) for number, each in enumerate(drawn, 1)]


def _shuffled(random: Random, faults: Mapping[str, Fault]) -> list[str]:
    queue = sorted(faults)
    random.shuffle(queue)
    return queue


def _singles(random: Random, queue: Iterable[str], faults: Mapping[str, Fault], budget_s: float) -> tuple[list[tuple[Strike, ...]], float]:
    """Return the strikes of rounds that fit into the budget, each kind once, at least one; and the seconds they take."""
    takes = {name: faults[name].lasts_s + SPACE_S for name in queue}
    fitting: list[str] = []
    for name, seconds in takes.items():
        if not fitting or sum(takes[each] for each in fitting) + seconds <= budget_s:
            fitting.append(name)
    total = sum(takes[name] for name in fitting)
    groups = _divided(fitting, takes, total / max(1, round(total / ROUND_S)))
    return [_spaced(random, group, takes) for group in groups], total + WARM_UP_S * len(groups)


def _divided(names: Iterable[str], takes: Mapping[str, float], length: float) -> list[list[str]]:
    """Divide names, in their order, into groups that take about the same time."""
    groups: list[list[str]] = []
    spent = 0.0
    for name in names:
        if len(groups) <= spent / length:
            groups.append([])
        groups[-1].append(name)
        spent += takes[name]
    return groups


def _spaced(random: Random, names: Iterable[str], takes: Mapping[str, float]) -> tuple[Strike, ...]:
    """Return one strike per name, each when the time of the one before is over."""
    strikes, at = [], WARM_UP_S
    for name in names:
        strikes.append(Strike(round(at, 1), name, random.getrandbits(32)))
        at += takes[name]
    return tuple(strikes)


def _parts(seconds: float) -> list[float]:
    """Divide a time into equal rounds of about ROUND_S."""
    count = max(1, round(seconds / ROUND_S))
    return [round(seconds / count, 1)] * count


def _mixed(random: Random, seconds: float, names: Sequence[str], faults: Mapping[str, Fault]) -> tuple[Strike, ...]:
    """Return one round's strikes at random times; a kind does not strike again while it lasts."""
    strikes: list[Strike] = []
    busy_until = dict.fromkeys(names, 0.0)
    at = WARM_UP_S
    while at < seconds - 1:
        free = [name for name in names if busy_until[name] <= at]
        if free:
            (name,) = random.choices(free, [1 / (1 + faults[name].lasts_s / SECOND_SHARE) for name in free])
            strikes.append(Strike(round(at, 1), name, random.getrandbits(32)))
            busy_until[name] = at + faults[name].lasts_s + 1
        at += random.uniform(0.2, 2 * MIXED_GAP_S - 0.2)
    return tuple(strikes)
