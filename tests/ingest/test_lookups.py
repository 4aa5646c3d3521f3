"""Look-ups: one answer, whichever store gives it."""

import json

import pytest
import redis
from click.testing import CliRunner

from holdfast.cli import main
from ingest.errors import ConfigError, InvalidRequestError, StoreError
from ingest.lookups import Lookups, parse_order_id, parse_product_id
from schemas import views
from schemas.outcomes import MAX_ORDER_ID
from sinks import batch
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from tests.support.outputs import level, outcome, records
from tests.support.stack import connect

NOWHERE = "127.0.0.1:1"
BIG = MAX_ORDER_ID
ORDER = outcome(BIG, 2, ["85123A", "[red]"], refusal="", user_id="O'Hara")
LEVEL = level("85123A", 3, frozen=True)


@pytest.fixture(scope="module")
def stores(module_database, module_redis):
    """Both stores with one order and one product."""
    migrate(module_database)
    for store in (MysqlStore(module_database), RedisStore(module_redis)):
        store.write(batch.fold(records([ORDER, LEVEL])), {})
        store.close()
    return module_database, module_redis


@pytest.fixture
def lookups(stores, fresh_redis):
    """Look-ups by what is asked: `redis` finds all there, `mysql` meets an empty Redis, `alone` one that is down."""
    mysql, full = stores
    found = {"redis": Lookups(full, mysql), "mysql": Lookups(fresh_redis, mysql), "alone": Lookups(f"redis://{NOWHERE}/0", mysql)}
    yield found
    for each in found.values():
        each.close()


@pytest.mark.live
@pytest.mark.parametrize(("which", "store"), [("redis", "redis"), ("mysql", "mysql"), ("alone", "mysql")])
def test_both_stores_give_the_same_answer(lookups, which, store):
    product, order = lookups[which].stock("85123A"), lookups[which].order(BIG)
    assert (product.store, order.store) == (store, store)
    assert product.fields == LEVEL
    assert product.fields["frozen"] is True
    assert order.fields == {c: ORDER[c] for c in views.ORDER_COLUMNS} | {"order_id": str(BIG), "lines": ORDER["lines"]}


@pytest.mark.live
@pytest.mark.parametrize("which", ["redis", "mysql", "alone"])
def test_what_neither_store_has_is_none(lookups, which):
    assert lookups[which].order(1) is None
    assert lookups[which].stock("85123a") is None


@pytest.mark.live
def test_a_hash_that_is_not_whole_is_asked_of_mysql(stores, fresh_redis):
    with redis.Redis.from_url(fresh_redis) as client:
        client.hset(views.stock_key("85123A"), "available", 5)
    lookups = Lookups(fresh_redis, stores[0])
    assert lookups.stock("85123A").store == "mysql"
    lookups.close()


@pytest.mark.live
def test_a_mysql_connection_that_died_idle_is_replaced(stores, lookups):
    asked = lookups["mysql"]
    asked.stock("85123A")
    with connect(stores[0]) as connection, connection.cursor() as cursor:
        cursor.execute(f"KILL {asked.tables.main.idle[0].thread_id()}")
    assert asked.stock("85123A").fields == LEVEL


@pytest.mark.live
def test_an_answer_of_mysql_is_of_now(stores, lookups):
    asked = lookups["mysql"]
    asked.stock("85123A")
    with connect(stores[0]) as connection, connection.cursor() as cursor:
        cursor.execute("UPDATE products SET available = available + 1 WHERE product_id = '85123A'")
        connection.commit()
        assert asked.stock("85123A").fields["available"] == LEVEL["available"] + 1
        cursor.execute("UPDATE products SET available = available - 1 WHERE product_id = '85123A'")
        connection.commit()


def test_neither_store_answering_is_said_with_both_reasons():
    lookups = Lookups(f"redis://{NOWHERE}/0", f"mysql://u:secret@{NOWHERE}/d")
    with pytest.raises(StoreError, match=r"MySQL at 127\.0\.0\.1:1 .*; and Redis: ") as caught:
        lookups.stock("A")
    assert "secret" not in str(caught.value)


def test_a_redis_url_that_is_none_is_said():
    with pytest.raises(ConfigError, match="HOLDFAST_REDIS"):
        Lookups("localhost:6379", "mysql://u:p@h/d")


@pytest.mark.parametrize("text", ["1", str(BIG), "007"])
def test_order_ids_are_read(text):
    assert parse_order_id(text) == int(text)


@pytest.mark.parametrize("text", ["", "0", "-1", "+1", "1.0", "1e3", "12x", " 1", "٣", str(BIG + 1), "9" * 5_000])
def test_what_is_no_order_id_is_refused(text):
    with pytest.raises(InvalidRequestError, match="whole number from 1 to"):
        parse_order_id(text)


@pytest.mark.parametrize("text", ["85123A", "a b", "é", "\U0001f9f8" * 64, "x" * 64])
def test_product_ids_are_read(text):
    assert parse_product_id(text) == text


@pytest.mark.parametrize("text", ["", "x" * 65, "a\0b", "\udcff"])
def test_what_is_no_product_id_is_refused(text):
    with pytest.raises(InvalidRequestError, match="1 to 64 characters"):
        parse_product_id(text)


@pytest.fixture
def run(stores, monkeypatch):
    """Runs the command line against both stores."""
    for name, url in (("KAFKA", NOWHERE), ("MYSQL", stores[0]), ("REDIS", stores[1])):
        monkeypatch.setenv(f"HOLDFAST_{name}", url)
    return lambda *words: CliRunner().invoke(main, list(words))


@pytest.mark.live
def test_the_commands_print_json(run):
    order, product = run("order", str(BIG), "--json"), run("stock", "85123A", "--json")
    assert (order.exit_code, product.exit_code) == (0, 0)
    assert json.loads(order.stdout)["lines"] == ORDER["lines"]
    assert json.loads(order.stdout)["order_id"] == str(BIG)
    assert json.loads(product.stdout) == LEVEL | {"store": "redis"}


@pytest.mark.live
def test_the_commands_print_for_people(run):
    order, product = run("order", str(BIG)).stdout, run("stock", "85123A").stdout
    for said in (str(BIG), "CONFIRMED", "O'Hara", "750 GBP", "2010-12-01 10:40:00", "[red]", "SHIPPED"):
        assert said in order
    for said in ("85123A", "100", "103", "yes"):
        assert said in product


@pytest.mark.live
@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["order", "1"], "order 1 is not known"),
        (["order", "85123A"], "whole number"),
        (["stock", "85123a"], "case-sensitive"),
        (["stock", "x" * 65], "1 to 64 characters"),
    ],
)
def test_the_commands_exit_1_and_say_why(run, words, said):
    for options in ([], ["--json"]):
        done = run(*words, *options)
        assert done.exit_code == 1
        assert said in done.stderr
        assert not done.stdout
