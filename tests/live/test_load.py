"""`holdfast load` on the real servers: everything in the log once planned, under IDs that last, whoever kills it."""

import json
import lzma
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer

from holdfast import topics
from ingest.backfill import Report, Wish, load
from ingest.backfill_plan import Counts, PlannedLine, Planner, Survey, chunks
from ingest.config import IngestConfig
from ingest.errors import LoadError
from ingest.load_state import LoadState, load_state
from ingest.retail_file import RetailFile
from schemas.outcomes import StockCommandKind
from schemas.partitions import order_partition, product_partition
from schemas.topics import DEAD_LETTERS, ORDER_COMMANDS, STOCK_COMMANDS
from schemas.views import LOADS, ORDER_BINDINGS
from sinks.migrate import migrate
from tests.support.read_topics import PARTITIONS, lines_of, read_all
from tests.support.stack import connect

pytestmark = pytest.mark.live

SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"
ROWS = 6_000
BROKEN = b"A1,B,Adjust bad debt,1,2010-12-01T08:26:00,-5.0,,UK\nnot a row\n"


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first rows and two that are nothing."""
    path = tmp_path_factory.mktemp("load") / "orders.csv.xz"
    with lzma.open(SAMPLE) as sample:
        path.write_bytes(lzma.compress(b"".join(sample.readline() for _ in range(ROWS - 1)) + BROKEN))
    return path


@pytest.fixture
def config(kafka: str, topic_prefix: str, fresh_database: str) -> IngestConfig:
    topics.create(kafka, topic_prefix, PARTITIONS)
    migrate(fresh_database)
    return IngestConfig(kafka, fresh_database, topic_prefix)


@pytest.fixture
def stock_agent(config: IngestConfig) -> Iterator[None]:
    """Takes stock.commands in the worker's consumer group; what it does with them is not the loader's business."""
    stop = threading.Event()
    thread = threading.Thread(target=take_commands, args=(config, stop))
    thread.start()
    yield
    stop.set()
    thread.join()


def take_commands(config: IngestConfig, stop: threading.Event) -> None:
    consumer = Consumer(
        {
            **{"bootstrap.servers": config.kafka, "group.id": f"{config.topic_prefix}holdfast"},
            **{"auto.offset.reset": "earliest", "enable.auto.commit": False},
        }
    )
    consumer.subscribe([STOCK_COMMANDS.named(config.topic_prefix)])
    while not stop.is_set():
        if consumer.consume(100, timeout=0.1):
            consumer.commit(asynchronous=False)
    consumer.close()


def run(config: IngestConfig, wish: Wish) -> Report:
    return load(lambda: config, wish, lambda _phase, _done, _total: None)


def query(config: IngestConfig, statement: str) -> list[tuple[Any, ...]]:
    with connect(config.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def bindings(config: IngestConfig) -> dict[str, int]:
    return dict(query(config, f"SELECT external_id, order_id FROM {ORDER_BINDINGS}"))  # type: ignore[arg-type]


def planned_lines(path: Path) -> list[PlannedLine]:
    file, survey = RetailFile(path), Survey()
    for row in file.rows():
        survey.add(row)
    planned = chunks(file.rows(), Planner(survey, "online-retail"), Counts(), 0, 1_000, [])
    return [item for chunk in planned for item in chunk.items if isinstance(item, PlannedLine)]


def expected(config: IngestConfig, path: Path) -> list[tuple[int, int, int, str, int, int, str, int]]:
    """Every order line of the file, under the ID its invoice is bound to."""
    ids = bindings(config)
    return [(ids[x.invoice], x.line, x.line_count, x.product, x.quantity, x.price, x.user, x.placed_at) for x in planned_lines(path)]


def found(config: IngestConfig) -> list[tuple[int, int, int, str, int, int, str, int]]:
    """Every order line in the log, which also has to be on its product's partition."""
    names = ("order_id", "line", "line_count", "product_id", "quantity", "unit_price", "user_id", "placed_at")
    lines = lines_of(config.kafka, config.topic_prefix)
    assert all(partition == product_partition(fields["product_id"], PARTITIONS) for partition, fields in lines)
    assert {(fields["currency"], fields["payment_token"]) for _, fields in lines} <= {("GBP", "tok_ok")}
    return [tuple(fields[n] for n in names) for _, fields in lines]  # type: ignore[misc]


def commands(config: IngestConfig, topic: Any) -> list[tuple[int, dict[str, Any]]]:
    """Every command of a topic, with its partition."""
    records = list(read_all(config.kafka, topic.named(config.topic_prefix)))
    columns = [(p, {k: v for k, v in r.value.items() if k not in {"issued_at", "actor"}}, r.size) for p, _, r in records]
    return [(p, {k: v[i] for k, v in c.items()}) for p, c, size in columns for i in range(size)]


