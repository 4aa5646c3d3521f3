"""The orders agent: the saga of every order. Decisions: streams/domain/order.py."""

from __future__ import annotations

from typing import Final

import faust

from streams.runtime.batch import Batch
from streams.runtime.tasks import Tasks

TABLE: Final = "the state of every order and its lines, one row per order"


def attach(app: faust.App, batches: faust.Topic, tasks: Tasks) -> None:
    """Let the app run the agent over the stage's batches."""

    async def orders(stream: faust.Stream[Batch]) -> None:
        async for batch in stream:
            tasks.carry_out(batch)

    app.agent(batches, name="orders")(orders)
