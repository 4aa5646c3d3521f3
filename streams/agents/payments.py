"""The payments agent: asks the provider, once per attempt. Decisions: streams/domain/payment.py."""

from __future__ import annotations

from typing import Final

import faust

from streams.runtime.batch import Batch
from streams.runtime.tasks import Tasks

TABLE: Final = "what each order was charged and given back, one row per order"


def attach(app: faust.App, batches: faust.Topic, tasks: Tasks) -> None:
    """Let the app run the agent over the stage's batches."""

    async def payments(stream: faust.Stream[Batch]) -> None:
        async for batch in stream:
            tasks.carry_out(batch)

    app.agent(batches, name="payments")(payments)