@pytest.mark.usefixtures("stock_agent")
def test_a_file_is_in_the_log_as_planned_and_a_second_load_sends_nothing(config: IngestConfig, file: Path) -> None:
    report = run(config, Wish(file))
    counts = report.counts
    assert counts.rows == ROWS == counts.lines + counts.return_lines + counts.corrections + counts.dead_letters
    assert sorted(found(config)) == sorted(expected(config, file))
    check_commands(config, report)
    dead = [r.value for _, _, r in read_all(config.kafka, DEAD_LETTERS.named(config.topic_prefix))]
    assert sorted((d["offset"], d["reason"], d["topic"], d["value"]) for d in dead) == [
        (ROWS - 1, "INVALID_ROW", "file:orders.csv.xz", BROKEN.splitlines(keepends=True)[0]),
        (ROWS, "INVALID_ROW", "file:orders.csv.xz", b"not a row\n"),
    ]
    again = run(config, Wish(file))
    assert (again.already_loaded, again.rows_sent, again.counts) == (True, 0, counts)
    assert len(found(config)) == counts.lines


def check_commands(config: IngestConfig, report: Report) -> None:
    stock = commands(config, STOCK_COMMANDS)
    opening = [c for _, c in stock if c["command_id"].startswith("opening:online-retail:")]
    restocked = sum(c["quantity"] for c in opening if c["kind"] == StockCommandKind.RESTOCK)
    assert restocked == report.opening_units
    assert len(stock) - len(opening) == report.counts.corrections
    assert all(partition == product_partition(c["product_id"], PARTITIONS) for partition, c in stock)
    returns = commands(config, ORDER_COMMANDS)
    assert len(returns) == report.counts.return_commands
    assert all(partition == order_partition(c["order_id"], PARTITIONS) for partition, c in returns)
    names = {order_id: name for name, order_id in bindings(config).items()}
    assert sum(names[c["order_id"]].startswith("C") for _, c in returns) == report.counts.returns_unmatched
    assert min(c["line"] for _, c in returns) == 1, "a return of units names their line"


@pytest.mark.usefixtures("stock_agent")
def test_opening_stock_and_services_are_the_first_in_their_topic(config: IngestConfig, file: Path) -> None:
    run(config, Wish(file, share=Decimal("0.5")))
    sent = commands(config, STOCK_COMMANDS)
    for partition in range(PARTITIONS):
        kinds = [c["command_id"].startswith("opening:") for p, c in sent if p == partition]
        assert kinds == sorted(kinds, reverse=True)


@pytest.mark.usefixtures("stock_agent")
def test_resending_sends_everything_again_under_the_same_ids(config: IngestConfig, file: Path) -> None:
    run(config, Wish(file))
    before = bindings(config)
    report = run(config, Wish(file, resend=True))
    assert (report.rows_sent, report.already_loaded) == (ROWS, False)
    assert bindings(config) == before
    assert sorted(found(config)) == sorted(expected(config, file) * 2)
    ids = [c["command_id"] for _, c in commands(config, STOCK_COMMANDS)]
    assert sorted(ids) == sorted(list(set(ids)) * 2)


def started(config: IngestConfig, file: Path, *flags: str) -> subprocess.Popen[str]:
    environ = {
        **os.environ,
        **{"HOLDFAST_KAFKA": config.kafka, "HOLDFAST_MYSQL": config.mysql, "HOLDFAST_REDIS": "redis://127.0.0.1:1/0"},
        **{"HOLDFAST_TOPIC_PREFIX": config.topic_prefix},
    }
    command = [sys.executable, "-m", "holdfast", "load", str(file), "--json", *flags]
    return subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def rows_done(config: IngestConfig) -> int:
    rows = query(config, f"SELECT rows_done FROM {LOADS}")
    return int(rows[0][0]) if rows else 0


def wait_for_rows(config: IngestConfig, process: subprocess.Popen[str], least: int) -> None:
    while rows_done(config) < least:
        assert process.poll() is None, f"it ended by itself: {process.communicate()}"
        time.sleep(0.02)


@pytest.mark.usefixtures("stock_agent")
def test_a_load_killed_twice_goes_on_and_every_line_is_there_under_one_id(config: IngestConfig, file: Path) -> None:
    for least in (500, 2_500):
        with started(config, file, "--rate", "2500") as process:
            wait_for_rows(config, process, least)
            os.kill(process.pid, signal.SIGKILL)
    saved = rows_done(config)
    with started(config, file) as process:
        out, err = process.communicate()
    assert process.returncode == 0, err
    report = json.loads(out)
    assert (report["resumed_at"], report["rows_sent"], report["rows"]) == (saved, ROWS - saved, ROWS)
    everything = expected(config, file)
    assert set(found(config)) == set(everything)
    assert len(everything) <= len(found(config)) < 2 * len(everything), "some lines may be there twice, but not the whole file"
    assert query(config, f"SELECT rows_done, finished_at IS NOT NULL FROM {LOADS}") == [(ROWS, 1)]


