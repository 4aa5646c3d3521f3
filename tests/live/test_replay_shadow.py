"""The log of real workers decided again on topics beside it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.admin import AdminClient

from holdfast import topics
from holdfast.cli import main
from holdfast.log_whole import partitions_of, watermarks
from schemas.topics import ALL
from sinks.migrate import migrate
from tests.support.pipeline import Load, Pipeline, running
from tests.support.stack import connect, new_database, new_redis, unique_name

pytestmark = pytest.mark.live
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def shop(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """Some seconds of orders, cancellations, shipments and returns, decided by two workers that shared the partitions."""
    pipeline = Pipeline(kafka, unique_name("s") + ".", tmp_path_factory.mktemp("shop"), module_database, module_redis)
    with running(pipeline):
        load = Load(kafka, pipeline.prefix, 7, units=120)
        load.restock()
        pipeline.worker()
        pipeline.worker()
        pipeline.sinks()
        pipeline.drain()  # a restock that comes after the first orders is no opening stock
        with load.flowing(per_second=100):
            time.sleep(4)
        pipeline.drain()
        yield pipeline


def run(shop: Pipeline, *arguments: str, code: int = 0) -> dict[str, Any]:
    result = CliRunner(env=shop.environment()).invoke(main, ["replay", *arguments, "--json"])
    assert result.exit_code == code, result.output + repr(result.exception)
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def ends(shop: Pipeline) -> dict[tuple[str, int], int]:
    names = partitions_of(shop.kafka, [topic.named(shop.prefix) for topic in ALL])
    return watermarks(shop.kafka, [(name, number) for name, count in names.items() for number in range(count)])


def topics_of(shop: Pipeline, prefix: str) -> list[str]:
    return [name for name in AdminClient({"bootstrap.servers": shop.kafka}).list_topics(timeout=20).topics if name.startswith(prefix)]


def test_the_same_rules_change_nothing_and_leave_nothing(shop: Pipeline) -> None:
    before = ends(shop)
    found = run(shop, "shadow")
    assert found["named"] == []
    assert (found["different"], found["rules"]) == (0, {"refusal_policy": "all-or-nothing"})
    assert found["orders"] > 100
    assert len(found["decisions"]) > 1
    assert ends(shop) == before
    assert topics_of(shop, f"{shop.prefix}shadow") == []


def test_killed_in_the_middle_it_goes_on_and_says_what_a_hand_counts(shop: Pipeline, mysql_url: str, tmp_path: Path) -> None:
    prefix = unique_name("shadow") + "."
    options = ("shadow", "--opening-stock", "0.5", "--prefix", prefix, "--keep", "--picture", str(tmp_path / "difference.svg"))
    command = [sys.executable, "-c", KILLED, *options]
    killed = subprocess.run(command, env=shop.environment(), cwd=ROOT, check=False, capture_output=True, timeout=120)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    found = run(shop, *options)
    assert found["different"] > 0
    assert (tmp_path / "difference.svg").read_text().startswith("<svg")
    fill_and_check_by_hand(shop, prefix, mysql_url, found)
    assert run(shop, *[each for each in options if each != "--keep"]) == {**found, "prefix": None}
    assert topics_of(shop, prefix) == []


KILLED = """
import os, signal, sys
from holdfast import topics
from holdfast.cli import main
from holdfast.shadow import run
follow = run._follow
def followed(lines, listen):
    def told(phase, done, total):
        listen(phase, done, total)
        if phase == "deciding again" and done > total // 3:
            os.killpg(0, signal.SIGKILL)
    return follow(lines, told)
