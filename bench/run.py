"""One run: topics made, programs started, input filled, commits watched, outcomes checked, everything removed."""

from __future__ import annotations

import os
import subprocess
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from confluent_kafka import ConsumerGroupState, KafkaException
from confluent_kafka.admin import AdminClient

from bench import results, topics
from bench.checker import Checker
from bench.contenders import Contender, Results
from bench.processes import peak_mb
from bench.servers import Servers
from bench.stats import Sample, rates
from bench.watch import Running, Seen, StalledError, watch_file, watch_topic
from bench.work import Work
from holdfast import topics as our_topics
from schemas.topics import ORDERS, STOCK_DECISIONS

READY_S: Final = 240.0
SETTLE_S: Final = 1.0
SERVERS_OF: Final = {
    Results.OURS: ("kafka",),
    Results.TOPIC: ("kafka",),
    Results.REDIS: ("kafka", "redis"),
    Results.DATABASE: ("kafka", "mariadb"),
}


@dataclass(frozen=True)
class Run:
    """One contender on one work. `name` is part of every topic's and group's name."""

    contender: Contender
    work: Work
    partitions: int
    servers: Servers
    name: str
    folder: Path

    @property
    def input(self) -> str:
        return ORDERS.named(f"{self.name}.")

    @property
    def output(self) -> str:
        return STOCK_DECISIONS.named(f"{self.name}.") if self.contender.results is Results.OURS else f"{self.name}.outcomes"

    @property
    def group(self) -> str:
        return f"{self.name}.holdfast" if self.contender.results is Results.OURS else f"{self.name}.peer"

    @property
    def log(self) -> Path:
        return self.folder / "log"

    def environment(self, process: int) -> dict[str, str]:
        """Return what process number `process` is told."""
        work = {"ORDERS": self.work.orders, "HOT": self.work.mix.hot, "HOT_UNITS": self.work.hot_units, "UNITS": self.work.units}
        places = {"KAFKA": self.servers.kafka, "MYSQL": self.servers.mysql, "REDIS": self.servers.redis, "DIR": self.folder}
        names = {"INPUT": self.input, "OUTPUT": self.output, "CHANGELOG": f"{self.name}.changelog", "GROUP": self.group}
        numbers = {"PARTITIONS": self.partitions, "PROCESS": process}
        told = {f"BENCH_{name}": str(value) for name, value in (work | places | names | numbers).items()}
        ours = {"HOLDFAST_KAFKA": self.servers.kafka, "HOLDFAST_TOPIC_PREFIX": f"{self.name}.", "HOLDFAST_PARTITIONS": str(self.partitions)}
        return os.environ | self.contender.environment | told | ours | {"PYTHONPATH": str(Path(__file__).parents[1]), "TMPDIR": str(self.folder)}


def measure(contender: Contender, work: Work, partitions: int, per: Servers) -> dict[str, Any]:
    """Run once; return what was measured and whether the outcomes are right. Raises what went wrong, with the programs' last words."""
    name = f"b{uuid.uuid4().hex[:10]}"
    folder = per.folder / name
    folder.mkdir()
    run = Run(contender, work, partitions, per, name, folder)
    source = topics.spool(per.cache / "bench-input", work, partitions, contender.per_record)
    command = contender.command(per.cache)
    _prepare(run)
    try:
        with _started(run, command) as running:
            _until_ready(run, running)
            with _filling(run, source, running) as watched:
                return _watched(run, watched)
    finally:
        results.clear(contender.results, per)
        topics.remove(per.kafka, name)


def _prepare(run: Run) -> None:
    if run.contender.results is Results.OURS:
        our_topics.create(run.servers.kafka, f"{run.name}.", run.partitions)
        results.open_stock(run.servers.kafka, f"{run.name}.", run.partitions, run.work)
        return
    names: dict[str, dict[str, str]] = {run.input: {}, run.output: {}, f"{run.name}.changelog": {"cleanup.policy": "compact"}}
    topics.create(run.servers.kafka, names, run.partitions)
    results.clear(run.contender.results, run.servers)
    if run.contender.results is Results.DATABASE:
        results.open_tables(run.servers.mysql, run.work)


