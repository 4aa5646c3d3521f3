"""Faults sown into real MySQL and Redis: each is found and named."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from holdfast.audit import check
from holdfast.audit.kinds import KINDS
from holdfast.audit.reading import read_log
from holdfast.audit.store_reading import read_stores
from tests.holdfast.audit.servers import Servers, correct_servers
from tests.support.history_stores import StoreContents
from tests.support.stack import unique_name

pytestmark = pytest.mark.live


@pytest.fixture(scope="module")
def history(kafka: str, module_database: str, module_redis: str) -> Servers:
    return correct_servers(kafka, module_database, module_redis, unique_name("t") + ".")


@pytest.fixture
def servers(history: Servers) -> Iterator[Servers]:
    yield history
    history.write_stores(StoreContents(history.shop))


MYSQL = {
    "a product's row is missing": ("store_row_missing", "DELETE FROM products WHERE product_id = 'apple'"),
    "an order's row is missing": ("store_row_missing", "DELETE FROM orders WHERE order_id = 7"),
    "a line's row is missing": ("store_row_missing", "DELETE FROM order_lines WHERE order_id = 7 AND line = 2"),
    "all lines of an order are missing": ("store_row_missing", "DELETE FROM order_lines WHERE order_id = 10"),
    "a user's row is missing": ("store_row_missing", "DELETE FROM users WHERE user_id = 'u2'"),
    "a table is empty": ("store_row_missing", "DELETE FROM orders"),
    "a row of no product": (
        "store_row_extra",
        "INSERT INTO products SELECT 'ghost', available, reserved, shipped, received, written_off, returned, version, tracked, frozen, updated_at "
        "FROM (SELECT * FROM products) AS p WHERE product_id = 'apple'",
    ),
    "a row of no order": ("store_row_extra", "UPDATE orders SET order_id = 999 WHERE order_id = 7"),
    "a row of no line": ("store_row_extra", "UPDATE order_lines SET line = 9 WHERE order_id = 7 AND line = 2"),
    "lines of no order": ("store_row_extra", "UPDATE order_lines SET order_id = 999 WHERE order_id = 7"),
    "a row of no user": ("store_row_extra", "UPDATE users SET user_id = 'ghost' WHERE user_id = 'u2'"),
    "a unit is added to a product": ("store_row_differs", "UPDATE products SET available = available + 1 WHERE product_id = 'apple'"),
    "a product's row is of an earlier version": ("store_row_differs", "UPDATE products SET version = version - 1 WHERE product_id = 'apple'"),
    "a product is frozen by hand": ("store_row_differs", "UPDATE products SET frozen = 1 - frozen WHERE product_id = 'apple'"),
    "an order's status is changed": ("store_row_differs", "UPDATE orders SET status = 'RETURNED' WHERE order_id = 7"),
    "an order's amount is changed": ("store_row_differs", "UPDATE orders SET amount = amount + 1 WHERE order_id = 7"),
    "an order's refund is changed": ("store_row_differs", "UPDATE orders SET refunded = 0 WHERE order_id = 8"),
    "an order's time is off by a millisecond": (
        "store_row_differs",
        "UPDATE orders SET decided_at = decided_at + INTERVAL 0.001 SECOND WHERE order_id = 7",
    ),
    "an order changes hands": ("store_row_differs", "UPDATE orders SET user_id = 'u9' WHERE order_id = 7"),
    "a line's quantity is changed": ("store_row_differs", "UPDATE order_lines SET quantity = quantity + 1 WHERE order_id = 7 AND line = 1"),
    "a line's product is changed": ("store_row_differs", "UPDATE order_lines SET product_id = 'pear' WHERE order_id = 7 AND line = 1"),
    "a line's row is stale": ("store_row_differs", "UPDATE order_lines SET version = 1 WHERE order_id = 7"),
    "a user's first order is wrong": ("store_row_differs", "UPDATE users SET first_order_at = first_order_at - INTERVAL 1 DAY WHERE user_id = 'u2'"),
    "the sink stands beyond the end": ("store_position_ahead", "UPDATE sink_positions SET position = position + 100 WHERE topic LIKE '%order.outcomes'"),
    "the sink stands before records": ("store_position_behind", "UPDATE sink_positions SET position = 0 WHERE topic LIKE '%order.outcomes'"),
    "the sink's positions are gone": ("store_position_behind", "DELETE FROM sink_positions"),
}
REDIS = {
    "a product's hash is missing": ("cache_missing", ["DEL", "stock:apple"]),
    "an order's hash is missing": ("cache_missing", ["DEL", "order:7"]),
    "all is gone": ("cache_missing", ["FLUSHDB"]),
    "a hash of no product": ("cache_extra", ["COPY", "stock:apple", "stock:ghost"], ["HSET", "stock:ghost", "product_id", "ghost"]),
    "a hash of no order": ("cache_extra", ["COPY", "order:7", "order:999"], ["HSET", "order:999", "order_id", "999"]),
    "a unit is added to a product's hash": ("cache_differs", ["HINCRBY", "stock:apple", "available", "1"]),
    "a product's hash is stale": ("cache_differs", ["HINCRBY", "stock:apple", "version", "-1"]),
    "an order's hash is stale": ("cache_differs", ["HSET", "order:7", "status", "CONFIRMED", "version", "1"]),
    "an order's money is changed": ("cache_differs", ["HINCRBY", "order:7", "refunded", "1"]),
    "an order's lines are gone": ("cache_differs", ["HSET", "order:7", "lines", "[]"]),
    "an order's lines are no JSON": ("cache_differs", ["HSET", "order:7", "lines", "{"]),
    "a field is missing": ("cache_differs", ["HDEL", "order:7", "user_id"]),
    "a field is too many": ("cache_differs", ["HSET", "order:7", "note", "x"]),
    "a hash under another's key": ("cache_differs", ["COPY", "order:6", "order:7", "REPLACE"]),
    "a text where a hash belongs": ("cache_differs", ["SET", "order:7", "no hash"]),
    "the sink stands beyond the end": ("store_position_ahead", ["SET", "sink:position:{prefix}order.outcomes:0", "1000"]),
    "the sink stands before records": ("store_position_behind", ["SET", "sink:position:{prefix}order.outcomes:0", "0"]),
    "the sink's position is gone": ("store_position_behind", ["DEL", "sink:position:{prefix}stock.levels:1"]),
    "the sink's position is no number": ("cache_differs", ["SET", "sink:position:{prefix}stock.levels:1", "many"]),
}


def found(servers: Servers, kind: str) -> None:
    """The corruption is found, named by its promise, and what names it says where it is."""
    log = read_log(servers.kafka, servers.shop.prefix, live=False, progress=lambda *_: None)
    report = check(log, read_stores(servers.mysql_url, servers.redis_url, lambda *_: None))
    assert report.kinds()[kind], f"not found; found instead: {dict(report.kinds())}"
    assert {violation.promise for violation in report.violations} == {KINDS[kind]} == {"I6"}
    assert all(violation.place.topic.startswith(("mysql:", "redis:")) for violation in report.violations)


@pytest.mark.parametrize("corruption", MYSQL)
def test_a_corruption_of_mysql_is_found(corruption: str, servers: Servers) -> None:
    kind, statement = MYSQL[corruption]
    assert servers.execute(statement), "nothing was changed"
    found(servers, kind)


@pytest.mark.parametrize("corruption", REDIS)
def test_a_corruption_of_redis_is_found(corruption: str, servers: Servers) -> None:
    kind, *commands = REDIS[corruption]
    with servers.cache() as client:
        for command in commands:
            client.execute_command(*(word.format(prefix=servers.shop.prefix) if "prefix" in word else word for word in command))
    found(servers, kind)


def test_what_was_not_corrupted_is_clean(servers: Servers) -> None:
    report = servers.run()
    assert report.ok, report.text()
