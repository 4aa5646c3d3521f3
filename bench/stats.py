"""Rates, medians, ratios and figures of raw rounds. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, Final


@dataclass(frozen=True)
class Sample:
    """What was seen at one moment: `at` in s; `done` orders with a committed outcome; CPU seconds used so far."""

    at: float
    done: int
    cpu: float
    servers_cpu: float


@dataclass(frozen=True)
class Rates:
    """Of one run. CPU seconds are per 100,000 orders; the rates and they count what follows the first commit seen."""

    per_s: float
    warm_per_s: float
    cpu_s_per_100k: float
    servers_cpu_s_per_100k: float
    seconds: float


def rates(samples: Sequence[Sample], orders: int) -> Rates:
    """Return the rates between the first commit seen and the last; warm: the second half of the orders alone.

    The orders of the first commit are not counted, as the time they took is not: when they were read, no broker noted.
    Raises ValueError when there are fewer than two different moments.
    """
    moved = [s for s, before in zip(samples, [None, *samples], strict=False) if s.done > (before.done if before else 0)]
    if len(moved) < 2:
        raise ValueError(f"all of the {orders} orders were committed at once: take more orders")
    first, last = moved[0], moved[-1]
    middle = next((s for s in moved if s.done >= orders / 2), first)
    if middle is last:
        middle = moved[-2]
    done = last.done - first.done
    return Rates(
        per_s=done / (last.at - first.at),
        warm_per_s=(last.done - middle.done) / (last.at - middle.at),
        cpu_s_per_100k=(last.cpu - first.cpu) / done * 1e5,
        servers_cpu_s_per_100k=(last.servers_cpu - first.servers_cpu) / done * 1e5,
        seconds=last.at - first.at,
    )


def share_of(values: Sequence[float], share: float) -> float:
    """Return the value below which that share of them lies (0.99: the 99th percentile; 1: the largest)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def spread(values: Sequence[float]) -> float:
    """Return the distance of the lowest from the highest as a share of the median; 0 for one value."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0


Rounds = Sequence[Mapping[str, Any]]
"""Raw rounds: `part`, `round`, and either `error` or what was measured, with `right` where outcomes were checked."""


def values(rounds: Rounds, part: str, field: str) -> list[float]:
    """Return a field of every round of a part that ended well; a run with wrong outcomes has no rate."""
    return [float(r[field]) for r in rounds if r["part"] == part and not r.get("error") and r.get("right", True) and r.get(field) is not None]


def middle_of(rounds: Rounds, part: str, field: str) -> float | None:
    """Return the median over the rounds of a part, None where none ended well."""
    found = values(rounds, part, field)
    return median(found) if found else None


def best_of(rounds: Rounds, parts: Sequence[str], field: str) -> float | None:
    """Return the highest of the parts' medians: a peer is shown at its best."""
    found = [m for part in parts if (m := middle_of(rounds, part, field)) is not None]
    return max(found, default=None)


def ratio(ours: float | None, theirs: float | None) -> float | None:
    """Return ours / theirs to three digits, None where one is missing."""
    return round(ours / theirs, 3) if ours and theirs else None


MEMORY: Final = ("kafka_streams_memory_1.uniform", "kafka_streams_memory_2.uniform")
ROCKSDB: Final = ("kafka_streams_rocksdb_1.uniform", "kafka_streams_rocksdb_2.uniform")
DECIDE: Final = "holdfast_columns_2.uniform"
DECIDE_ALONE: Final = "holdfast_columns_1.uniform"
SINGLE: Final = ("holdfast_single_1.uniform", "holdfast_single_2.uniform")
SKEWED: Final = ("holdfast_columns_1.hot10", "holdfast_columns_1.one")
MILLION: Final = "holdfast_columns_1.million"


def ratios(rounds: Rounds) -> dict[str, float | None]:
    """Return the ratios of `results.json`: our whole run over the peer's, Kafka Streams by the better of one and two threads."""
    decide = middle_of(rounds, DECIDE, "per_s")
    alone = middle_of(rounds, DECIDE_ALONE, "per_s")
    skewed = [middle_of(rounds, part, "per_s") for part in SKEWED]
    warm = best_of(rounds, MEMORY, "warm_per_s")
    return {
        "decide_vs_kafka_streams_memory_warm": ratio(decide, warm),
        "decide_vs_kafka_streams_rocksdb": ratio(decide, best_of(rounds, ROCKSDB, "per_s")),
        "single_record_vs_kafka_streams_memory_warm": ratio(best_of(rounds, SINGLE, "per_s"), warm),
        "skew_worst_vs_uniform": ratio(min((s for s in skewed if s), default=None) if all(skewed) else None, alone),
        "vs_row_locks": ratio(alone, middle_of(rounds, "row_locks.uniform", "per_s")),
        "vs_write_and_commit": ratio(alone, middle_of(rounds, "write_and_commit.uniform", "per_s")),
        "vs_row_locks_batched": ratio(alone, middle_of(rounds, "row_locks_batched.uniform", "per_s")),
        "vs_write_and_commit_batched": ratio(alone, middle_of(rounds, "write_and_commit_batched.uniform", "per_s")),
    }


FIGURES: Final = {
    "decide_one_process_per_s": (DECIDE_ALONE, "per_s"),
    "whole_path_lines_per_s": ("whole_path.real_file", "per_s"),
    "whole_path_orders_per_s": ("whole_path.single_lines", "per_s"),
    "p99_ms_half_ceiling": ("latency.half_ceiling", "p99_ms"),
    "p99_ms_100_per_s": ("latency.100_per_s", "p99_ms"),
    "gateway_single_vs_bare": ("gateway", "single_vs_bare"),
    "gateway_batch_orders_per_s": ("gateway", "batch_orders_per_s"),
    "gateway_p99_ms_1000_per_s": ("gateway", "steady_p99_ms"),
    "gateway_reads_per_s": ("gateway", "reads_per_s"),
    "recovery_rows_per_s": ("recovery", "rows_per_s"),
    "recovery_bytes_per_row": ("recovery", "bytes_per_row"),
}


def figures(rounds: Rounds) -> dict[str, float | None]:
    """Return the figures of `results.json`: medians; None for what did not run or did not end well."""
    found: dict[str, float | None] = {name: middle_of(rounds, part, field) for name, (part, field) in FIGURES.items()}
    found["rate_1m_products_vs_1k"] = ratio(middle_of(rounds, MILLION, "per_s"), middle_of(rounds, DECIDE_ALONE, "per_s"))
    return found
