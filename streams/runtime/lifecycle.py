"""Ties the tasks to Faust's life: what happens when partitions come and go, and when the worker stops."""

from __future__ import annotations

import os
import threading
from typing import Any, Final

import faust

from streams.runtime.consumer import BatchConsumer
from streams.runtime.tasks import Tasks
from streams.runtime.watchdog import Watchdog

BEAT_SECONDS: Final = 1.0
STOP_SECONDS: Final = 10.0
"""A worker told to stop ends within this time: Faust's own stop can wait for a rebalance for ever. What is not committed by
then is read again by whoever takes over, as after a kill."""


class BatchApp(faust.App):  # type: ignore[misc]
    """A Faust app whose stop has a bound."""

    async def stop(self) -> None:
        bound = threading.Timer(STOP_SECONDS, os._exit, (0,))
        bound.daemon = True
        bound.start()
        await super().stop()


def attach(app: faust.App, tasks: Tasks) -> None:
    """Connect the tasks to the app's signals. Order matters: see runtime/README.md."""
    BatchConsumer.tasks = tasks
    _follow_assignment(app, tasks)
    _watch(app, tasks)


def _follow_assignment(app: faust.App, tasks: Tasks) -> None:
    async def on_revoked(_app: Any, _revoked: Any, **_: Any) -> None:
        await tasks.revoke()

    async def on_assigned(_app: Any, assigned: Any, **_: Any) -> None:
        await tasks.assign(assigned)

    async def on_flow_resumes(_app: Any, **_: Any) -> None:
        tasks.drop_waiting()

    async def on_shutdown(_app: Any, **_: Any) -> None:
        await tasks.close()

    app.on_partitions_revoked.connect(on_revoked, weak=False)
    app.on_partitions_assigned.connect(on_assigned, weak=False)
    app.on_rebalance_complete.connect(on_flow_resumes, weak=False)
    app.on_before_shutdown.connect(on_shutdown, weak=False)


def _watch(app: faust.App, tasks: Tasks) -> None:
    watchdog = Watchdog(tasks.all, tasks.settings)

    async def start_watchdog() -> None:
        watchdog.start()

    async def beat() -> None:
        watchdog.beat()

    app.task(start_watchdog)
    app.timer(BEAT_SECONDS)(beat)
