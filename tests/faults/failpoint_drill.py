"""Kills real processes at every failpoint, under load, and holds the result against the audit."""

from __future__ import annotations

import lzma
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast import audit
from holdfast.audit import Violation
from holdfast.stack.addresses import Endpoints
from tests.faults.drill import lanes, load_host
from tests.faults.drill.client import ForkServer
from tests.faults.drill.lanes import Lane, LoadLane, Tally
from tests.faults.drill.order import Order
from tests.faults.drill.traffic import Traffic
from tests.support.pipeline import Pipeline
from tests.support.stack import new_database, new_redis, unique_name

Report = Callable[[str, int, int], None]
"""Hears what is under way (`killing`, `draining`, `auditing`), and how much of how much is done."""

ORDER_TIMEOUT: Final = 5
SAMPLE: Final = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"
LOADED_ROWS: Final = 900
TIMES_PER_SHOP: Final = 4
ENVIRONMENT: Final = {
    "HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT),
    "HOLDFAST_SANDBOX_DECLINE_RATE": "0.05",
    "HOLDFAST_SINK_BATCH_BYTES": "20000",
    "HOLDFAST_SINK_SESSION_TIMEOUT_MS": "6000",
}


@dataclass
class Drill:
    """What a drill did and found. `missed`: failpoints at which fewer processes died than asked for."""

    seed: int
    times: int
    kills: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    unanswered: set[int] = field(default_factory=set)
    violations: list[Violation] = field(default_factory=list)
    audits: list[str] = field(default_factory=list)
    """What each audit said, one per shop."""
    seconds: float = 0.0

    @property
    def missed(self) -> dict[str, int]:
        return {name: self.kills[name] for name in lanes.drilled_names() if self.kills[name] < self.times}

    @property
    def ok(self) -> bool:
        return not (self.missed or self.unanswered or self.violations)

    def text(self) -> str:
        """What went wrong, and the seed that repeats it."""
        audits = "\n\n".join(self.audits)
        return f"seed {self.seed}; killed too seldom: {self.missed}; orders without an answer: {sorted(self.unanswered)[:10]}\n{audits}"


def run(where: Endpoints, times: int, seed: int, report: Report, folder: Path, per_second: int = 40) -> Drill:
    """Kill at every failpoint `times` times under a load of `per_second` orders; drain; audit.

    In shops of its own at these servers, one after the other, each with topics, a database and a Redis database to itself;
    `folder` takes the processes' logs. Raises DrillError if a process ends otherwise than it was made to.
    """
    began, drill = time.monotonic(), Drill(seed, times)
    tally = Tally(drill.kills, lambda _name: report("killing", drill.kills.total(), times * len(lanes.drilled_names())))
    for number, some in enumerate(_shares(times)):
        place = folder / f"shop-{number}"
        place.mkdir()
        with ExitStack() as stack:
            mysql, redis = stack.enter_context(new_database(where.mysql)), stack.enter_context(new_redis(where.redis))
            pipeline = Pipeline(where.kafka, f"{unique_name('drill')}.", place, mysql, redis, dict(ENVIRONMENT))
            _shop(drill, pipeline, tally, some, f"{seed} {number}", report, per_second)
    drill.seconds = time.monotonic() - began
    return drill


def _shares(times: int) -> list[int]:
    """Share out how often each failpoint is hit: a task that opens reads all its shop's history, so shops must not grow old."""
    return [min(TIMES_PER_SHOP, times - done) for done in range(0, times, TIMES_PER_SHOP)]


def _shop(drill: Drill, pipeline: Pipeline, tally: Tally, times: int, seed: str, report: Report, per_second: int) -> None:
    """Open a shop, kill in it, let it come to rest, audit it."""
    pipeline.create_topics()
    pipeline.run("holdfast", "migrate")
    chance = random.Random(seed)
    traffic = Traffic(pipeline.kafka, pipeline.prefix, chance.randrange(1_000))
    traffic.restock(200 * times + 200)
    with _servers(pipeline, pipeline.folder) as servers:
        with traffic.flowing(per_second):
            sources = _kill(servers, tally, times, chance)
        _settle(pipeline, servers, sources, report)
        _judge(drill, pipeline, traffic, report)


@contextmanager
def _servers(pipeline: Pipeline, folder: Path) -> Iterator[dict[str, ForkServer]]:
    with lzma.open(SAMPLE, "rt", newline="") as rows, (folder / "orders.csv").open("w", newline="") as file:
        file.writelines(line for line, _ in zip(rows, range(LOADED_ROWS + 1), strict=False))
    environment = pipeline.environment() | {load_host.FILE: str(folder / "orders.csv")}
    kinds = ("tasks", "worker", "sink-mysql", "sink-redis", "load")
    with ExitStack() as stack:
        yield {kind: stack.enter_context(ForkServer(kind, environment, folder / f"drill-{kind}.log")) for kind in kinds}


def _kill(servers: dict[str, ForkServer], tally: Tally, times: int, chance: random.Random) -> list[str]:
    """Run the lanes side by side; the two that own the tasks one after the other. Return the loads that were begun."""
    broken = threading.Event()

    def lane(kind: str, names: Iterator[str] | list[str]) -> Lane:
        return Lane(servers[kind], list(names), tally, random.Random(chance.random()), broken)

    deciders = lane("tasks", lanes.task_names()), lane("worker", lanes.faust_names())
    sinks = [lane(kind, lanes.names_of(kind)) for kind in ("sink-mysql", "sink-redis")]
    loads = LoadLane(servers["load"], list(lanes.load_names()), tally, random.Random(chance.random()), broken)
    with ThreadPoolExecutor() as threads:
        running = [threads.submit(one.run, times) for one in (*sinks, loads)]
        running.append(threads.submit(lambda: [one.run(times) for one in deciders]))
        try:
            for future in running:
                future.result()
        except BaseException:  # Ctrl-C and SIGTERM come here, and the threads would be waited for
            broken.set()
            raise
    return loads.sources


def _settle(pipeline: Pipeline, servers: dict[str, ForkServer], sources: list[str], report: Report) -> None:
    """Let everything end what is under way, with nothing armed."""
    report("draining", 0, 1)
    for kind in ("worker", "sink-mysql", "sink-redis"):
        servers[kind].start(Order(seconds=None))
    for source in sources:
        end = servers["load"].run(Order(source=source, seconds=120))
        assert end.code == 0, f"the load {source} did not end well: {end}\n{servers['load'].said()[-4000:]}"
    pipeline.drain()
    time.sleep(ORDER_TIMEOUT + 1)  # an order that lost a line expires so long after its last batch was decided, at most
    pipeline.drain()
    report("draining", 1, 1)


def _judge(drill: Drill, pipeline: Pipeline, traffic: Traffic, report: Report) -> None:
    report("auditing", 0, 1)
    found = audit.run(kafka=pipeline.kafka, mysql_url=pipeline.mysql, redis_url=pipeline.redis, prefix=pipeline.prefix)
    assert not traffic.failed, f"the brokers did not take {len(traffic.failed)} records: {traffic.failed[:3]}"
    drill.orders += len(traffic.placed)
    drill.unanswered |= traffic.unanswered(pipeline)
    drill.violations += found.violations
    drill.audits.append(found.text())
    report("auditing", 1, 1)
