"""`results.json` and the table in docs/performance.md. Pure but for the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.plan import LATENCY, WHOLE_PATH, Part, When
from bench.stats import Rounds, figures, middle_of, ratios, spread, values

BEGIN: Final = "<!-- bench: begin (written by `make bench`) -->"
END: Final = "<!-- bench: end -->"


def document(machine: Mapping[str, Any], options: Mapping[str, Any], rounds: Rounds) -> dict[str, Any]:
    """Return `results.json`."""
    return {"machine": dict(machine), "options": dict(options), "ratios": ratios(rounds), "figures": figures(rounds), "rounds": list(rounds)}


def read(path: Path) -> dict[str, Any]:
    """Return an earlier `results.json`, or an empty one."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def write(path: Path, found: Mapping[str, Any]) -> None:
    """Write `results.json` whole or not at all."""
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(found, indent=1) + "\n")
    partial.replace(path)


def table(found: Mapping[str, Any], parts: Sequence[Part]) -> str:
    """Return the Markdown between the marks."""
    rounds: Rounds = found["rounds"]
    lines = [_machine(found, _whole_rounds(parts, rounds)), ""]
    for mix in dict.fromkeys(part.mix for part in parts if part.mix):
        rows = [row for part in parts if part.mix is mix and (row := _row(part, rounds))]
        if rows:
            lines += [f"**{mix.title}**", "", *_HEAD, *rows, ""]
    lines += [*_whole_path(rounds), *_curve(rounds)]
    lines += _pairs("ratio", "ours / theirs", found["ratios"]) + _pairs("figure", "", found["figures"])
    return "\n".join(lines).rstrip() + "\n"


_HEAD: Final = [
    "| program | orders | orders/s | warm half | spread | CPU s per 100k orders: program + servers | peak MB | outcomes |",
    "|---|---:|---:|---:|---:|---:|---:|---|",
]


def _whole_rounds(parts: Sequence[Part], rounds: Rounds) -> int:
    """Return how many rounds every part was run in that was run at all and is wanted in each."""
    ran = {part.name: max((r["round"] for r in rounds if r["part"] == part.name), default=0) for part in parts if part.when is When.EVERY_ROUND}
    return min((number for number in ran.values() if number), default=0)


def _machine(found: Mapping[str, Any], done: int) -> str:
    m, o = found["machine"], found["options"]
    where = f"{m['cores']} cores of {m['cpu']}, {m['memory_gb']} GB, {m['system']}, Python {m['python']}, {m['java']}"
    partitions = f"{o['partitions']} partitions (whole path and latency: {o['path_partitions']})"
    rounds = f"{o['rounds']} round(s) wanted, {done} whole, medians"
    return f"{where}; orders for about {o['seconds']:g} s, {partitions}, {rounds}; spread = (highest - lowest) / median."


def _row(part: Part, rounds: Rounds) -> str:
    assert part.contender is not None
    tried = [r for r in rounds if r["part"] == part.name]
    if not tried:
        return ""
    rates = values(rounds, part.name, "per_s")
    if not rates:
        return f"| {part.contender.title} | - | - | - | - | - | - | {_failure(tried[-1])} |"
    cpu = f"{_median(rounds, part, 'cpu_s_per_100k'):.3g} + {_median(rounds, part, 'servers_cpu_s_per_100k'):.3g}"
    speed = f"{_median(rounds, part, 'per_s'):,.0f} | {_median(rounds, part, 'warm_per_s'):,.0f} | {spread(rates):.0%}"
    well = "right" if len(rates) == len(tried) else f"right in {len(rates)} of {len(tried)} rounds"
    return f"| {part.contender.title} | {_median(rounds, part, 'orders'):,.0f} | {speed} | {cpu} | {_median(rounds, part, 'peak_mb'):,.0f} | {well} |"


def _whole_path(rounds: Rounds) -> list[str]:
    """Return the four numbers of the whole path, and what each process cost per order line."""
    done = [(part, last) for part in WHOLE_PATH if (last := _last(rounds, part, "per_s"))]
    if not done:
        return []
    names = ("lines", "accepted_per_s", "decided_per_s", "per_s", "drain_s")
    rows = [f"| {part} | {' | '.join(f'{last[n]:,}' if n in last else '-' for n in names)} |" for part, last in done]
    head = [
        "**The whole path** (the last round; rates in lines/s)",
        "",
        "| | lines | accepted | decided | persisted | drain s |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    return [*head, *rows, "", *_costs(done)]


def _costs(done: Sequence[tuple[str, Mapping[str, Any]]]) -> list[str]:
    known = [(part, last["cpu_us_per_line"]) for part, last in done if "cpu_us_per_line" in last]
    names = list(dict.fromkeys(name for _, costs in known for name in costs))
    rows = [f"| {name} | {' | '.join(str(costs.get(name, '-')) for _, costs in known)} |" for name in names]
    return [f"| CPU us per line | {' | '.join(part for part, _ in known)} |", "|---" + "|---:" * len(known) + "|", *rows, ""] if known else []


def _curve(rounds: Rounds) -> list[str]:
    last = _last(rounds, LATENCY[2], "curve")
    if not last:
        return []
    rows = [f"| {p['share']} % | {p['rate']:,} | {p['p50']} | {p['p99']} | {p['p99_9']} |" for p in last["curve"]]
    return ["**Order to outcome**, ms", "", "| of the ceiling | orders/s | p50 | p99 | p99.9 |", "|---:|---:|---:|---:|---:|", *rows, ""]


def _last(rounds: Rounds, part: str, field: str) -> Mapping[str, Any] | None:
    """Return the last round of a part that ended well and has this field."""
    return next((r for r in reversed(rounds) if r["part"] == part and not r.get("error") and field in r), None)


def _median(rounds: Rounds, part: Part, field: str) -> float:
    return middle_of(rounds, part.name, field) or 0.0


def _failure(tried: Mapping[str, Any]) -> str:
    said = tried.get("error") or tried.get("verdict") or "nothing"
    return str(said).replace("\n", " ").replace("|", "/")[:200]


def _pairs(name: str, what: str, found: Mapping[str, Any]) -> list[str]:
    rows = [f"| {key} | {'-' if value is None else f'{value:,.3g}' if value < 1000 else f'{value:,.0f}'} |" for key, value in found.items()]
    return [f"| {name} | {what} |", "|---|---:|", *rows, ""]


def put_table(path: Path, text: str) -> None:
    """Write the table between the marks of a document; raises ValueError where they are missing."""
    page = path.read_text()
    before, found, rest = page.partition(BEGIN)
    _, ended, after = rest.partition(END)
    if not found or not ended:
        raise ValueError(f"{path} has no lines {BEGIN!r} and {END!r} to write the table between")
    path.write_text(f"{before}{BEGIN}\n\n{text}\n{END}{after}")
