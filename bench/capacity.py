"""The capacity model: what so many orders a second need, fitted to what was measured. Pure.

An order costs each process `per_order + per_line x lines` microseconds of CPU. Two runs of the whole path, on single lines and on a real file with many
lines per order, give the two numbers of each process. From these follow the cores, the servers where one thread does the work, and what is full first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any, Final

BUSY: Final = 0.7
"""Share of a core that is planned for: beyond it queues grow faster than the work."""
TARGETS: Final = (100_000, 1_000_000)
LINES: Final = (1, 3)
ALONE: Final = {
    "redis": "one Redis does its work in one thread; the sink's scripts write many keys each, so a Redis Cluster needs a change of the sink",
    "mariadb orders": "orders, users and products are in one database, which one connection of a sink writes",
    "mariadb lines": "order lines: one connection of a sink writes one shard",
    "sink-redis": "a sink process has one thread; several share the partitions",
    "sink-mysql": "a sink process has one thread; several share the partitions",
    "worker": "a worker decides in one thread; several share the partitions",
}
"""What is full at one core, and what to do then."""


@dataclass(frozen=True)
class Cost:
    """Microseconds of CPU of one process."""

    per_order: float
    per_line: float

    def of(self, lines: float) -> float:
        """Return what an order of so many lines costs."""
        return self.per_order + self.per_line * lines


def fit(single: float, many: float, lines: float) -> Cost:
    """Return the cost of which an order of one line is `single` in all, and a line of an order of `lines` is `many`; nothing below 0."""
    per_line = min(max((many * lines - single) / (lines - 1), 0.0), single)
    return Cost(single - per_line, per_line)


def costs(measured: Mapping[str, Any]) -> dict[str, Cost]:
    """Return each process's cost by the two runs of the whole path (`lines_per_order` is that of the real file)."""
    single, real = measured["single_lines"], measured["real_file"]
    lines = real["lines_per_order"]
    names = {"kafka": "kafka", "mariadb": "mariadb", "redis": "redis", "worker-1": "worker", "sink-mysql": "sink-mysql", "sink-redis": "sink-redis"}
    found = {mine: fit(single["cpu_us_per_line"][theirs], real["cpu_us_per_line"][theirs], lines) for theirs, mine in names.items()}
    return found | {"loader": fit(single["cpu_us_per_line"]["clients"], single["cpu_us_per_line"]["clients"] / 2, 2)}


def alone(found: Mapping[str, Cost]) -> dict[str, Cost]:
    """Return the costs of what one thread does: MariaDB's two halves may be on different servers."""
    database = found["mariadb"]
    halves = {"mariadb orders": Cost(database.per_order, 0.0), "mariadb lines": Cost(0.0, database.per_line)}
    return {name: cost for name, cost in {**found, **halves}.items() if name in ALONE}


def ceilings(found: Mapping[str, Cost], lines: float) -> list[tuple[str, float]]:
    """Return (what, orders/s at which one of it is full), what is full first before the others."""
    full = {name: BUSY * 1e6 / cost.of(lines) for name, cost in alone(found).items() if cost.of(lines) > 0}
    return sorted(full.items(), key=lambda each: each[1])


def needs(found: Mapping[str, Cost], rate: float, lines: float) -> dict[str, float]:
    """Return what `rate` orders/s of so many lines need: cores of each process and in all, workers, partitions, shards of the order lines."""
    cores = {name: rate * cost.of(lines) / 1e6 / BUSY for name, cost in found.items()}
    shards = ceil(rate * found["mariadb"].per_line * lines / 1e6 / BUSY)
    workers = ceil(cores["worker"])
    return {**cores, "all": sum(cores.values()), "workers": workers, "partitions": max(8, 2 * workers), "mysql shards": max(1, shards)}


def slope(points: Sequence[tuple[float, float]]) -> float:
    """Return the least-squares slope of (x, y); 0 for fewer than two different x."""
    if len({x for x, _ in points}) < 2:
        return 0.0
    mean_x, mean_y = (sum(values) / len(points) for values in zip(*points, strict=True))
    return float(sum((x - mean_x) * (y - mean_y) for x, y in points) / sum((x - mean_x) ** 2 for x, _ in points))


# -- the page --------------------------------------------------------------------------------------------------------------

_COLUMNS: Final = ("orders", "per_s", "worker_us", "kafka_us", "mb_before", "peak_mb", "recovery_s")
_TITLES: Final = ("orders", "orders/s", "worker us/order", "Kafka us/order", "MB before", "peak MB", "back after a kill, s")