@contextmanager
def _started(run: Run, command: list[str]) -> Iterator[Running]:
    with run.log.open("ab") as log:
        processes = [
            subprocess.Popen(command, env=run.environment(number), stdout=log, stderr=log, stdin=subprocess.DEVNULL)
            for number in range(run.contender.processes)
        ]
        try:
            yield Running([p.pid for p in processes], run.servers.pids_of(*SERVERS_OF[run.contender.results]), lambda: _ended(run, processes))
        finally:
            for process in processes:
                process.kill()
                process.wait()


@contextmanager
def _filling(run: Run, source: Path, running: Running) -> Iterator[Running]:
    """Fill the input beside the watch, which must not miss the first commit; a fill that fails ends the run."""
    failures: list[str] = []

    def fill() -> None:
        try:
            topics.fill(run.servers.kafka, run.input, source)
        except Exception as error:
            failures.append(f"the input could not be filled: {error}")

    filling = threading.Thread(target=fill)
    filling.start()
    try:
        yield running._replace(ended=lambda: "".join(failures) or running.ended())
    finally:
        filling.join()


def _ended(run: Run, processes: list[subprocess.Popen[bytes]]) -> str:
    codes = [p.returncode for p in processes if p.poll() is not None]
    if not codes:
        return ""
    return f"ended with exit code {codes[0]}; its last words: {run.log.read_text(errors='replace')[-1500:]}"


def _until_ready(run: Run, running: Running) -> None:
    """Wait until every member of the group is there and has its partitions, so that no run begins with a rebalance."""
    client, deadline = topics.admin(run.servers.kafka), time.monotonic() + READY_S
    while not _is_settled(client, run):
        if running.ended():
            raise StalledError(running.ended())
        if time.monotonic() > deadline:
            raise StalledError(f"group {run.group} was not ready after {READY_S:.0f} s; its last words: {run.log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.5)
    time.sleep(SETTLE_S)


def _is_settled(client: AdminClient, run: Run) -> bool:
    try:
        group = client.describe_consumer_groups([run.group], request_timeout=10)[run.group].result(10)
    except KafkaException:
        return False
    if group.state != ConsumerGroupState.STABLE or len(group.members) < run.contender.members:
        return False
    held = sum(len([at for at in member.assignment.topic_partitions if at.topic == run.input]) for member in group.members if member.assignment)
    return held == run.partitions and (run.contender.results is not Results.OURS or results.all_open(run.log, run.partitions))


def _watched(run: Run, running: Running) -> dict[str, Any]:
    samples, checker = _from_topic(run, running) if run.contender.results in (Results.OURS, Results.TOPIC) else _from_store(run, running)
    peak = peak_mb(running.pids)
    verdict = checker.judge(run.contender.order)
    measured = {name: round(value, 4) for name, value in asdict(rates(samples, run.work.orders)).items()}
    if run.contender.results is Results.OURS:
        measured["transactions_over_300_ms"] = results.long_transactions(run.log)
    return {**measured, "peak_mb": round(peak, 1), "orders": run.work.orders, "reserved": verdict.reserved, "right": verdict.right, "verdict": verdict.text()}


def _from_topic(run: Run, running: Running) -> tuple[list[Sample], Checker]:
    found: list[tuple[topics.Tally, Checker]] = []

    def is_complete() -> bool:
        checker = Checker(run.work)
        take = results.taker(checker, ours=run.contender.results is Results.OURS)
        found[:] = [(topics.read(run.servers.kafka, run.output, run.partitions, take), checker)]
        return checker.verdict.answered >= run.work.orders

    seen: list[Seen] = watch_topic(run.servers.kafka, run.output, run.partitions, running, is_complete)
    tally, checker = found[0]
    return [Sample(s.at, tally.before(s.offsets), s.cpu, s.servers_cpu) for s in seen], checker


def _from_store(run: Run, running: Running) -> tuple[list[Sample], Checker]:
    samples = watch_file(run.folder / "commits", running, run.work.orders)
    checker = Checker(run.work)
    results.read_store(run.contender.results, run.servers, checker)
    return samples, checker