run._follow = followed
os.setpgid(0, 0)
sys.argv = ["holdfast", "replay", *sys.argv[1:]]
main()
"""


def fill_and_check_by_hand(shop: Pipeline, prefix: str, mysql_url: str, found: dict[str, Any]) -> None:
    """Fill a database with what a shadow left on its topics, and compare the totals."""
    with new_database(mysql_url) as url:
        migrate(url)
        beside = {**shop.environment(), "HOLDFAST_TOPIC_PREFIX": prefix, "HOLDFAST_MYSQL": url}
        filled = CliRunner(env=beside).invoke(main, ["replay", "stores", "--mysql", "--swap"])
        assert filled.exit_code == 0, filled.output
        check_by_hand(shop.mysql or "", url.rpartition("/")[2], found)


def check_by_hand(live: str, shadow: str, found: dict[str, Any]) -> None:
    """The totals, by SQL over the rows of both."""
    kept = "SUM(IF(l.status IN ('HELD', 'SHIPPED', 'RETURNED'), l.quantity - l.returned, 0))"
    with connect(live) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT COUNT(*), SUM(a.status <> b.status) FROM orders a JOIN {shadow}.orders b USING (order_id)")
        orders, other_status = cursor.fetchone()
        cursor.execute(f"SELECT (SELECT SUM(charged - refunded) FROM orders), (SELECT SUM(charged - refunded) FROM {shadow}.orders)")
        revenue = cursor.fetchone()
        cursor.execute(f"SELECT {kept} FROM order_lines l")
        (was,) = cursor.fetchone()
        cursor.execute(f"SELECT {kept} FROM {shadow}.order_lines l")
        (would,) = cursor.fetchone()
        cursor.execute(
            f"SELECT COUNT(*) FROM orders a JOIN {shadow}.orders b USING (order_id) WHERE a.status IN ('REJECTED', 'CANCELLED', 'EXPIRED', 'PAYMENT_FAILED')"
            " AND b.status NOT IN ('REJECTED', 'CANCELLED', 'EXPIRED', 'PAYMENT_FAILED')"
        )
        (gained,) = cursor.fetchone()
    open_orders = found["decisions"].get("(none)", {"was": 0})["was"]  # one of their lines never came: the shadow has refused another
    assert (found["orders"], found["units"]) == (orders + open_orders, {"was": was, "would": would})
    assert found["revenue"]["GBP"] == {"was": revenue[0], "would": revenue[1]}
    assert found["different"] >= other_status > 0
    assert sum(each["orders"] for each in found["moves"] if (each["would"] == "CONFIRMED") and each["was"] != "(none)") == gained


@pytest.mark.long
def test_a_real_shops_file_with_half_of_its_stock(kafka: str, mysql_url: str, redis_url: str, tmp_path: Path) -> None:
    """The file of HOLDFAST_DATA, by default the sample in data/, opened with 0.9 of what is asked for, and again with 0.5 of it."""
    file = os.environ.get("HOLDFAST_DATA") or str(ROOT / "data" / "online-retail-sample.csv.xz")
    with new_database(mysql_url) as database, new_redis(redis_url) as store:
        pipeline = Pipeline(kafka, unique_name("file") + ".", tmp_path, database, store)
        with running(pipeline):
            pipeline.sinks()
            pipeline.worker()
            pipeline.start("ship", "holdfast", "ship", "--follow")
            loaded = subprocess.run([sys.executable, "-m", "holdfast", "load", file, "--opening-stock", "0.9"], env=pipeline.environment(), check=False)
            assert loaded.returncode == 0
            pipeline.drain(240)
            pipeline.stop()
            assert run(pipeline, "shadow")["different"] == 0
            prefix = unique_name("shadow") + "."
            found = run(pipeline, "shadow", "--opening-stock", "0.5", "--prefix", prefix, "--keep")
            fill_and_check_by_hand(pipeline, prefix, mysql_url, found)
            memory = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024
            print(json.dumps({**{name: found[name] for name in found if name != "named"}, "most MB of a process": memory}))


def test_another_version_of_the_code_decides(shop: Pipeline, tmp_path: Path) -> None:
    """A version whose sandbox declines everything, in a folder of its own."""
    for package in ("streams", "schemas", "failpoints"):
        subprocess.run(["cp", "-r", str(ROOT / package), str(tmp_path)], check=True)
    changed = tmp_path / "streams" / "payments" / "sandbox.py"
    changed.write_text(changed.read_text() + OTHER)
    found = run(shop, "shadow", "--code", str(tmp_path), "--decline-rate", "0")
    was, would = found["decisions"]["CONFIRMED"].values()
    assert was > 0
    assert would == 0
    assert found["decisions"]["PAYMENT_FAILED"]["would"] > was / 2


OTHER = """

def _ask(self, requests):
    return [DECLINED for _ in requests]


Sandbox.ask = _ask
"""


def test_a_prefix_that_is_live_or_somebodys_is_refused(shop: Pipeline) -> None:
    another = unique_name("other") + "."
    topics.create(shop.kafka, another, 1)
    for prefix in (shop.prefix, another):
        result = CliRunner(env=shop.environment()).invoke(main, ["replay", "shadow", "--prefix", prefix])
        assert result.exit_code == 1
        assert "choose another with --prefix" in result.output


def test_a_code_that_is_none_is_refused(shop: Pipeline, tmp_path: Path) -> None:
    for code in (str(tmp_path), "no-such-version"):
        result = CliRunner(env=shop.environment()).invoke(main, ["replay", "shadow", "--code", code])
        assert result.exit_code == 1
        assert f"--code {code}" in result.output
