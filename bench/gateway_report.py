"""Figures and table of the gateway's rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from statistics import median
from typing import Any, Final

from bench.stats import Rounds, middle_of, spread, values

AGAINST: Final = {"single_vs_bare": "single", "keyed_vs_bare": "keyed"}
GOALS: Final = {
    "single_vs_bare": "at least 0.6",
    "batch_orders_per_s": "at least 80,000",
    "steady_p99_ms": "under 60",
    "reads_per_s": "at least 8,000",
}


def of_bare(rounds: Rounds, part: str) -> float | None:
    """Return a part's rate over the bare handler's of the same round; the median over the rounds in which both were right."""
    rates = {(r["part"], r["round"]): float(r["per_s"]) for r in rounds if r["right"]}
    both = [rate / bare for (name, number), rate in rates.items() if name == part and (bare := rates.get(("bare", number)))]
    return round(median(both), 3) if both else None


def p99(rounds: Rounds, part: str) -> float | None:
    """Return the median of the rounds' 99th percentiles, in ms."""
    found = [float(r["ms"]["p99"]) for r in rounds if r["part"] == part and r["right"]]
    return median(found) if found else None


def figures(rounds: Rounds) -> dict[str, float | None]:
    """Return the figures: medians of the rounds in which every answer was right, None where there is none."""
    return {
        "bare_per_s": middle_of(rounds, "bare", "per_s"),
        "single_per_s": middle_of(rounds, "single", "per_s"),
        "keyed_per_s": middle_of(rounds, "keyed", "per_s"),
        **{name: of_bare(rounds, part) for name, part in AGAINST.items()},
        "batch_orders_per_s": middle_of(rounds, "batch", "orders_per_s"),
        "steady_p99_ms": p99(rounds, "steady"),
        "steady_keyed_p99_ms": p99(rounds, "steady_keyed"),
        "reads_per_s": middle_of(rounds, "reads", "per_s"),
    }


_HEAD: Final = [
    "| part | per s | spread | p50 ms | p99 ms | cores: gateway or bare | clients | kafka | mariadb | redis | answers |",
    "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---|",
]


def table(rounds: Rounds) -> str:
    """Return two Markdown tables: every part, then the figures beside their goals."""
    parts = dict.fromkeys(r["part"] for r in rounds)
    said = [f"| {name} | {_number(value)} | {GOALS.get(name, '')} |" for name, value in figures(rounds).items()]
    return "\n".join([*_HEAD, *(_row(rounds, part) for part in parts), "", "| figure | | goal |", "|---|---:|---|", *said])


def _row(rounds: Rounds, part: str) -> str:
    mine = [r for r in rounds if r["part"] == part]
    field = "per_s" if mine[0]["orders_per_s"] is None else "orders_per_s"
    rates = values(rounds, part, field)
    speed = f"{median(rates):,.0f} | {spread(rates):.0%}" if rates else "- | -"
    times = " | ".join(f"{median([r['ms'].get(name, 0.0) for r in mine]):.1f}" for name in ("p50", "p99"))
    server = "bare" if part == "bare" else "gateway"
    cores = [_cores(mine, server), f"{median([r['client_cores'] for r in mine]):.2f}", *(_cores(mine, name) for name in ("kafka", "mariadb", "redis"))]
    return f"| {part} | {speed} | {times} | {' | '.join(cores)} | {_verdict(mine)} |"


def _cores(mine: list[Mapping[str, Any]], name: str) -> str:
    found = [r["cores"][name] for r in mine if name in r["cores"]]
    return f"{median(found):.2f}" if found else "-"


def _verdict(mine: list[Mapping[str, Any]]) -> str:
    wrong = [r for r in mine if not r["right"]]
    return f"WRONG in {len(wrong)} of {len(mine)} rounds: {wrong[0]['statuses']}" if wrong else "right"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 1_000 else f"{value:,.3g}"
