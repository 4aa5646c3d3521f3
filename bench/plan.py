"""Which parts a bench has, how many orders each is given, in which order they run, and how long that takes. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
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
    **{"latency.100_per_s": 75, "latency.half_ceiling": 75, "latency.curve": 160, "gateway": 60},
}
"""What the others were seen to take."""
AROUND_S: Final = 12
"""What a run takes besides its orders: topics, start, joining the group, the last look."""
COLUMNS_US, SINGLE_US, ROW_US = 3, 10, 12
"""Of an order: written, read again and checked. `ROW_US`: of a product, whose row is written before the run and read at its start."""


@dataclass(frozen=True)
class Part:
    """One line of the table: a contender on a mix, or (`contender` None) a bench of ours alone. `once`: it runs in the first round alone."""

    name: str
    contender: Contender | None = None
    mix: Mix | None = None
    once: bool = False


def parts() -> tuple[Part, ...]:
    """Return every part, mix by mix, so that what is compared with each other runs close together; those that run once come last."""
    decide = [Part(f"{c.name}.{mix}", c, MIXES[mix], _is_aside(c, mix)) for mix in MIXES for c in CONTENDERS.values() if mix in c.mixes]
    others = [Part(name, once=name != "recovery") for name in OTHERS]
    again, aside = [part for part in decide if not part.once], [part for part in decide if part.once]
    return (*again, *others, *aside)


def _is_aside(contender: Contender, mix: str) -> bool:
    """Whether no ratio is made of this: other mixes than the uniform one, but for ours in one process."""
    return mix != "uniform" and contender.name != "holdfast_columns_1"


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
    """Return (round, part): every part once, then every part again, so that what changes on the machine changes for all; what runs once comes last."""
    each = list(chosen_parts)
    again = [(number, part) for number in range(1, rounds + 1) for part in each if not part.once]
    return [*again, *((1, part) for part in each if part.once)]
