"""The programs under test: Holdfast and its peers, and how each is started."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from bench.checker import Order

Command = Callable[[Path], list[str]]
"""From the cache folder, where a program is built that has to be, to a command line."""


class Results(Enum):
    """Where a program leaves its outcomes."""

    OURS = "stock.decisions, in columns"
    TOPIC = "a topic, one record each"
    REDIS = "Redis"
    DATABASE = "MariaDB or MySQL"


MOST_COLUMNS: Final = 8_000_000
MOST_SINGLE: Final = 3_000_000
"""Orders of a run: more records than these are not written within the time that the broker lets a transaction be open."""


@dataclass(frozen=True)
class Contender:
    """One program in one setting. `per_s`: orders per second that it was seen to decide on two cores, by which it is given so many seconds' worth of them."""

    name: str
    title: str
    results: Results
    command: Command
    processes: int = 1
    members: int = 1
    """Of the consumer group, that have to be there before the run begins."""
    per_record: int = 1
    per_s: int = 100_000
    slower: dict[str, float] = field(default_factory=dict)
    """Mixes with a share of that rate."""
    order: Order = Order.LOG
    mixes: tuple[str, ...] = ("uniform",)
    environment: dict[str, str] = field(default_factory=dict)


def _python(module: str, *arguments: str) -> Command:
    return lambda _: [sys.executable, "-m", module, *arguments]


def _streams(store: str, threads: int) -> Command:
    from bench.builds import kafka_streams

    return lambda cache: [*kafka_streams(cache), store, str(threads)]


def _quix(cache: Path) -> list[str]:
    from bench.builds import quix_python

    return [str(quix_python(cache)), "-m", "bench.peers.quix"]


ALL_MIXES: Final = ("uniform", "hot10", "one", "million")
_WORKER: Final = _python("faust", "-A", "bench.stock_worker", "worker", "--without-web", "-l", "warn")
_FAUST: Final = _python("faust", "-A", "bench.peers.faust_guide", "worker", "--without-web", "-l", "warn")


def _holdfast(per_record: int, processes: int, mixes: tuple[str, ...]) -> Contender:
    kind, records, per_s = ("single", "single records", 700_000) if per_record == 1 else ("columns", f"columns of {per_record}", 2_500_000)
    title = f"Holdfast, {records}, {processes} process{'es' if processes > 1 else ''}"
    slower = {"one": 0.5, "million": 0.1}
    name = f"holdfast_{kind}_{processes}"
    return Contender(name, title, Results.OURS, _WORKER, processes, processes, per_record, per_s=per_s, slower=slower, mixes=mixes)


def _kafka_streams(store: str, threads: int, mixes: tuple[str, ...]) -> Contender:
    where, per_s = {"memory": ("in memory", 450_000), "rocksdb": ("RocksDB", 400_000)}[store]
    title = f"Kafka Streams, exactly_once_v2, {where}, {threads} thread{'s' if threads > 1 else ''}"
    slower = {"hot10": 0.5, "one": 0.3, "million": 0.2}
    name = f"kafka_streams_{store}_{threads}"
    return Contender(name, title, Results.TOPIC, _streams(store, threads), members=threads, per_s=per_s, slower=slower, mixes=mixes)


def _bare(processes: int) -> Contender:
    title = f"bare confluent-kafka loop, exactly once, {processes} process{'es' if processes > 1 else ''}"
    return Contender(f"bare_loop_{processes}", title, Results.TOPIC, _python("bench.peers.bare_loop"), processes, processes, per_s=50_000 * processes)


def _faust(name: str, guarantee: str) -> Contender:
    return Contender(name, f"Faust as its guide shows it, {guarantee}", Results.TOPIC, _FAUST, per_s=800, environment={"BENCH_GUARANTEE": guarantee})


def _redis(processes: int) -> Contender:
    title = f"Redis Lua, pipelined by 1,000, {processes} process{'es' if processes > 1 else ''}"
    return Contender(f"redis_lua_{processes}", title, Results.REDIS, _python("bench.peers.redis_lua"), processes, processes, per_s=28_000)


def _database(method: str, form: str, title: str) -> Contender:
    name = method if form == "single" else f"{method}_batched"
    per_s = 1_500 if form == "single" else 9_000
    return Contender(name, title, Results.DATABASE, _python("bench.peers.database", method, form), per_s=per_s, order=Order.ANY)


CONTENDERS: Final = {
    contender.name: contender
    for contender in (
        _holdfast(100, 1, ALL_MIXES),
        _kafka_streams("memory", 1, ALL_MIXES),
        _holdfast(100, 2, ALL_MIXES),
        _kafka_streams("memory", 2, ("uniform",)),
        _holdfast(1, 1, ("uniform",)),
        _kafka_streams("rocksdb", 1, ALL_MIXES),
        _holdfast(1, 2, ("uniform",)),
        _kafka_streams("rocksdb", 2, ("uniform",)),
        _database("row_locks", "single", "row locks, SELECT ... FOR UPDATE, 8 connections"),
        _database("write_and_commit", "single", "conditional UPDATE and commit, 8 connections"),
        _bare(1),
        _bare(2),
        Contender("quixstreams", "quixstreams, exactly once", Results.TOPIC, _quix, per_s=7_000),
        _faust("faust_guide", "at_least_once"),
        _faust("faust_guide_exactly_once", "exactly_once"),
        _redis(1),
        _redis(2),
        _database("row_locks", "batched", "row locks, 500 orders per commit"),
        _database("write_and_commit", "batched", "conditional UPDATE, 500 orders per commit"),
    )
}
