"""Every figure of workers and sinks, named once. All of them are counted per batch, never per record."""

from __future__ import annotations

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_SIZES: Final = (1, 10, 100, 1_000, 5_000, 10_000, 20_000, 50_000, 100_000, 200_000)

RECORDS: Final = Counter("holdfast_stage_records", "Records of the inputs decided by a stage.", ("stage",))
BATCH_RECORDS: Final = Histogram("holdfast_batch_records", "Records in a batch; a columnar one counts once.", ("stage",), buckets=_SIZES)
LINES: Final = Counter("holdfast_lines_answered", "Answers to order lines that the orders stage heard, by refusal; HELD: the units are held.", ("refusal",))
DECISIONS: Final = Counter("holdfast_orders_decided", "Orders decided, by what they became and why not more; NONE: nothing was refused.", ("status", "refusal"))
COMMANDS_REFUSED: Final = Counter("holdfast_commands_refused", "Commands about orders or stock that were refused, by refusal.", ("refusal",))
DEAD_LETTERS: Final = Counter(
    "holdfast_dead_letters", "Records given up, by stage and reason; those of an aborted batch count again with it.", ("stage", "reason")
)
DECIDE_SECONDS: Final = Histogram(
    "holdfast_batch_decide_seconds", "From a batch's first record to its last write handed to the producer.", ("stage",), buckets=_SECONDS
)
TRANSACTION_SECONDS: Final = Histogram("holdfast_transaction_seconds", "From the beginning of a transaction to its commit.", ("stage",), buckets=_SECONDS)
TRANSACTIONS: Final = Counter("holdfast_transactions", "Transactions by how they ended: committed, aborted, broken, fenced.", ("stage", "ending"))
ROWS: Final = Gauge("holdfast_rows", "Rows that a stage holds in this process, by partition.", ("stage", "partition"))
LAG_RECORDS: Final = Gauge("holdfast_lag_records", "Offsets between a reader and the end of its input.", ("reader", "topic", "partition"))
LAG_SECONDS: Final = Gauge(
    "holdfast_lag_seconds", "How long ago the oldest record that is not dealt with was written; 0 without lag.", ("reader", "topic", "partition")
)
BREAKERS: Final = Gauge("holdfast_payment_breakers_open", "Partitions of this process whose circuit to the payment provider is not closed.")
SINK_BATCH_SECONDS: Final = Histogram("holdfast_sink_batch_seconds", "Writing one batch into a store, its commit included.", ("store",), buckets=_SECONDS)
SINK_ROWS: Final = Counter("holdfast_sink_rows", "Rows written into a store, by kind.", ("store", "kind"))
SINK_FAILURES: Final = Counter("holdfast_sink_failures", "Batches that a store did not take now; they are written again.", ("store",))
NOTICES: Final = Counter("holdfast_webhook_notices", "Webhook notices sent, by whether they were taken.", ("taken",))
SHIPPED: Final = Counter("holdfast_warehouse_orders_shipped", "Orders for which the small warehouse sent a SHIP command.")
IDS_GIVEN: Final = Counter("holdfast_ids_given", "Order IDs given out by `holdfast ids serve`.")
ALARMS: Final = Counter("holdfast_invariant_violations", "Records that break a promise, by promise. Anything over 0 wakes somebody.", ("promise",))

for _promise in ("I1", "I2", "I3", "I7"):
    ALARMS.labels(_promise)  # there from the beginning, at 0: an alert on a series that does not exist is silent
