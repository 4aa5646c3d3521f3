"""Fill `orders` with single-line orders and give the products stock: input of the benches.

python -m bench.fill_orders --orders 1000000 --products 1000 [--hot 10] [--per-record 100]
"""

from __future__ import annotations

import random
import time
from typing import Any

import click
from confluent_kafka import Producer

from bench.topics import put
from bench.work import COLUMNS
from schemas import codec
from schemas.outcomes import StockCommandKind
from schemas.partitions import product_partition
from schemas.topics import ORDERS, STOCK_COMMANDS
from streams.config import settings


def order_lines(orders: int, products: int, hot: int, seed: int = 1) -> Any:
    """Yield (product, line fields) of single-line orders; with `hot`, 90 % of them on that many products."""
    rng, now = random.Random(seed), int(time.time() * 1000)
    base = now << 22
    for i in range(orders):
        product = rng.randrange(hot) if hot and rng.random() < 0.9 else rng.randrange(products)
        yield f"p{product}", (base + i, 1, 1, f"p{product}", 1 + i % 3, 999, "GBP", f"u{i % 5000}", "tok_ok", now)


def restock(producer: Producer, products: int, units: int) -> None:
    """Give every product `units` units."""
    config = settings()
    for i in range(products):
        product = f"p{i}"
        command = {"command_id": f"bench-{time.time_ns()}", "kind": StockCommandKind.RESTOCK.name, "product_id": product, "quantity": units}
        value = codec.encode("StockCommand", {**command, "as_of": 0, "issued_at": 0, "actor": "bench", "note": ""})
        put(producer, STOCK_COMMANDS.named(config.topic_prefix), value, product.encode(), product_partition(product, config.partitions))


def fill(orders: int, products: int, hot: int, per_record: int) -> None:
    """Write the orders, one record each or in columns of `per_record`."""
    config = settings()
    producer = Producer({"bootstrap.servers": config.kafka, "linger.ms": 20, "compression.type": "lz4", "queue.buffering.max.messages": 1_000_000})
    topic = ORDERS.named(config.topic_prefix)
    pending: list[list[Any]] = [[] for _ in range(config.partitions)]
    encode_one, encode_many = codec.encoder("OrderLine"), codec.encoder("OrderLines")
    for i, (product, fields) in enumerate(order_lines(orders, products, hot)):
        partition = product_partition(product, config.partitions)
        if per_record == 1:
            put(producer, topic, encode_one(dict(zip(COLUMNS, fields, strict=True))), product.encode(), partition)
        else:
            pending[partition].append(fields)
            if len(pending[partition]) == per_record:
                put(producer, topic, encode_many(dict(zip(COLUMNS, zip(*pending[partition], strict=True), strict=True))), None, partition)
                pending[partition].clear()
        if i % 10_000 == 0:
            producer.poll(0)
    for partition, rest in enumerate(pending):
        if rest:
            put(producer, topic, encode_many(dict(zip(COLUMNS, zip(*rest, strict=True), strict=True))), None, partition)
    restock(producer, products, 10_000_000)
    producer.flush()


@click.command()
@click.option("--orders", default=1_000_000, show_default=True)
@click.option("--products", default=1_000, show_default=True)
@click.option("--hot", default=0, show_default=True, help="send 90 % of the orders to this many products")
@click.option("--per-record", default=1, show_default=True)
def main(orders: int, products: int, hot: int, per_record: int) -> None:
    """Fill the orders topic for a bench."""
    started = time.time()
    fill(orders, products, hot, per_record)
    click.echo(f"{orders} orders in {time.time() - started:.1f} s")


if __name__ == "__main__":
    main()
