"""Which parts a bench has, and in which order they run. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Final

from bench.contenders import CONTENDERS, Contender
from bench.work import MIXES, Mix

LEAST_ORDERS: Final = 2_000
WHOLE_PATH: Final = ("whole_path.real_file", "whole_path.single_lines")
LATENCY: Final = ("latency.100_per_s", "latency.half_ceiling", "latency.curve")
GATEWAY: Final = "gateway"
OTHERS: Final = ("recovery", *WHOLE_PATH, *LATENCY, GATEWAY)
"""Ours alone. The whole path comes before the latency at half of its rate."""


@dataclass(frozen=True)
class Part:
    """One line of the table: a contender on a mix, or (`contender` None) a bench of ours alone."""

    name: str
    contender: Contender | None = None
    mix: Mix | None = None


def parts() -> tuple[Part, ...]:
    """Return every part, mix by mix, so that what is compared with each other runs close together."""
    decide = (Part(f"{c.name}.{mix}", c, MIXES[mix]) for mix in MIXES for c in CONTENDERS.values() if mix in c.mixes)
    return (*decide, *(Part(name) for name in OTHERS))


def chosen(patterns: Sequence[str]) -> tuple[Part, ...]:
    """Return the parts whose name one of the patterns (`*` stands for anything) matches, or begins; raises ValueError for one that matches none."""
    every = parts()
    for pattern in patterns:
        if not any(matches(part.name, pattern) for part in every):
            raise ValueError(f"no part is called {pattern!r}: `--list` names them")
    return tuple(part for part in every if not patterns or any(matches(part.name, pattern) for pattern in patterns))


def matches(name: str, pattern: str) -> bool:
    """Whether `pattern` names the part, or the part's contender."""
    return fnmatchcase(name, pattern) or name.partition(".")[0] == pattern


def orders_of(part: Part, orders: int) -> int:
    """Return the orders a part is given, of a run of `orders`: a slow program is given its share."""
    share = part.contender.share if part.contender else 1.0
    return min(orders, max(LEAST_ORDERS, round(orders * share)))


def schedule(chosen_parts: Iterable[Part], rounds: int) -> list[tuple[int, Part]]:
    """Return (round, part): every part once, then every part again, so that what changes on the machine changes for all."""
    each = list(chosen_parts)
    return [(number, part) for number in range(1, rounds + 1) for part in each]
