"""The suite can be trusted: builds with one rule broken run as real processes, meet a fault, and the audit finds what each does.

`mutants/` says what is broken, and by which promise it must be found. The same faults leave a sound build clean.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from holdfast import audit
from holdfast.audit.kinds import KINDS
from schemas.partitions import product_partition
from schemas.topics import ORDERS
from tests.support.pipeline import PARTITIONS, Child, Load, Pipeline, running, until
from tests.support.stack import new_database, new_redis, unique_name

pytestmark = [pytest.mark.faults, pytest.mark.live]

MUTANTS = Path(__file__).parent / "mutants"
AT_ONCE = 3
ORDER_TIMEOUT = 6
LOAD_S = 8.0
"""Of load, where the fault does not take longer."""
PER_SECOND = 120
ZOMBIES = 4
PATIENCE_S = 240.0
"""Several pipelines start and end beside each other."""
Disturb = Callable[[Pipeline, Load], None]


# -- faults ----------------------------------------------------------------------------------------------------------------


def quiet(pipeline: Pipeline, _load: Load) -> None:
    """Nothing but what failpoints do, until all of them have; who dies is started again."""
    end = time.monotonic() + LOAD_S
    while time.monotonic() < end or (armed(pipeline.folder) and time.monotonic() < end + PATIENCE_S):
        keep_up(pipeline)
        time.sleep(0.3)


def armed(folder: Path) -> bool:
    """Return whether a failpoint is left that nobody has reached."""
    return bool((folder / "failpoints").read_text().strip())


def zombie(pipeline: Pipeline, _load: Load) -> None:
    """The worker sleeps until another one owns its partitions, and wakes up; several times, for it may wake with nothing in hand."""
    for _ in range(ZOMBIES):
        keep_up(pipeline)
        first = workers(pipeline)[0]
        time.sleep(2)
        first.signal(signal.SIGSTOP)
        pipeline.await_open(pipeline.worker(), seconds=PATIENCE_S)
        time.sleep(1)
        first.signal(signal.SIGCONT)
        time.sleep(4)
        first.kill()


def join_and_leave(pipeline: Pipeline, _load: Load) -> None:
    """A second worker joins and leaves, again and again."""
    for number in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL):
        second = pipeline.worker()
        pipeline.await_open(second, partitions=1, seconds=PATIENCE_S)
        time.sleep(1.5)
        second.signal(number)
        second.popen.wait(timeout=30)
        time.sleep(1)


def change_their_minds(pipeline: Pipeline, load: Load) -> None:
    """Customers whose payment takes some seconds cancel meanwhile."""
    orders = range(load.base + 1_000_000, load.base + 1_000_040)
    load.restock(units=1_000, tag="for-them")
    for order_id in orders:
        header = {"order_id": order_id, "line_count": 1, "currency": "GBP", "user_id": "u1", "payment_token": "tok_slow", "placed_at": 0}
        line = {**header, "line": 1, "product_id": "p39", "quantity": 1, "unit_price": 100}
        load.put(ORDERS, "OrderLine", line, "p39", product_partition("p39", PARTITIONS))
    time.sleep(LOAD_S / 4)
    for order_id in orders:
        load.command("CANCEL", order_id)
    quiet(pipeline, load)


def spoil(_pipeline: Pipeline, load: Load) -> None:
    """Garbage comes in, and commands about products come twice."""
    for n in range(8):
        load.producer.produce(ORDERS.named(load.prefix), b"garbage %d" % n, None, n % PARTITIONS)
        load.restock(units=5, tag=f"again-{n // 2}")
        time.sleep(LOAD_S / 8)


def everything_but_zombies(pipeline: Pipeline, load: Load) -> None:
    """What a sound build meets; of zombies and rebalances test_workers.py makes sure."""
    for disturb in (change_their_minds, spoil):
        disturb(pipeline, load)


# -- builds ----------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Build:
    """A file of `mutants/`, the module it breaks, the fault that shows it, and the kinds of violation that must be found."""

    mutant: str
    broken: str
    promise: str
    finds: frozenset[str]
    disturb: Disturb = quiet
    failpoints: str = ""
    stores: bool = False
    one_is_enough: bool = False
    """Whether one of the kinds is enough: which it is depends on what the lost batch held."""


KILLS = "stock.decided=kill@10 orders.decided=kill@10"
"""Between the beginning of a transaction and its commit."""
SINK_KILL = " ".join(f"sink-mysql.half-written=kill@{n}" for n in (8, 9, 10, 11))
"""One after the other: in a batch of few rows all of them may be written again by a later one."""
LOST = frozenset({"line_unanswered", "command_unanswered", "order_command_unanswered", "payment_unanswered"})
SOUND = Build("", "", "", frozenset(), everything_but_zombies, f"{KILLS} {SINK_KILL}", stores=True)
BUILDS = [
    Build("fencing_off", "streams.runtime.clients", "I5", frozenset({"line_answered_twice"}), zombie),
    Build("position_check_off", "streams.runtime.batch", "I5", frozenset({"line_unanswered"}), join_and_leave),
    Build("ack_before_commit", "streams.runtime.task", "I5", LOST, failpoints=KILLS, one_is_enough=True),
    Build("release_missing", "streams.domain.order_lines", "I3", frozenset({"hold_not_released", "reserved_differs"})),
    Build("refund_missing", "streams.domain.order_table", "I7", frozenset({"money_kept"}), change_their_minds),
    Build("dead_letters_dropped", "streams.stages.outbox", "I5", frozenset({"undecodable_not_dead"}), spoil),
    Build("memory_off", "streams.domain.stock", "I5", frozenset({"command_carried_out_twice"}), spoil),
    Build("position_before_rows", "sinks.mysql_sink", "I6", frozenset({"store_row_missing"}), failpoints=SINK_KILL, stores=True),
]


@dataclass(frozen=True)
class Trial:
    """What became of a build."""

    report: audit.Report
    said: str
    fired: bool
    """Whether every failpoint was reached."""


class Trials:
    """Runs builds, several at once: most of the time they wait."""

    def __init__(self, kafka: str, mysql_url: str, redis_url: str, folder: Path) -> None:
        self.kafka, self.mysql_url, self.redis_url, self.folder = kafka, mysql_url, redis_url, folder
        self.pool = ThreadPoolExecutor(AT_ONCE)
        self.futures: dict[str, Future[Trial]] = {}

    def begin(self, build: Build) -> Future[Trial]:
        if build.mutant not in self.futures:
            self.futures[build.mutant] = self.pool.submit(self.run, build)
        return self.futures[build.mutant]

    def run(self, build: Build) -> Trial:
        folder = self.folder / (build.mutant or "sound")
        folder.mkdir()
        (folder / "failpoints").write_text(build.failpoints)
        with ExitStack() as stack:
            stores = (stack.enter_context(new_database(self.mysql_url)), stack.enter_context(new_redis(self.redis_url))) if build.stores else (None, None)
            settings = {"HOLDFAST_ORDER_TIMEOUT": str(ORDER_TIMEOUT), "HOLDFAST_FAILPOINTS": f"@{folder / 'failpoints'}", **broken(build)}
            pipeline = stack.enter_context(running(Pipeline(self.kafka, f"{unique_name('m')}.", folder, *stores, settings=settings)))
            report = disturbed(build, pipeline)
            said = "".join(f"--- {child.kind} {child.popen.poll()}\n{child.log.read_text(errors='replace')}" for child in pipeline.children)
            return Trial(report, said, fired=not armed(folder))


def broken(build: Build) -> dict[str, str]:
    """Return what breaks a process that starts with it."""
    if not build.mutant:
        return {}
    return {"HOLDFAST_TEST_MUTANT": build.mutant, "PYTHONPATH": os.pathsep.join([str(MUTANTS), str(MUTANTS.parents[2])])}


def disturbed(build: Build, pipeline: Pipeline) -> audit.Report:
    """Load and disturb a pipeline, let it come to rest, and audit it."""
    if build.stores:
        pipeline.sinks()
    load = Load(pipeline.kafka, pipeline.prefix, seed=4, units=150)
    load.restock()
    pipeline.await_open(pipeline.worker(), seconds=PATIENCE_S)
    with load.flowing(PER_SECOND):
        build.disturb(pipeline, load)
    come_to_rest(pipeline)
    time.sleep(ORDER_TIMEOUT + 1)  # an order that lost a line expires so long after its last batch was decided, at most
    come_to_rest(pipeline)
    assert load.sent > 300, "hardly any load"
    return audit.run(pipeline.kafka, pipeline.mysql, pipeline.redis, pipeline.prefix)


def workers(pipeline: Pipeline) -> list[Child]:
    return [child for child in pipeline.children if child.kind == "worker" and child.alive()]


def keep_up(pipeline: Pipeline) -> None:
    """Start again what has died, as a supervisor would."""
    if not workers(pipeline):
        pipeline.worker()
    for store in ("mysql", "redis"):
        sinks = [child for child in pipeline.children if child.kind == f"sink-{store}"]
        if sinks and not sinks[-1].alive():
            pipeline.start(f"sink-{store}", "holdfast", "sink", store)


def come_to_rest(pipeline: Pipeline) -> None:
    """Wait until nothing is under way: no lag anywhere, twice in a row."""
    calm = 0

    def is_calm() -> bool:
        nonlocal calm
        keep_up(pipeline)
        calm = 0 if any(pipeline.lag().values()) else calm + 1
        time.sleep(0.5)
        return calm >= 2

    until(is_calm, PATIENCE_S, "all of it decided")


# -- tests -----------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trials(kafka: str, mysql_url: str, redis_url: str, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Trials]:
    """Begin at once what the chosen tests will ask for."""
    made = Trials(kafka, mysql_url, redis_url, tmp_path_factory.mktemp("mutants"))
    mine = [item for item in request.session.items if isinstance(item, pytest.Function) and item.path == Path(__file__) and hasattr(item, "callspec")]
    for item in mine:
        made.begin(item.callspec.params["build"])
    with made.pool:
        yield made


@pytest.mark.parametrize("build", [SOUND, *BUILDS], ids=lambda build: build.mutant or "sound")
def test_what_is_broken_is_found_and_named_by_its_promise(build: Build, trials: Trials, record_property: Callable[[str, object], None]) -> None:
    trial = trials.begin(build).result()
    record_property("violations", dict(trial.report.kinds()))
    assert trial.fired, f"not every failpoint was reached\n{trial.said}"
    if not build.mutant:
        assert trial.report.ok, f"{trial.report.text()}\n{trial.said}"
        return
    assert f"mutant {build.mutant}: {build.broken} is broken" in trial.said
    found = build.finds & set(trial.report.kinds())
    assert found == build.finds or (build.one_is_enough and found), f"{trial.report.text()}\n{trial.said}"
    assert {KINDS[kind] for kind in build.finds} == {build.promise}


def test_every_mutant_is_tried() -> None:
    assert {build.mutant for build in BUILDS} == {path.stem for path in MUTANTS.glob("*.py")} - {"sitecustomize"}
