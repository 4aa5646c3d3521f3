"""What a run says: build/faults.json for programs, the table for people. Pure but for `write`."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from tests.faults.failpoint_drill import Drill
from tests.faults.fault import Fault
from tests.faults.result import Result, Struck
from tests.faults.silence import LOG

PATIENCE_S: Final = 15.0
"""After any single fault the pipeline is to answer again within so long."""
UNKNOWN: Final = Fault("", "", lambda _site, _random: None)


def document(result: Result) -> dict[str, Any]:
    """Return the whole result as JSON takes it."""
    by_kind = _by_kind(result.struck)
    return {
        "ok": result.ok and not slow(result),
        "seed": result.seed,
        "minutes": round(result.seconds / 60, 2),
        "load_minutes": round(sum(r.load_s for r in result.rounds) / 60, 2),
        "interrupted": result.interrupted,
        "strikes": len(result.struck),
        "faults": {kind: _kind(by_kind[kind]) for kind in sorted(by_kind)},
        "not_struck": dict(Counter(s.kind for r in result.rounds for s in r.struck if s.error)),
        "orders": sum(r.orders for r in result.rounds),
        "lines": sum(r.lines for r in result.rounds),
        "commands": sum(r.commands for r in result.rounds),
        "probes": sum(r.probes for r in result.rounds),
        "decided": sum(r.decided for r in result.rounds),
        "in_flight": sum(s.in_flight for s in result.struck),
        "violations": sum(len(r.violations) for r in result.rounds) + (len(result.drill.violations) if result.drill else 0),
        "problems": [*(f"round {r.number}: {problem}" for r in result.rounds for problem in r.problems), *_drill_problems(result.drill)],
        "slow": slow(result),
        "failpoints": _drill(result.drill) if result.drill else None,
        "rounds": [_round(r) for r in result.rounds],
    }


def slow(result: Result) -> dict[str, float]:
    """Return the kinds after which the pipeline was longer silent than it may be, with the seconds."""
    longest = {kind: _longest(struck, LOG) for kind, struck in _by_kind(result.struck).items()}
    return {kind: seconds for kind, seconds in longest.items() if seconds is not None and seconds > PATIENCE_S}


def write(path: Path, result: Result) -> None:
    """Write the document; a reader sees the one before or this one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(json.dumps(document(result), indent=2) + "\n")
    partial.replace(path)


def table(said: dict[str, Any], faults: dict[str, Fault]) -> str:
    """Return the Markdown table of a document, one row per kind of fault."""
    columns = ("fault", "what is done", "times", "longest time without an answer", "counted from", "until both stores show it", "orders in flight")
    head = f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}\n"
    rows = [_row(kind, faults.get(kind, UNKNOWN), each) for kind, each in said["faults"].items()]
    total = f"| **all** | | **{said['strikes']}** | | | | **{said['in_flight']:,}** |\n"
    return head + "".join(rows) + total


def summary(said: dict[str, Any]) -> str:
    """Return the result in one line."""
    parts = [
        f"{said['strikes']} faults of {len(said['faults'])} kinds in {said['load_minutes']:.1f} minutes of load",
        f"{said['orders']:,} orders ({said['lines']:,} lines), {said['commands']:,} commands",
        *([f"{drill['kills']:,} kills at {drill['failpoints']} failpoints, at least {drill['fewest']} at each"] if (drill := said["failpoints"]) else []),
        f"{said['violations']} violations",
    ]
    return ", ".join(parts)


def _by_kind(struck: Iterable[Struck]) -> dict[str, list[Struck]]:
    found: defaultdict[str, list[Struck]] = defaultdict(list)
    for each in struck:
        found[each.kind].append(each)
    return found


def _kind(struck: list[Struck]) -> dict[str, Any]:
    stores = [seconds for place in ("mysql", "redis") if (seconds := _longest(struck, place)) is not None]
    return {
        "count": len(struck),
        "single": sum(1 for s in struck if s.single),
        "max_silence_s": _longest(struck, LOG),
        "max_silence_since_strike_s": max((round(s.silence_since_strike, 1) for s in struck if s.silence), default=None),
        "max_silence_stores_s": max(stores, default=None),
        "in_flight": sum(s.in_flight for s in struck),
    }


def _longest(struck: Iterable[Struck], place: str) -> float | None:
    """Return the longest silence after single faults; None where the kind was only struck among others."""
    return max((round(s.silence[place], 1) for s in struck if place in s.silence), default=None)


def _round(r: Any) -> dict[str, Any]:
    return {
        **{"number": r.number, "ok": r.ok, "load_s": round(r.load_s, 1), "drained_s": round(r.drained_s, 1)},
        **{"strikes": len(r.struck), "orders": r.orders, "lines": r.lines, "commands": r.commands, "probes": r.probes, "decided": r.decided},
        **{"longest_silence_s": round(r.longest_silence_s, 1), "median_answer_s": round(r.median_answer_s, 3), "restarts": r.restarts, "checked": r.checked},
        "errors": [f"{s.kind}: {s.error}" for s in r.struck if s.error],
        **{"violations": r.violations[:100], "problems": r.problems, "folder": str(r.folder)},
    }


def _drill(drill: Drill) -> dict[str, Any]:
    fewest = min(drill.kills.values(), default=0)
    counts = {"times": drill.times, "kills": drill.kills.total(), "failpoints": len(drill.kills), "fewest": fewest, "orders": drill.orders}
    return {"ok": drill.ok, **counts, "seconds": round(drill.seconds, 1), "violations": [v.to_json() for v in drill.violations[:100]]}


def _drill_problems(drill: Drill | None) -> list[str]:
    return [] if drill is None or drill.ok else [f"failpoints: {drill.text()}"]


def _row(kind: str, fault: Fault, each: dict[str, Any]) -> str:
    silence = f"{_seconds(each['max_silence_s'])} | {'its end' if fault.withholds else 'the strike'} | {_seconds(each['max_silence_stores_s'])}"
    return f"| {kind} | {fault.what} | {each['count']} | {silence} | {each['in_flight']:,} |\n"


def _seconds(value: float | None) -> str:
    return "" if value is None else f"{value:.1f} s"