@pytest.mark.usefixtures("stock_agent")
def test_a_load_told_to_end_says_how_to_go_on(config: IngestConfig, file: Path) -> None:
    with started(config, file, "--rate", "2500") as process:
        wait_for_rows(config, process, 500)
        process.terminate()
        _, err = process.communicate()
    assert (process.returncode, err.splitlines()[-1]) == (130, "interrupted: run the same command again and the load goes on")
    report = run(config, Wish(file))
    assert report.resumed_at >= 500
    assert set(found(config)) == set(expected(config, file))


@pytest.mark.usefixtures("stock_agent")
def test_of_two_loads_of_the_same_file_at_once_the_second_sends_nothing(config: IngestConfig, file: Path) -> None:
    with started(config, file, "--rate", "100") as first:
        wait_for_rows(config, first, 100)
        with started(config, file) as second:
            out, err = second.communicate()
        assert first.poll() is None, "the first one was done before the second one looked"
        first.kill()
    assert (second.returncode, out) == (1, "")
    assert "another load of source 'online-retail' is running" in err
    assert len(found(config)) < ROWS / 2


@pytest.mark.usefixtures("stock_agent")
def test_a_changed_file_under_the_same_source_is_an_error(config: IngestConfig, file: Path, tmp_path: Path) -> None:
    run(config, Wish(file))
    changed = tmp_path / "orders.csv"
    changed.write_bytes(lzma.decompress(file.read_bytes()) + BROKEN)
    before = len(found(config))
    with pytest.raises(LoadError, match=r"loaded from another file, orders.csv.xz with 6,000 rows"):
        run(config, Wish(changed))
    assert len(found(config)) == before
    assert run(config, Wish(changed, source="another")).rows_sent == ROWS + 2


@pytest.mark.usefixtures("stock_agent")
def test_the_same_rows_in_another_compression_are_the_same_load(config: IngestConfig, file: Path, tmp_path: Path) -> None:
    run(config, Wish(file))
    plain = tmp_path / "plain.csv"
    plain.write_bytes(lzma.decompress(file.read_bytes()))
    assert run(config, Wish(plain)).already_loaded


def test_without_a_worker_the_load_says_so_and_goes_on_later(config: IngestConfig, file: Path) -> None:
    wish = Wish(file, patience_s=1.0)
    with pytest.raises(LoadError, match=r"no worker is running: for 1 s consumer group .*holdfast has taken nothing of .*stock.commands"):
        run(config, wish)
    assert found(config) == []
    stop = threading.Event()
    thread = threading.Thread(target=take_commands, args=(config, stop))
    thread.start()
    try:
        assert run(config, replace(wish, patience_s=60)).rows_sent == ROWS
    finally:
        stop.set()
        thread.join()
    assert sorted(found(config)) == sorted(expected(config, file))


def test_two_loads_of_one_source_do_not_run_at_once(config: IngestConfig, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.load_state.LOCK_WAIT_S", 0)
    with load_state(config.mysql, "online-retail"), pytest.raises(LoadError, match="another load of source 'online-retail' is running"):
        run(config, Wish(file))


def test_a_name_is_bound_once_for_ever_also_when_the_lock_was_lost(config: IngestConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = iter(range(1, 100))

    def take(names: list[str]) -> list[int]:
        return [next(ids) for _ in names]

    with load_state(config.mysql, "src") as one:
        assert one.bind(["a", "b"], take) == {"a": 1, "b": 2}
        monkeypatch.setattr("ingest.load_state._lock", lambda *_: None)
        with load_state(config.mysql, "src") as two, load_state(config.mysql, "other") as other:
            assert two.bind(["b", "c"], take) == {"b": 2, "c": 3}
            assert other.bind(["a"], take) == {"a": 4}
        # What came before was new to it, so it inserts these unasked, and is told better; the next time it asks.
        assert one.bind(["c", "e"], take) == {"c": 3, "e": 6}
        assert one.bind(["c", "e", "f"], take) == {"c": 3, "e": 6, "f": 7}
        monkeypatch.setattr(LoadState, "_bound", _blind_once(LoadState._bound))
        with load_state(config.mysql, "src") as late:
            assert late.bind(["c", "d"], take) == {"c": 3, "d": 9}


def _blind_once(really: Callable[..., dict[str, int]]) -> Callable[..., dict[str, int]]:
    """Another load binds a name after we looked and before we write."""
    looked: list[Collection[str]] = []

    def bound(self: LoadState, names: Collection[str]) -> dict[str, int]:
        looked.append(names)
        return {} if len(looked) == 1 else really(self, names)

    return bound
