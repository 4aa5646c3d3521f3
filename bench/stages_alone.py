"""CPU that an order costs in the orders, payments and stock stages once its lines are answered, in one process without servers.

Its answers, its charge, its payment, and that it is shipped: in the orders stage, and in the stock stage.

python -m bench.stages_alone [--orders 20000] [--lines 1] [--batch-kib 16] [--plain-path]
"""

from __future__ import annotations

import json
import random
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Any

import click

from holdfast.warehouse import ship_commands
from schemas import codec
from schemas.order_times import BELOW_TIME_BITS, EPOCH_MS
from schemas.partitions import order_partition, product_partition
from schemas.topics import ORDER_COMMANDS, ORDER_OUTCOMES, PAYMENT_REQUESTS, PAYMENT_RESULTS, STOCK_COMMANDS, STOCK_DECISIONS, Topic
from streams.domain.product import Product
from streams.payments.sandbox import Sandbox
from streams.runtime.records import Place, Record
from streams.stages.orders import ANSWER, OrdersStage
from streams.stages.payments import PaymentsStage
from streams.stages.plain_way import PlainPathAlone
from streams.stages.stock import StockStage
from streams.stages.stock_table import PlainTable, StockTable, new_table

HERE = Place(0, 8)
NOW = EPOCH_MS + 10**10
HOUR_MS = 3_600_000
AT_ONCE = 250
"""Lines of the orders that are answered beside each other: some 30 come from each of the stock agent's tasks."""


def order_ids(count: int) -> Iterator[int]:
    """Yield so many IDs of orders of our partition, a new one every few microseconds."""
    order_id = (NOW - EPOCH_MS) << BELOW_TIME_BITS
    while count:
        order_id += 4_097
        if order_partition(order_id, HERE.partitions) == HERE.partition:
            count -= 1
            yield order_id


def decisions(orders: int, lines: int) -> Iterator[bytes]:
    """Yield the stock agent's answers: all lines held, an order's lines by as many of its tasks as their products are of."""
    chance, ids = random.Random(1), order_ids(orders)
    for _ in range(0, orders * lines, AT_ONCE):
        rows: defaultdict[int, list[tuple[Any, ...]]] = defaultdict(list)
        for order_id in islice(ids, max(1, AT_ONCE // lines)):
            for number in range(1, lines + 1):
                product = chance.randrange(1_000)
                line = (order_id, number, lines, f"{product:05}A", 1 + product % 12, 255 + product, "GBP", f"u{order_id % 5_000}", "tok_ok", NOW, 0)
                rows[product % HERE.partitions].append(line)
        yield from map(decision, rows.values())


def decision(rows: Sequence[tuple[Any, ...]]) -> bytes:
    """Return lines and their refusal as a StockDecisions record."""
    columns = dict(zip(ANSWER, zip(*rows, strict=True), strict=True))
    own = {"available": [1_000] * len(rows), "version": [77] * len(rows), "offset": [123_456] * len(rows), "index": list(range(len(rows)))}
    whole = {**columns, **own, "refusal": bytes(columns["refusal"])}
    return codec.encode("StockDecisions", {**whole, "partition": 0, "decided_at": NOW})


def drive(stage: Any, topic: Topic, values: Sequence[bytes], most: int) -> tuple[float, dict[str, list[bytes]]]:
    """Let a stage decide records in batches of so many bytes; return the CPU seconds that it took and what it wrote, by topic."""
    said, used, batch = defaultdict(list), 0.0, list[Record]()
    for offset, value in enumerate(values):
        batch.append(Record(topic.name, 0, offset, None, value))
        if sum(len(record.value or b"") for record in batch) >= most or offset == len(values) - 1:
            before = time.process_time()
            writes = stage.decide(batch, NOW)
            stage.committed()
            used += time.process_time() - before
            batch = []
            for write in writes:
                said[write.topic.name].append(write.value)
    return used, said


def ships(orders: int) -> Iterator[bytes]:
    """Yield commands to ship all orders, as many in a record as the lines beside each other."""
    ids = list(order_ids(orders))
    for at in range(0, orders, AT_ONCE):
        for _, record in ship_commands(ids[at : at + AT_ONCE], HERE.partitions, NOW):
            yield record


def unload(asked: Sequence[bytes], most: int, table: Callable[[Place], StockTable]) -> float:
    """Let the stock stages of all partitions carry out what is asked of one another's products; return the CPU seconds."""
    used = 0.0
    homes: defaultdict[int, list[bytes]] = defaultdict(list)
    for value in asked:
        homes[product_partition(codec.decode(value).value["product_id"][0], HERE.partitions)].append(value)
    for partition, values in homes.items():
        stage = StockStage(Place(partition, HERE.partitions), table)
        for product_id in {found for value in values for found in codec.decode(value).value["product_id"]}:
            stage.rows.put(Product(product_id, reserved=10**9, received=10**9, version=1))
        used += drive(stage, STOCK_COMMANDS, values, most)[0]
    return used


@click.command()
@click.option("--orders", default=20_000, show_default=True)
@click.option("--lines", default=1, show_default=True, help="of each order")
@click.option("--batch-kib", default=16, show_default=True)
@click.option("--plain-path", is_flag=True, help="without the compiled plain way")
def main(orders: int, lines: int, batch_kib: int, plain_path: bool) -> None:
    """Measure and print one JSON object; times are CPU us per order."""
    asking, paying = OrdersStage(HERE, HOUR_MS), PaymentsStage(HERE, Sandbox())
    if plain_path:
        asking.way, paying.way = PlainPathAlone(asking), PlainPathAlone(paying)
    held, asked = drive(asking, STOCK_DECISIONS, list(decisions(orders, lines)), batch_kib * 1024)
    charged, answered = drive(paying, PAYMENT_REQUESTS, asked[PAYMENT_REQUESTS.name], batch_kib * 1024)
    paid, outcomes = drive(asking, PAYMENT_RESULTS, answered[PAYMENT_RESULTS.name], batch_kib * 1024)
    assert len(outcomes[ORDER_OUTCOMES.name]) == orders
    shipped, moves = drive(asking, ORDER_COMMANDS, list(ships(orders)), batch_kib * 1024)
    moved = unload(moves[STOCK_COMMANDS.name], batch_kib * 1024, PlainTable if plain_path else new_table)
    steps = {"answers": held, "charge": charged, "payment": paid, "ship": shipped, "stock": moved}
    times = {name: round(seconds / orders * 1e6, 2) for name, seconds in steps.items()}
    per_line = round(sum(steps.values()) / orders / lines * 1e6, 2)
    click.echo(json.dumps({"orders": orders, "lines": lines, "batch_kib": batch_kib, "plain_path": plain_path, **times, "us_per_line": per_line}))


if __name__ == "__main__":
    main()
