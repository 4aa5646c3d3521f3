"""The one list of failpoints: each name, and what is true of the process when it gets there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

STAGES: Final = ("stock", "orders", "payments")

TASK: Final = {
    "opening": "a task is about to open; its inputs were described, the former owner is not fenced yet",
    "fenced": "the former owner is fenced, nothing of the changelog is read",
    "changelog-reading": "part of the changelog is read",
    "changelog-read": "the whole changelog is read, the positions in it are not checked",
    "positions-checked": "the positions fit the inputs, nothing is read from there yet",
    "read": "a batch is read, nobody else knows of it",
    "handed-over": "the batch is in the inbox that leads to Faust",
    "taken": "the agent has taken the batch, no transaction has begun",
    "begun": "the transaction has begun, nothing is decided",
    "decided": "the batch is decided in memory, nothing is produced",
    "half-produced": "half of the writes are with the producer",
    "produced": "every write and the new position are with the producer",
    "committing": "the commit is about to be asked for, in its thread",
    "commit-sent": "the commit is under way, its answer is not here",
    "committed": "the commit is answered, the position in memory has not moved",
    "moved": "the position has moved, the task does not know yet that its batch is done",
    "aborting": "the transaction cannot be committed and is about to be aborted",
    "aborted": "the transaction is aborted, the rows of it are still in memory",
    "reopening": "the task throws its rows away and opens again",
    "rewinding": "a batch was lost on its way; the reader is about to go back to the position",
    "closing": "the task's partition goes away; the batch under way may still end",
    "closed": "the task has ended, its reader is closed",
}
"""Of a task, so in every stage."""

FAUST: Final = {
    "delivered": "the batch is about to be given to Faust's conductor as a message",
}
"""Of a stage, in Faust's part of the path."""

WORKER: Final = {
    "revoked": "a rebalance has begun, transactions under way are not waited for yet",
    "settled": "a rebalance has begun, no transaction is under way",
    "assigned": "the assignment is known, no task is closed or opened for it yet",
    "flow-resumes": "a rebalance ends, what Faust had in flight is not given up yet",
    "group-committing": "positions are about to be committed as the group's offsets",
    "group-committed": "positions are committed as the group's offsets",
    "stopping": "the worker was told to stop, its tasks are not closed yet",
}
"""Of a worker's whole process."""

SINK: Final = {
    "joined": "the sink has subscribed, it has no partitions yet",
    "positions-read": "the store has said where it stands, nothing is read from there yet",
    "polled": "records are read, nothing is made of them",
    "folded": "a batch is folded, nothing is sent or written",
    "dead-letters-sent": "the batch's dead letters are acknowledged, its rows are not written",
    "written-before-commit": "the batch's rows are written, its positions do not count yet",
    "commit-sent": "the store is asked to make it count, its answer is not here",
    "committed": "the store has rows and positions, the process still stands before them",
    "moved": "the process stands behind the batch, the group has not heard of it",
    "group-committed": "the positions are on their way to the group's offsets",
    "stopping": "the sink was told to stop and has finished the batch in hand",
}
"""Of either sink."""

SINK_MYSQL: Final = {
    "positions-locked": "the transaction holds and has moved the positions, no row is written",
    "half-written": "some of the batch's statements are done",
}
SINK_REDIS: Final = {
    "half-written": "the products are written, the orders are not",
}

LOAD: Final = {
    "begun": "the load is written down, nothing is sent",
    "opening-sent": "the opening stock is with the producer",
    "opening-acknowledged": "the opening stock is acknowledged, the stock agent may not have taken it",
    "opening-taken": "the stock agent has taken the opening stock, that is not written down yet",
    "opened": "it is written down that the opening stock is taken",
    "bound": "invoices have their order IDs, nothing is sent under them",
    "chunk-sent": "a chunk is with the producer, hardly anything of it acknowledged",
    "saving": "rows are acknowledged, how far is not written down yet",
    "saved": "how far the rows are acknowledged is written down",
    "acknowledged": "every row is acknowledged, that is not written down yet",
    "rows-done": "every row is written down as acknowledged, no return is sent",
    "returns-acknowledged": "the returns are acknowledged, the load is not written down as finished",
    "finished": "the load is written down as finished",
}
"""Of the loader, in the order of its way."""

GATEWAY: Final = {
    "claimed": "an order's Idempotency-Key is written down with its order ID, nothing is sent",
    "sent": "the brokers have the order, neither the key's row nor the client knows",
}
"""Of the gateway, for an order with a key."""

WEBHOOKS: Final = {
    "kept": "notices are in their table, the group's offsets have not moved",
    "sent": "a round of notices was sent and answered, nothing of that is written down",
}
"""Of the webhooks."""

REPARTITION: Final = {
    "barrier": "it is written down that everybody waits, nothing is read to its end yet",
    "drained": "everything that was under way is read",
    "outside-shut": "the brokers take no orders and order commands any more, what slipped in is not waited for yet",
    "closed": "it is written down that no task may write any more, none is fenced",
    "fenced": "every task is fenced",
    "shut": "the brokers take nothing from outside any more, no row is read",
    "reopened": "something was left unread: the tasks may go on, it is written down",
    "seeded": "the new topics are filled, not read back",
    "checked": "the new topics hold what they should, everybody still waits for them",
    "switched": "it is written down that the new topics are in use",
}
"""Of a change of the partition count, in the order of its way; tests/live/test_repartition.py kills it at each."""


def _listed(place: str, steps: Mapping[str, str]) -> dict[str, str]:
    return {f"{place}.{step}": meaning for step, meaning in steps.items()}


NAMES: Final[Mapping[str, str]] = {
    **{name: meaning for stage in STAGES for name, meaning in _listed(stage, TASK | FAUST).items()},
    "orders.timer-decided": "a batch without records has decided the deadlines that passed, nothing is produced",
    "payments.timer-decided": "a batch without records has decided what the provider answered late, nothing is produced",
    **_listed("worker", WORKER),
    **_listed("sink-mysql", SINK | SINK_MYSQL),
    **_listed("sink-redis", SINK | SINK_REDIS),
    **_listed("load", LOAD),
    **_listed("gateway", GATEWAY),
    **_listed("webhooks", WEBHOOKS),
    **_listed("repartition", REPARTITION),
}
"""Every failpoint and its meaning. Tests and documents are made from this."""
