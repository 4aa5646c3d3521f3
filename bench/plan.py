"""Which parts a bench has, how many orders each is given, in which order they run, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from fnmatch import fnmatchcase
from typing import Any, Final

from bench.contenders import CONTENDERS, MOST_COLUMNS, MOST_SINGLE, Contender
from bench.work import MIXES, Mix

LEAST_ORDERS: Final = 2_000
WHOLE_PATH: Final = ("whole_path.real_file", "whole_path.single_lines")
LATENCY: Final = ("latency.100_per_s", "latency.half_ceiling", "latency.curve")
GATEWAY: Final = "gateway"
OTHERS: Final = ("recovery", *WHOLE_PATH, *LATENCY, GATEWAY)
"""Ours alone. The whole path comes before the latency at half of its rate."""
SECONDS_OF: Final = {
    **{"recovery": 35, "whole_path.real_file": 120, "whole_path.single_lines": 110},
    **{"latency.100_per_s": 100, "latency.half_ceiling": 100, "latency.curve": 185, "gateway": 60},
}
"""What the others were seen to take."""
AROUND_S: Final = 12
"""What a run takes besides its orders: topics, start, joining the group, the last look."""
COLUMNS_US, SINGLE_US, ROW_US = 1.2, 6.5, 12
"""Of an order: written, read again and checked. `ROW_US`: of a product, whose row is written before the run and read at its start."""


class When(Enum):
    """In which rounds a part runs."""

    EVERY_ROUND = "what ratios are made of, and every peer on the uniform mix"
    FIRST_ROUND = "what takes minutes"
    IN_THE_END = "once, after all rounds: no agreed ratio or figure is made of it"


@dataclass(frozen=True)
class Part:
    """One line of the table: a contender on a mix, or (`contender` None) a bench of ours alone."""

    name: str
    contender: Contender | None = None
    mix: Mix | None = None
    when: When = When.EVERY_ROUND


def parts() -> tuple[Part, ...]:
    """Return every part, mix by mix, so that what is compared with each other runs close together; those that run in the end come last."""
    decide = (Part(f"{c.name}.{mix}", c, MIXES[mix], _when(c, mix)) for mix in MIXES for c in CONTENDERS.values() if mix in c.mixes)
    every = (*decide, *(Part(name, when=_WHEN_OTHERS.get(name, When.FIRST_ROUND)) for name in OTHERS))
    return tuple(sorted(every, key=lambda part: part.when is When.IN_THE_END))


def _when(contender: Contender, mix: str) -> When:
    return When.EVERY_ROUND if mix == "uniform" or contender.name == "holdfast_columns_1" else When.IN_THE_END


_WHEN_OTHERS: Final = {"recovery": When.EVERY_ROUND, LATENCY[2]: When.IN_THE_END, GATEWAY: When.IN_THE_END}


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


def orders_of(part: Part, seconds: float) -> int:
    """Return the orders that keep a part's program busy for about so many seconds, as far as one transaction can bring them."""
    if part.contender is None or part.mix is None:
        return 0
    most = MOST_SINGLE if part.contender.per_record == 1 else MOST_COLUMNS
    return min(most, max(LEAST_ORDERS, round(_rate(part.contender, part.mix) * seconds / 1_000) * 1_000))


def _rate(contender: Contender, mix: Mix) -> int:
    return round(contender.per_s * contender.slower.get(mix.name, 1.0))


def seconds_of(part: Part, seconds: float, rounds: Iterable[Mapping[str, Any]]) -> float:
    """Return how long a part will take: as in an earlier round, else by what was seen of its kind."""
    took = [r["took"] for r in rounds if r["part"] == part.name and "took" in r and not r.get("error")]
    if took:
        return float(took[-1])
    if part.contender is None or part.mix is None:
        return SECONDS_OF[part.name]
    orders = orders_of(part, seconds)
    around = orders * (SINGLE_US if part.contender.per_record == 1 else COLUMNS_US) + part.mix.products * ROW_US
    return AROUND_S + orders / _rate(part.contender, part.mix) + around / 1e6


def schedule(chosen_parts: Iterable[Part], rounds: int) -> list[tuple[int, Part]]:
    """Return (round, part): every part once, then every part again, so that what changes on the machine changes for all."""
    each = list(chosen_parts)
    in_rounds = [(number, part) for number in range(1, rounds + 1) for part in each if part.when is When.EVERY_ROUND or _is_first(number, part)]
    return [*in_rounds, *((1, part) for part in each if part.when is When.IN_THE_END)]


def _is_first(number: int, part: Part) -> bool:
    return number == 1 and part.when is When.FIRST_ROUND
