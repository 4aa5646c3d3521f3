"""The stock agent: answers order lines and commands about products. Decisions: streams/domain/stock.py."""

from __future__ import annotations

from typing import Final

import faust

from streams.runtime.batch import Batch
from streams.runtime.tasks import Tasks

TABLE: Final = "available, reserved and shipped units, one row per product"


def attach(app: faust.App, batches: faust.Topic, tasks: Tasks) -> None:
    """Let the app run the agent over the stage's batches."""

    async def stock(stream: faust.Stream[Batch]) -> None:
        async for batch in stream:
            tasks.carry_out(batch)

    app.agent(batches, name="stock")(stock)
