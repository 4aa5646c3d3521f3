"""CPU that a line costs the stores and their sinks, without the stages: orders decided, then shipped, as the log says them, into MariaDB and Redis.

python -m bench.stores_alone [--orders 50000] [--lines 1] [--batch 5000]

With HOLDFAST_PURE=1 by the pure source, which also writes shipped lines whole.
"""

from __future__ import annotations

import json
import random
import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

import click

from bench.processes import cpu_seconds
from bench.servers import servers
from schemas import codec
from schemas.order_times import EPOCH_MS
from schemas.topics import ORDER_OUTCOMES, STOCK_LEVELS
from sinks import batch
from sinks.migrate import migrate
from sinks.mysql_sink import MysqlStore
from sinks.redis_sink import RedisStore
from sinks.rows import Record
from sinks.store import Store

FIRST, STEP, NOW = 283_726_776_524_341_249, 4_096, EPOCH_MS + 10**10
PRODUCTS, USERS, PARTITIONS = 1_000, 5_000, 4
SETTLED_S = 1.0
"""A server works on for a moment after its answer."""


def outcome(number: int, lines: int, shipped: bool) -> bytes:
    """Return what the log says of an order once it is decided, or shipped."""
    status, rows = "SHIPPED" if shipped else "CONFIRMED", list[dict[str, Any]]()
    for line in range(1, lines + 1):
        product = f"{(number * 7 + line * 13) % PRODUCTS:05}A"
        known = {"line": line, "product_id": product, "quantity": 1 + line % 12, "unit_price": 255}
        rows.append({**known, "status": "SHIPPED" if shipped else "HELD", "refusal": "", "returned": 0})
    amount = sum(row["quantity"] * row["unit_price"] for row in rows)
    head = {"order_id": FIRST + number * STEP, "version": 1 + shipped, "change": "SHIPPED" if shipped else "DECIDED", "status": status, "refusal": ""}
    money = {"user_id": str(10_000 + number % USERS), "currency": "GBP", "amount": amount, "charged": amount, "refunded": 0, "attempt": 1}
    times = {"placed_at": NOW + number, "decided_at": NOW + number + 40, "changed_at": NOW + number + 40 + shipped}
    return codec.encode("OrderOutcome", {**head, **money, "line_count": lines, "lines": rows, **times})


def level(product: int, version: int) -> bytes:
    """Return what the log says of a product after a batch."""
    units = {"available": 1_000, "reserved": version, "shipped": 0, "received": 1_000 + version, "written_off": 0, "returned": 0}
    return codec.encode(
        "StockLevel", {"product_id": f"{product:05}A", **units, "version": version, "tracked": True, "frozen": False, "updated_at": NOW + version}
    )


def batches(values: Sequence[bytes], size: int, first: int) -> Iterator[list[Record]]:
    """Yield records of `size` orders each, and with them a level of each product, at a version from `first` on."""
    remaining = iter(values)
    for version in range(first, first + len(values)):
        some = list(islice(remaining, size))
        if not some:
            return
        orders = (Record(ORDER_OUTCOMES.name, ORDER_OUTCOMES.name, i % PARTITIONS, i, b"", value) for i, value in enumerate(some))
        levels = (Record(STOCK_LEVELS.name, STOCK_LEVELS.name, i % PARTITIONS, i, b"", level(i, version)) for i in range(PRODUCTS))
        yield list(chain(orders, levels))


def cost(store: Store, server: int, records: Sequence[Sequence[Record]], lines: int) -> dict[str, float]:
    """Write batches; return the CPU us per line of the sink's own work and of the server's."""
    before, started = cpu_seconds([server]), time.process_time()
    for some in records:
        store.write(batch.fold(some), {})
    own = time.process_time() - started
    time.sleep(SETTLED_S)
    return {"sink": round(own / lines * 1e6, 2), "server": round((cpu_seconds([server]) - before) / lines * 1e6, 2)}


@click.command()
@click.option("--orders", default=50_000, show_default=True)
@click.option("--lines", default=1, show_default=True, help="Lines of an order.")
@click.option("--batch", "size", default=5_000, show_default=True, help="Orders of a batch.")
def main(orders: int, lines: int, size: int) -> None:
    """Measure and print one JSON object."""
    numbers = list(range(orders))
    random.Random(1).shuffle(numbers)
    numbers.sort(key=lambda number: number // (2 * size))  # of several partitions: nearly in their order
    steps = {
        name: list(batches([outcome(n, lines, shipped) for n in numbers], size, 1 + orders * shipped)) for name, shipped in (("new", False), ("shipped", True))
    }
    with servers() as at:
        migrate(at.mysql)
        stores: dict[str, tuple[Store, int]] = {"mysql": (MysqlStore(at.mysql), at.pids["mariadb"]), "redis": (RedisStore(at.redis), at.pids["redis"])}
        found = {name: {step: cost(store, pid, records, orders * lines) for step, records in steps.items()} for name, (store, pid) in stores.items()}
    click.echo(json.dumps({"orders": orders, "lines": lines, "cpu_us_per_line": found}))


if __name__ == "__main__":
    main()
