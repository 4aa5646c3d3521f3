"""Where programs begin and leave their results: our changelog and decisions, the peers' topics, Redis, MariaDB."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import pymysql
import redis

from bench import topics
from bench.checker import Checker
from bench.contenders import Results
from bench.peers.common import decode_outcome
from bench.peers.database_steps import DROP, TABLES
from bench.peers.redis_lua import OUTCOMES, STOCK
from bench.servers import Servers
from bench.work import Work
from holdfast.stack.addresses import MysqlAddress
from schemas import codec
from schemas.outcomes import Refusal
from schemas.partitions import product_partition
from schemas.topics import STOCK_STATE
from streams.domain.product import Product, to_row

CHUNK: Final = 10_000


def taker(checker: Checker, *, ours: bool) -> Callable[[bytes], int]:
    """Return what gives a record's outcomes to the checker and returns their number."""
    return (lambda value: _take_ours(checker, value)) if ours else (lambda value: _take_one(checker, value))


def _take_one(checker: Checker, value: bytes) -> int:
    o = decode_outcome(value)
    checker.take(o["order_id"], o["product_id"], o["quantity"], o["reserved"], o["available"])
    return 1


def _take_ours(checker: Checker, value: bytes) -> int:
    name, fields, size = codec.decode(value)
    if name != "StockDecisions":
        return 0
    refusals = fields["refusal"]
    held = [refusal == Refusal.NONE for refusal in refusals]
    checker.take_columns(fields["order_id"], fields["product_id"], fields["quantity"], held, fields["available"])
    for refusal in set(refusals) - {Refusal.NONE, Refusal.INSUFFICIENT_STOCK}:
        checker.verdict.note("refusal other than for stock", Refusal(refusal).name)
    return size


# -- ours ---------------------------------------------------------------------------------------------------------------


def open_stock(kafka: str, prefix: str, partitions: int, work: Work) -> None:
    """Give every product its units before the first order, as rows of the changelog: what a shop that has been open holds."""
    producer, topic, encode = topics.new_producer(kafka), STOCK_STATE.named(prefix), codec.encoder("ProductRow")
    for number in range(work.mix.products):
        name, units = f"p{number}", work.opening(number)
        row = encode(to_row(Product(name, available=units, received=units, version=1)))
        topics.put(producer, topic, row, name.encode(), product_partition(name, partitions))
        if number % CHUNK == 0:
            producer.poll(0)
    if producer.flush(topics.TIMEOUT_S):
        raise RuntimeError(f"the broker did not take all of {topic}")


def all_open(log: Path, partitions: int) -> bool:
    """Whether the workers' log says that every task has its rows."""
    return log.read_text(errors="replace").count("task opened") >= partitions


def long_transactions(log: Path) -> int:
    """Return how many transactions the workers' log says took over 300 ms (streams/runtime/timing.py)."""
    return log.read_text(errors="replace").count("a transaction took long")


# -- stores -------------------------------------------------------------------------------------------------------------


def connect(url: str) -> Any:
    """Return a database connection that commits each statement."""
    at = MysqlAddress.parse(url)
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, autocommit=True)


def open_tables(mysql: str, work: Work) -> None:
    """Make the database peer's tables, with every product's opening stock."""
    with connect(mysql) as connection, connection.cursor() as cursor:
        for statement in (DROP, *TABLES):
            cursor.execute(statement)
        for start in range(0, work.mix.products, CHUNK):
            numbers = range(start, min(start + CHUNK, work.mix.products))
            cursor.executemany("INSERT INTO bench_stock VALUES (%s, %s, 0)", [(f"p{n}", work.opening(n)) for n in numbers])


def clear(kind: Results, servers: Servers) -> None:
    """Remove what a store peer leaves."""
    if kind is Results.DATABASE:
        with connect(servers.mysql) as connection, connection.cursor() as cursor:
            cursor.execute(DROP)
    elif kind is Results.REDIS:
        redis.Redis.from_url(servers.redis).delete(STOCK, *(OUTCOMES % shard for shard in range(100)))


def read_store(kind: Results, servers: Servers, checker: Checker) -> None:
    """Give every outcome and row of a store to the checker."""
    (_read_database if kind is Results.DATABASE else _read_redis)(servers, checker)


def _read_database(servers: Servers, checker: Checker) -> None:
    with connect(servers.mysql) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT order_id, product_id, quantity, reserved, available FROM bench_outcomes")
        for order_id, product_id, units, reserved, available in cursor.fetchall():
            checker.take(order_id, product_id, units, bool(reserved), available)
        cursor.execute("SELECT product_id, available FROM bench_stock")
        for product_id, available in cursor.fetchall():
            checker.take_stock(product_id, available)


def _read_redis(servers: Servers, checker: Checker) -> None:
    client: Any = redis.Redis.from_url(servers.redis)
    for shard in range(100):
        for order_id, outcome in client.hgetall(OUTCOMES % shard).items():
            held, product_id, units, available = outcome.decode().split(":")
            checker.take(int(order_id), product_id, int(units), held == "1", int(available))
    for product_id, available in client.hgetall(STOCK).items():
        checker.take_stock(product_id.decode(), int(available))
