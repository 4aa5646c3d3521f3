"""The benches of ours alone: each is a program of its own whose last line is its result."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from bench.plan import GATEWAY, LATENCY, WHOLE_PATH
from bench.servers import Servers
from bench.stats import Rounds, middle_of

GATEWAY_ROUNDS: Final = Path(__file__).parents[1] / ".holdfast" / "bench-gateway.json"
ROWS, QUICK_ROWS = 1_000_000, 20_000
BURST, QUICK_BURST = 1_000_000, 20_000
"""Single-line orders of the whole path."""
SLOWEST_RATE: Final = 50
"""Orders per second of the latency at half of the ceiling, where the ceiling is lower than that."""


def command(part: str, options: Mapping[str, Any], data: Path, rounds: Rounds) -> list[str]:
    """Return the module and options that measure a part; raises ValueError where another part has to be measured first."""
    quick, partitions = options["quick"], ["--partitions", str(options["path_partitions"])]
    seconds = ["--seconds", "5" if quick else "30"]
    if part == "recovery":
        return ["bench.recovery", "--rows", str(QUICK_ROWS if quick else ROWS)]
    if part == GATEWAY:
        return ["bench.gateway", "--json", "--output", str(GATEWAY_ROUNDS), *(["--quick"] if quick else ["--rounds", "1"])]
    if part == WHOLE_PATH[0]:
        return ["bench.whole_path", "--file", str(data), *partitions]
    if part == WHOLE_PATH[1]:
        return ["bench.whole_path", "--orders", str(QUICK_BURST if quick else BURST), *partitions]
    if part == LATENCY[0]:
        return ["bench.latency", "--rate", "100", *seconds, *partitions]
    ceiling = middle_of(rounds, WHOLE_PATH[1], "per_s")
    if ceiling is None:
        raise ValueError(f"{part} needs the rate of {WHOLE_PATH[1]}: run that before")
    if part == LATENCY[2]:
        return ["bench.curve", "--ceiling", str(max(2 * SLOWEST_RATE, round(ceiling))), "--seconds", "3" if quick else "10", *partitions]
    return ["bench.latency", "--rate", str(max(SLOWEST_RATE, round(ceiling / 2))), *seconds, *partitions]


def measure_other(part: str, options: Mapping[str, Any], data: Path, rounds: Rounds, per: Servers) -> dict[str, Any]:
    """Run one; raises RuntimeError with its last words where it fails."""
    addresses = {"HOLDFAST_KAFKA": per.kafka, "HOLDFAST_MYSQL": per.mysql, "HOLDFAST_REDIS": per.redis, "TMPDIR": str(per.folder)}
    done = subprocess.run([sys.executable, "-m", *command(part, options, data, rounds)], check=False, capture_output=True, env=os.environ | addresses)
    if done.returncode:
        raise RuntimeError(f"ended with exit code {done.returncode}: {done.stderr.decode(errors='replace')[-1500:]}")
    result: dict[str, Any] = json.loads(done.stdout.decode().strip().splitlines()[-1])
    return result