def growth_table(points: Sequence[Mapping[str, Any]]) -> str:
    """Return the Markdown tables of the measured points, one per axis."""
    lines: list[str] = []
    for axis in dict.fromkeys(point["axis"] for point in points):
        head = f"| {axis.replace('_', ' ')} | {' | '.join(_TITLES)} |"
        rows = [f"| {p['value']:,} | {' | '.join(f'{p[c]:,}' for c in _COLUMNS)} |" for p in points if p["axis"] == axis]
        lines += [head, "|---:" * (len(_TITLES) + 1) + "|", *rows, ""]
    return "\n".join(lines)


def page(found: Mapping[str, Any]) -> str:
    """Return docs/capacity.md."""
    points, m = found["points"], found["machine"]
    where = f"{m['cores']} cores of {m['cpu']}, {m['memory_gb']} GB, load average {m['load_before']} before, everything on this one machine"
    parts = [_INTRODUCTION.format(where=where), *_model(found.get("whole_path")), _GROWTH, growth_table(points), _slopes(points)]
    return "\n".join(parts).rstrip() + "\n"


def _model(measured: Mapping[str, Any] | None) -> list[str]:
    if measured is None:
        return ["## What an order costs\n\nNot measured yet: `python -m bench.growth --only whole_path --resume --page`, with nothing else on the machine.\n"]
    cost = costs(measured)
    return [_cost_table(cost), _need_tables(cost), _first(cost)]


def _cost_table(cost: Mapping[str, Cost]) -> str:
    rows = [f"| {name} | {c.per_order:.1f} | {c.per_line:.1f} |" for name, c in cost.items()]
    return "\n".join(["## What an order costs", "", "| process | us per order | us per line |", "|---|---:|---:|", *rows, ""])


def _need_tables(cost: Mapping[str, Cost]) -> str:
    cases = [(rate, lines, needs(cost, rate, lines)) for rate in TARGETS for lines in LINES]
    names = list(cases[0][2])
    head = [f"{rate:,}/s, {lines} line{'s' * (lines > 1)}" for rate, lines, _ in cases]
    rows = [f"| {_named(name)} | {' | '.join(f'{need[name]:,.0f}' for *_, need in cases)} |" for name in names]
    return "\n".join([f"## What it takes, {BUSY:.0%} busy", "", f"| | {' | '.join(head)} |", "|---" + "|---:" * len(cases) + "|", *rows, ""])


def _named(need: str) -> str:
    return need if need in ("workers", "partitions", "mysql shards") else f"cores: {need}"


def _first(cost: Mapping[str, Cost]) -> str:
    rows = [f"| {name} | {full:,.0f} | {ALONE[name]} |" for name, full in ceilings(cost, 1)]
    return "\n".join(["## What is full first", "", "With orders of one line:", "", "| one of | orders/s | why, and then |", "|---|---:|---|", *rows, ""])


def _slopes(points: Sequence[Mapping[str, Any]]) -> str:
    def along(axis: str, field: str) -> float:
        return slope([(p["value"], p[field]) for p in points if p["axis"] == axis])

    known = {point["axis"] for point in points}
    rows = (
        ("an open order, memory of the worker", "open_orders", f"{along('open_orders', 'mb_before') * 1e6:,.0f} bytes"),
        ("a million open orders, time to come back", "open_orders", f"{along('open_orders', 'recovery_s') * 1e6:,.1f} s"),
        ("a product, memory of the worker", "products", f"{along('products', 'mb_before') * 1e6:,.0f} bytes"),
        ("a partition more, Kafka's CPU per order", "partitions", f"{along('partitions', 'kafka_us'):,.2f} us"),
        ("a line more, CPU of worker and Kafka", "lines", f"{along('lines', 'worker_us') + along('lines', 'kafka_us'):,.1f} us"),
    )
    return "\n".join(["By least squares over these:", "", "| | |", "|---|---:|", *(f"| {name} | {value} |" for name, axis, value in rows if axis in known), ""])


_INTRODUCTION: Final = """# Capacity

Written by `python -m bench.growth --resume --page`; the model is `bench/capacity.py`. Measured on {where}.

An order costs each process a part of its own and a part per line; both are fitted to two runs of the whole path, on generated single lines and on a real
file. The model adds cores and knows what one thread does alone. It knows nothing of networks between machines, of replication (three replicas
write everything three times) or of disks: measure those where you run.
"""
_GROWTH: Final = """## As the work grows

Each point: workers alone (no sinks), orders in columns of 100, everything else as in the first row of the axis `products`. Worker and Kafka are CPU
microseconds per order; `MB before` is the workers' peak resident memory before the orders that are counted, with all products and open orders there;
the time after a kill is until every task has its rows again, the group's session time-out (6 s) included.
"""
