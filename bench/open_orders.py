"""Memory of the orders stage with many open orders, in one process without servers: bytes per order, of which only the first of two lines is known.

python -m bench.open_orders [--orders 1000000]
"""

from __future__ import annotations

import json
import time
from itertools import count

import click

from bench.recovery import resident_bytes
from schemas import codec
from schemas.topics import STOCK_DECISIONS
from streams.runtime.records import Place, Record
from streams.stages.orders import ANSWER, OrdersStage

PER_RECORD = 1_000
HOUR_MS = 3_600_000
NOW = 1_700_000_000_000


def decisions(first: int) -> bytes:
    """Return held first lines of so many orders from this ID on, as the stock agent says it."""
    ids = range(first, first + PER_RECORD)
    rows = [(i, 1, 2, f"p{i % 1_000}", 1, 999, "GBP", f"u{i % 5_000}", "tok_ok", NOW) for i in ids]
    columns = dict(zip(ANSWER, zip(*rows, strict=True), strict=False))
    own = {"available": [0] * PER_RECORD, "version": [1] * PER_RECORD, "offset": [0] * PER_RECORD, "index": [0] * PER_RECORD}
    return codec.encode("StockDecisions", {**columns, **own, "refusal": bytes(PER_RECORD), "partition": 0, "decided_at": NOW})


@click.command()
@click.option("--orders", default=1_000_000, show_default=True)
def main(orders: int) -> None:
    """Measure and print one JSON object."""
    stage, before, started, offsets = OrdersStage(Place(0, 1), HOUR_MS), resident_bytes(), time.process_time(), count()
    for first in range(1, orders + 1, PER_RECORD):
        stage.decide([Record(STOCK_DECISIONS.name, 0, next(offsets), None, decisions(first))], NOW)
        stage.committed()
    used = time.process_time() - started
    assert stage.rows.count_all() == len(stage.open)
    grown = resident_bytes() - before
    click.echo(json.dumps({"orders": orders, "bytes_per_order": round(grown / orders), "cpu_us_per_order": round(used / orders * 1e6, 1)}))


if __name__ == "__main__":
    main()
