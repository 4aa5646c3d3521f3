"""A producer that kills itself, -9, with an order begun: between its lines, or with its transaction open.

`python -m tests.faults.dying_producer KAFKA PREFIX PARTITIONS SEED between-lines|in-transaction|aborted`
"""

from __future__ import annotations

import os
import signal
import sys
from random import Random
from typing import Final

from confluent_kafka import Producer

from schemas import codec
from schemas.partitions import product_partition
from schemas.topics import ORDERS
from tests.faults.rough import Item, Log, RoughProducer, Shop

ORDERS_BEGUN: Final = 20
TRANSACTION_MS: Final = 6_000
UNITS: Final = 500


def die_between_lines(log: Log, shop: Shop) -> None:
    """Leave orders of which some lines, but not the last, are in the log."""
    producer = RoughProducer(log)
    for command in shop.restocks(UNITS):
        producer.stock(command)
    for _ in range(ORDERS_BEGUN):
        for line in shop.order(shop.random.randint(2, 4))[:-1]:
            producer.line(line)
    producer.flush()


def leave_transaction(log: Log, lines: list[Item], *, abort: bool) -> None:
    """Write order lines in a transaction that is never committed."""
    name = f"{log.prefix}rough.{lines[0]['order_id']}"
    producer = Producer({"bootstrap.servers": log.kafka, "transactional.id": name, "transaction.timeout.ms": TRANSACTION_MS, "log_level": 2})
    producer.init_transactions(30)
    producer.begin_transaction()
    for line in lines:
        home = product_partition(line["product_id"], log.partitions)
        producer.produce(ORDERS.named(log.prefix), codec.encode("OrderLine", line), line["product_id"].encode(), home)
    producer.flush(30)
    if abort:
        producer.abort_transaction(30)


def main(kafka: str, prefix: str, partitions: str, seed: str, how: str) -> None:
    """Do it, then die."""
    log, shop = Log(kafka, prefix, int(partitions)), Shop(Random(int(seed)))
    if how == "between-lines":
        die_between_lines(log, shop)
    else:
        leave_transaction(log, [line for order in shop.orders(ORDERS_BEGUN) for line in order], abort=how == "aborted")
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
