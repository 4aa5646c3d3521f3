"""Stock in MariaDB or MySQL: `python -m bench.peers.database row_locks|write_and_commit single|batched`.

row_locks: SELECT ... FOR UPDATE, decide, UPDATE. write_and_commit: a conditional UPDATE says by its row count.
The outcome is a row of the same transaction, its key the order ID: an order answered before is answered no more.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from typing import Any, Final

import pymysql
from confluent_kafka import Consumer, Message

from bench.peers.common import Commits, Given, OrderLine, order_line
from bench.peers.database_steps import BATCHED, SINGLE, Step
from holdfast.stack.addresses import MysqlAddress

CONNECTIONS: Final = 8
"""Of the single form, at once, as requests come; more were no faster on two cores."""
PER_COMMIT: Final = 500
"""Of the batched form, on one connection."""
DEADLOCK, LOCK_TIMEOUT, DUPLICATE = 1213, 1205, 1062


def connect(url: str) -> Any:
    """Return a connection that commits when it is told to."""
    at = MysqlAddress.parse(url)
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, autocommit=False)


def settle(connection: Any, step: Step, orders: list[OrderLine]) -> None:
    """Carry out one transaction; a deadlock or a lock that was waited for too long starts it again."""
    while True:
        try:
            with connection.cursor() as cursor:
                step(cursor, orders)
            connection.commit()
            return
        except pymysql.err.MySQLError as error:
            connection.rollback()
            if error.args[0] == DUPLICATE and len(orders) == 1:
                return
            if error.args[0] not in (DEADLOCK, LOCK_TIMEOUT):
                raise
            time.sleep(0.001)


def worker(given: Given, step: Step, waiting: queue.Queue[OrderLine]) -> None:
    """Settle one order at a time until killed; an error ends the program."""
    try:
        connection = connect(given.mysql)
        while True:
            settle(connection, step, [waiting.get()])
            waiting.task_done()
    except BaseException:
        traceback.print_exc()
        os._exit(1)


def run_single(given: Given, step: Step) -> None:
    """Decide one order per transaction on several connections; the position follows when all that was read is committed."""
    waiting: queue.Queue[OrderLine] = queue.Queue()
    for _ in range(CONNECTIONS):
        threading.Thread(target=worker, args=(given, step, waiting), daemon=True).start()
    for consumer, commits, orders in batches(given):
        for order in orders:
            waiting.put(order)
        waiting.join()
        consumer.commit(asynchronous=True)
        commits.note(len(orders))


def run_batched(given: Given, step: Step) -> None:
    """Decide many orders per transaction on one connection."""
    connection = connect(given.mysql)
    for consumer, commits, orders in batches(given):
        settle(connection, step, orders)
        consumer.commit(asynchronous=True)
        commits.note(len(orders))


def batches(given: Given) -> Any:
    """Yield (consumer, log of commits, orders) for ever."""
    consumer, commits = Consumer(given.consumer_settings()), Commits(given)
    consumer.subscribe([given.input])
    while True:
        records: list[Message] = consumer.consume(PER_COMMIT, 0.05)
        if records:
            yield consumer, commits, [order_line(record.value() or b"") for record in records]


if __name__ == "__main__":
    if sys.argv[2] == "single":
        run_single(Given.from_environment(), SINGLE[sys.argv[1]])
    else:
        run_batched(Given.from_environment(), BATCHED[sys.argv[1]])
