"""The demo from one end to the other: real servers, real workers and sinks, real orders."""

import json
import lzma
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import httpx
import pytest
from confluent_kafka import Producer

from holdfast import topics
from holdfast.demo import following
from holdfast.demo.following import Follower, StuckError
from holdfast.demo.loading import digest_of, source_of
from holdfast.stack.addresses import Endpoints
from holdfast.stack.home import Home
from ingest.backfill import Wish, dry_run
from sinks.migrate import migrate
from tests.support.stack import connect, new_database, new_redis, unique_name

SAMPLE = Path(__file__).parents[2] / "data" / "online-retail-sample.csv.xz"
ROWS = 1_500


@dataclass(frozen=True)
class Shop:
    """A demo that has run once: its file, its environment, what it said."""

    file: Path
    environment: dict[str, str]
    at: Endpoints
    said: dict[str, Any]
    printed: str

    def holdfast(self, *argv: str) -> "subprocess.CompletedProcess[str]":
        return run(self.environment, *argv)


def run(environment: dict[str, str], *argv: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run([sys.executable, "-m", "holdfast", *argv], check=False, env=os.environ | environment, capture_output=True, text=True, timeout=600)


def last_line(done: "subprocess.CompletedProcess[str]") -> dict[str, Any]:
    document: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return document


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample's first rows, and three that are no orders."""
    path = tmp_path_factory.mktemp("demo") / "shop.csv"
    with lzma.open(SAMPLE, "rt", encoding="utf-8", newline="") as sample:
        head = list(islice(sample, ROWS + 1))
    bad = ["x,85123A,bad invoice,1,2010-12-01T08:26:00,1.0,17850,UK\n", "600001,85123A,no price,1,2010-12-01T08:26:00,free,17850,UK\n", "too,short\n"]
    path.write_text("".join([*head, *bad]), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def shop(endpoints: Endpoints, file: Path, stack_home: Home) -> Iterator[Shop]:
    home = stack_home.root.with_name(unique_name("demo-home-"))
    with new_database(endpoints.mysql) as mysql, new_redis(endpoints.redis) as redis:
        at = replace(endpoints, mysql=mysql, redis=redis)
        prefix = {"HOLDFAST_TOPIC_PREFIX": unique_name("d"), "HOLDFAST_PARTITIONS": "2"}
        environment = at.variables() | prefix | {"HOLDFAST_HOME": str(home), "HOLDFAST_CACHE": str(stack_home.cache)}
        try:
            done = run(environment, "demo", "--data", str(file))
            assert done.returncode == 0, done.stdout + done.stderr
            yield Shop(file, environment, at, last_line(done), done.stdout)
        finally:
            run(environment, "down", "--wipe")


def test_every_row_is_accounted_for_and_every_order_answered_once(shop: Shop) -> None:
    said, counts = shop.said, dry_run(Wish(shop.file), lambda *_: None).counts
    assert (said["rows"], said["orders"], said["lines"]) == (ROWS + 3, counts.orders, counts.lines)
    assert sum(said[name] for name in ("confirmed", "rejected", "payment_failed", "expired", "cancelled")) == counts.orders
    assert said["confirmed"] > 0
    assert said["dead_letters"] == counts.dead_letters == 3
    assert said["violations"] == 0
    assert said["seconds"] > 0
    assert said["lines_per_s"] == pytest.approx(said["lines"] / said["seconds"], rel=0.01)


def test_the_stores_hold_what_it_said(shop: Shop) -> None:
    with connect(shop.at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM orders")
        assert cursor.fetchone() == (shop.said["orders"],)
        cursor.execute("SELECT COUNT(*) FROM order_lines")
        assert cursor.fetchone() == (shop.said["lines"],)
        cursor.execute("SELECT COUNT(*) FROM orders WHERE status IN ('CONFIRMED', 'SHIPPED', 'RETURNED')")
        assert cursor.fetchone() == (shop.said["confirmed"],)


def test_what_is_confirmed_was_shipped(shop: Shop) -> None:
    with connect(shop.at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT COUNT(*) FROM orders WHERE status = 'CONFIRMED'")
        assert cursor.fetchone() == (0,)


def test_it_is_left_running_with_its_warehouse(shop: Shop) -> None:
    kinds = {process["kind"] for process in json.loads(shop.holdfast("status", "--json").stdout)["processes"]}
    assert kinds == {"worker", "sink", "webhooks", "gateway", "ship"}
    assert shop.holdfast("up").returncode == 0
    assert "ship" in {process["kind"] for process in json.loads(shop.holdfast("status", "--json").stdout)["processes"]}


def test_it_says_where_orders_are_taken_over_http(shop: Shop) -> None:
    url = json.loads(shop.holdfast("status", "--json").stdout)["gateway"]
    assert f"{url}/docs" in shop.printed
    assert httpx.get(f"{url}/docs").status_code == 200


def test_the_same_file_again_changes_nothing(shop: Shop) -> None:
    again = shop.holdfast("demo", "--data", str(shop.file), "--json")
    assert again.returncode == 0, again.stderr
    assert len(again.stdout.splitlines()) == 1
    assert last_line(again) == shop.said | {"seconds": 0.0, "lines_per_s": 0.0}


def test_a_broken_promise_is_exit_1(shop: Shop) -> None:
    with connect(shop.at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE orders SET amount = amount + 1 LIMIT 1")
        connection.commit()
    broken = shop.holdfast("demo", "--data", str(shop.file))
    with connect(shop.at.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(
            "UPDATE orders SET amount = amount - 1 WHERE amount <> (SELECT SUM(quantity * unit_price) FROM order_lines WHERE order_id = orders.order_id)"
        )
        connection.commit()
    assert broken.returncode == 1
    assert last_line(broken)["violations"] == 1


def test_another_file_has_orders_of_its_own(shop: Shop, tmp_path: Path) -> None:
    other = tmp_path / "other.csv"
    other.write_text("".join(shop.file.read_text(encoding="utf-8").splitlines(keepends=True)[:200]), encoding="utf-8")
    assert source_of(shop.at.mysql, shop.file) == "online-retail"
    assert source_of(shop.at.mysql, other) == f"file-{digest_of(other)[:16]}"
    done = shop.holdfast("demo", "--data", str(other), "--json")
    assert done.returncode == 0, done.stderr
    said, counts = last_line(done), dry_run(Wish(other), lambda *_: None).counts
    assert (said["rows"], said["orders"], said["lines"], said["dead_letters"]) == (199, counts.orders, counts.lines, 0)


def test_no_such_file_is_an_error_before_anything_starts(tmp_path: Path) -> None:
    home = tmp_path / "home"
    done = run({"HOLDFAST_HOME": str(home)}, "demo", "--data", str(tmp_path / "none.csv"))
    assert done.returncode == 1
    assert "none.csv is no file" in done.stderr
    assert not home.exists()


def test_what_does_not_move_is_named(endpoints: Endpoints, fresh_database: str, fresh_redis: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "PATIENCE_S", 2.0)
    topics.create(endpoints.kafka, topic_prefix, 2)
    migrate(fresh_database)
    at = replace(endpoints, mysql=fresh_database, redis=fresh_redis)
    with closing(Follower(at, topic_prefix, 2, 900.0)) as follower:
        producer = Producer({"bootstrap.servers": endpoints.kafka})
        producer.produce(f"{topic_prefix}orders", b"unread")
        producer.flush(30)
        with pytest.raises(StuckError, match="records to read: stock 1"):
            follower.until_quiet(lambda: pytest.fail("it is not quiet"), 0, lambda _text: None)
