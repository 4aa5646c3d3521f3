"""What the batches of a worker waited for, from what bench/waits_worker.py noted. Pure."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from bench.stats import share_of

STEPS: Final = ("read", "to_the_loop", "to_the_agent", "decide", "to_a_thread", "commit", "back")
"""Between two moments each: reading (in a thread; waits where nothing is there), the event loop hears of it, the agent has it, everything is
with the producer, a thread takes the commit up, the brokers have committed, the task goes on."""


def waits(lines: Iterable[str], begin: float, end: float) -> dict[str, Any]:
    """Return for each stage its batches between two moments (monotonic clock, s), and p50, p99 and the longest of each step in ms; and Python's collections."""
    found: defaultdict[str, list[list[float]]] = defaultdict(list)
    for line in lines:
        name, count, *at = json.loads(line)
        if begin <= at[0] <= end and len(at) in (2, len(STEPS) + 1):
            found[name].append([count, *at])
    collections = found.pop("gc", [])
    stages = {stage: _stage(batches) for stage, batches in found.items()}
    return {"stages": stages, "python_collections": {"count": len(collections), **_spread([to - at for _, at, to in collections])}}


def _stage(batches: Sequence[Sequence[float]]) -> dict[str, Any]:
    steps = {step: _spread([batch[n + 2] - batch[n + 1] for batch in batches]) for n, step in enumerate(STEPS)}
    return {"batches": len(batches), "records_p50": share_of([batch[0] for batch in batches], 0.5), "ms": steps}


def _spread(seconds: Sequence[float]) -> dict[str, float]:
    shares = {"p50": 0.5, "p99": 0.99, "max": 1.0}
    return {name: round(share_of(seconds, share) * 1000, 1) for name, share in shares.items()} if seconds else {}
