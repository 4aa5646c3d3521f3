"""Another system's history through real servers: decided orders are in the stores as they were; killed and resumed; live ones are decided."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow
import pytest
import redis
from pyarrow import parquet

import holdfast.audit
from ingest.producer import OrderProducer
from ingest.requests import StockCommand
from schemas import codec, views
from schemas.outcomes import StockCommandKind
from schemas.topics import DEAD_LETTERS, PAYMENT_REQUESTS, STOCK_COMMANDS
from tests.ingest.history.maps import COLUMNS, MAP, history, row
from tests.ingest.history.test_sources import csv_bytes
from tests.support import stack
from tests.support.pipeline import Pipeline, outcomes, running, until, values

pytestmark = pytest.mark.live
STATES = {"sent": "SHIPPED", "open": "CONFIRMED", "void": "CANCELLED", "back": "RETURNED", "none": "REJECTED"}


@pytest.fixture(scope="module")
def shop(kafka: str, module_database: str, module_redis: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pipeline]:
    """A worker and both sinks; the tests share it, each with a source of its own."""
    pipeline = Pipeline(kafka, stack.unique_name("b"), tmp_path_factory.mktemp("backfill"), module_database, module_redis)
    with running(pipeline):
        pipeline.sinks()
        pipeline.await_open(pipeline.worker())
        yield pipeline


def _command(shop: Pipeline, source: str, where: Path | str, *flags: str, text: str = MAP, **env: str) -> subprocess.Popen[str]:
    path = shop.folder / f"{source}.toml"
    path.write_text(text.replace('"old-shop"', f'"{source}"'))
    command = [sys.executable, "-m", "holdfast", "backfill", "in", "--map", str(path), "--json", *flags, str(where)]
    return subprocess.Popen(command, env=shop.environment() | env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _backfill(shop: Pipeline, source: str, where: Path | str, *flags: str, text: str = MAP, **env: str) -> dict[str, Any]:
    process = _command(shop, source, where, *flags, text=text, **env)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    report: dict[str, Any] = json.loads(out)
    return report


def _file(shop: Pipeline, name: str, rows: list[dict[str, Any]]) -> Path:
    path = shop.folder / name
    path.write_bytes(csv_bytes(rows))
    return path


def _bound(shop: Pipeline, source: str) -> dict[str, int]:
    """Return the order ID of each name of a source."""
    assert shop.mysql
    with stack.connect(shop.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT external_id, order_id FROM {views.ORDER_BINDINGS} WHERE source = %s", (source,))
        return dict(cursor.fetchall())


def _rows_done(shop: Pipeline, source: str) -> int:
    assert shop.mysql
    with stack.connect(shop.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT rows_done FROM {views.LOADS} WHERE source = %s", (source,))
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def _assert_clean(shop: Pipeline) -> None:
    shop.drain()
    report = holdfast.audit.run(shop.kafka, shop.mysql, shop.redis, shop.prefix)
    assert report.ok, report.text()


def test_decided_orders_are_in_the_stores_as_they_were_and_nothing_moves(shop: Pipeline) -> None:
    rows = [*history(60), row("bad", units="0"), row("apart"), row("last"), row("apart")]
    before = [len(values(shop, topic)) for topic in (STOCK_COMMANDS, PAYMENT_REQUESTS)]
    dry = _backfill(shop, "csv", _file(shop, "orders.csv", rows), "--dry-run")
    assert (dry["rows"], dry["orders"], dry["dead_letters"], dry["rows_sent"]) == (len(rows), 62, 2, 0)
    assert dry["errors"][0].startswith("row 121: ")
    report = _backfill(shop, "csv", shop.folder / "orders.csv")
    assert {name: report[name] for name in ("rows", "orders", "lines", "dead_letters", "errors")} == {
        name: dry[name] for name in ("rows", "orders", "lines", "dead_letters", "errors")
    }
    _assert_clean(shop)
    bound = _bound(shop, "csv")
    found = {o["order_id"]: o for o in outcomes(shop)}
    assert {name: found[bound[name]]["status"] for name in (f"A{n}" for n in range(60))} == {f"A{n}": STATES[list(STATES)[n % 5]] for n in range(60)}
    assert {found[order_id]["placed_at"] for order_id in bound.values()} == {1_291_191_960_000}
    assert [len(values(shop, topic)) for topic in (STOCK_COMMANDS, PAYMENT_REQUESTS)] == before
    assert shop.redis
    with redis.Redis.from_url(shop.redis, decode_responses=True) as client:
        assert client.hmget(f"order:{bound['A3']}", "status", "amount", "refunded", "user_id") == ["RETURNED", "250", "250", "c3"]
    letters = [codec.decode(value).value for value in values(shop, DEAD_LETTERS)]
    assert [(letter["offset"], letter["reason"]) for letter in letters if letter["topic"] == "file:orders.csv"] == [(121, "INVALID_ROW"), (124, "INVALID_ROW")]
    assert _backfill(shop, "csv", shop.folder / "orders.csv")["already_done"]


def test_a_backfill_that_is_killed_goes_on_and_every_order_is_there_once(shop: Pipeline) -> None:
    rows = history(1_500)
    path = shop.folder / "orders.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), path)
    for _ in range(3):
        process, before = _command(shop, "killed", path, "--rate", "400"), _rows_done(shop, "killed")
        until(lambda before=before: _rows_done(shop, "killed") > before, 60, "some rows are acknowledged")
        assert process.poll() is None
        process.send_signal(signal.SIGKILL)
        process.communicate()
    report = _backfill(shop, "killed", path)
    assert 0 < report["resumed_at"] < len(rows)
    assert report["rows_sent"] == len(rows) - report["resumed_at"]
    _assert_clean(shop)
    bound = _bound(shop, "killed")
    counted = Counter(o["order_id"] for o in outcomes(shop))
    assert len(bound) == 1_500
    assert {counted[order_id] for order_id in bound.values()} == {1}


def test_a_source_that_changed_does_not_go_on(shop: Pipeline) -> None:
    rows = history(1_500)
    process = _command(shop, "changed", _file(shop, "changed.csv", rows), "--rate", "400")
    until(lambda: _rows_done(shop, "changed"), 60, "some rows are acknowledged")
    process.send_signal(signal.SIGTERM)
    assert "it goes on" in process.communicate()[1]
    _file(shop, "changed.csv", [row("new"), *rows])
    again = _command(shop, "changed", shop.folder / "changed.csv")
    assert "are not those that were sent before" in again.communicate()[1]
    assert again.returncode == 1
    assert "as decided orders" in _command(shop, "changed", shop.folder / "changed.csv", "--as", "live").communicate()[1]


def test_a_query_of_another_database_is_a_source(shop: Pipeline, fresh_database: str) -> None:
    rows = history(50)
    with stack.connect(fresh_database) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE TABLE old_orders ({', '.join(f'`{name}` VARCHAR(64)' for name in COLUMNS)}, number INT AUTO_INCREMENT PRIMARY KEY)")
        cursor.executemany(
            f"INSERT INTO old_orders ({', '.join(f'`{n}`' for n in COLUMNS)}) VALUES ({', '.join(['%s'] * len(COLUMNS))})", [tuple(r.values()) for r in rows]
        )
        connection.commit()
    text = MAP + '[mysql]\nquery = "SELECT * FROM old_orders ORDER BY number"\n'
    report = _backfill(shop, "query", "env:OLD_SHOP", text=text, OLD_SHOP=fresh_database)
    assert (report["rows"], report["orders"], report["rows_sent"]) == (len(rows), 50, len(rows))
    _assert_clean(shop)
    wrong = _command(shop, "wrong", "env:OLD_SHOP", text=text.replace("old_orders", "no_orders"), OLD_SHOP=fresh_database)
    assert "the query failed" in wrong.communicate()[1]


def test_live_orders_are_decided_here_under_the_ids_that_they_had(shop: Pipeline) -> None:
    text = MAP.replace('id = "order"', 'id = { column = "order", keep = true }\npayment_token = { value = "tok_ok" }')
    rows = [row("9001", "new-sku", 1), row("9001", "other-sku", 1), row("9002", "none-left", 1)]
    for product in ("new-sku", "other-sku"):
        _restock(shop, product)
    report = _backfill(shop, "live", _file(shop, "live.csv", rows), "--as", "live", text=text)
    assert (report["orders"], report["mode"]) == (2, "live")
    until(lambda: {9001, 9002} <= {o["order_id"] for o in outcomes(shop)}, 60, "both are decided")
    _assert_clean(shop)
    found = {o["order_id"]: (o["change"], o["status"], o["placed_at"]) for o in outcomes(shop)}
    assert found[9001] == ("DECIDED", "CONFIRMED", 1_291_191_960_000)
    assert found[9002] == ("DECIDED", "REJECTED", 1_291_191_960_000)


def _restock(shop: Pipeline, product: str) -> None:
    with OrderProducer(shop.kafka, topic_prefix=shop.prefix) as producer:
        producer.command(StockCommand(f"r-{product}", StockCommandKind.RESTOCK, product, 5)).result()
    shop.drain()


def test_outcomes_of_a_window_are_what_mysql_has(shop: Pipeline) -> None:
    """Decided orders were decided when they were decided there; what is written agrees with the tables line by line."""
    ids = _bound(shop, "csv")
    path = shop.folder / "out.parquet"
    command = [sys.executable, "-m", "holdfast", "backfill", "out", "--from", "2010-12-01T08:26", "--to", "2010-12-01T08:27", "--out", str(path), "--json"]
    done = subprocess.run(command, env=shop.environment(), capture_output=True, text=True, check=True)
    table = parquet.read_table(path).to_pylist()
    assert json.loads(done.stdout)["rows"] == len(table)
    assert {row["imported"] for row in table} == {True}
    assert shop.mysql
    with stack.connect(shop.mysql) as connection, connection.cursor() as cursor:
        cursor.execute(
            f"SELECT o.order_id, o.status, o.amount, l.line, l.product_id, l.quantity, l.status, l.returned FROM {views.ORDERS} o"
            f" JOIN {views.ORDER_LINES} l USING (order_id) WHERE decided_at = '2010-12-01 08:26:00' ORDER BY 1, 4"
        )
        kept = cursor.fetchall()
    names = ("order_id", "status", "amount", "line", "product_id", "quantity", "line_status", "returned")
    assert sorted(tuple(row[name] for name in names) for row in table) == [tuple(row) for row in kept]
    assert set(ids.values()) <= {row["order_id"] for row in table}


def test_what_cannot_be_used_is_told_and_nothing_is_sent(shop: Pipeline) -> None:
    environment = os.environ.copy()
    for flags, said in ((["--rate", "0"], "rate"), (["--as", "gone"], "gone"), ([], "missing")):
        command = [sys.executable, "-m", "holdfast", "backfill", "in", "--map", str(shop.folder / "missing.toml"), *flags, "x.csv"]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 2
        assert said in done.stderr
