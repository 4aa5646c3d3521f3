"""`results.json` and the table in docs/performance.md. Pure but for the files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bench.plan import Part
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
    lines = [_machine(found), ""]
    for mix in dict.fromkeys(part.mix for part in parts if part.mix):
        rows = [row for part in parts if part.mix is mix and (row := _row(part, rounds))]
        if rows:
            lines += [f"**{mix.title}**", "", *_HEAD, *rows, ""]
    lines += _pairs("ratio", "ours / theirs", found["ratios"]) + _pairs("figure", "", found["figures"])
    return "\n".join(lines).rstrip() + "\n"


_HEAD: Final = [
    "| program | orders/s | warm half | spread | CPU s per 100k orders: program + servers | peak MB | outcomes |",
    "|---|---:|---:|---:|---:|---:|---|",
]


def _machine(found: Mapping[str, Any]) -> str:
    m, o = found["machine"], found["options"]
    where = f"{m['cores']} cores of {m['cpu']}, {m['memory_gb']} GB, {m['system']}, Python {m['python']}, {m['java']}"
    return f"{where}; {o['orders']:,} orders, {o['partitions']} partitions, {o['rounds']} round(s), medians; spread = (highest - lowest) / median."


def _row(part: Part, rounds: Rounds) -> str:
    assert part.contender is not None
    tried = [r for r in rounds if r["part"] == part.name]
    if not tried:
        return ""
    rates = values(rounds, part.name, "per_s")
    if not rates:
        return f"| {part.contender.title} | - | - | - | - | - | {_failure(tried[-1])} |"
    cpu = f"{_median(rounds, part, 'cpu_s_per_100k'):.2f} + {_median(rounds, part, 'servers_cpu_s_per_100k'):.2f}"
    speed = f"{_median(rounds, part, 'per_s'):,.0f} | {_median(rounds, part, 'warm_per_s'):,.0f} | {spread(rates):.0%}"
    well = "right" if len(rates) == len(tried) else f"right in {len(rates)} of {len(tried)} rounds"
    return f"| {part.contender.title} | {speed} | {cpu} | {_median(rounds, part, 'peak_mb'):,.0f} | {well} |"


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
