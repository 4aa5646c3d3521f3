"""Ties the tasks to Faust's life: what happens when partitions come and go, and when the worker stops."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import Callable
from typing import Any, Final

import faust
import structlog
from confluent_kafka import KafkaException

import telemetry
from streams.runtime.clients import MisconfiguredError
from streams.runtime.consumer import BatchConsumer
from streams.runtime.exits import MISCONFIGURED, end_process
from streams.runtime.inspector import Inspector
from streams.runtime.tasks import Tasks
from streams.runtime.transactions import is_passing
from streams.runtime.watchdog import Watchdog
from telemetry import traces

log = structlog.get_logger("holdfast.runtime")
BEAT_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 0.5
STOP_SECONDS: Final = 6.0
"""A worker told to stop leaves its group and ends within this time: Faust's own stop can wait for a rebalance for ever. What is
not committed by then is read again by whoever takes over, as after a kill."""
TIDY_SECONDS: Final = 2.0
"""And within this time once its tasks are closed and the group is left: nothing is left to lose."""


class BatchApp(faust.App):  # type: ignore[misc]
    """A Faust app that waits for its brokers, is watched from its first moment, writes no files, and whose stop has a bound."""

    tasks: Tasks

    async def on_first_start(self) -> None:
        _allow_files()
        self.tasks.metrics = _show_figures()
        await _reach_brokers(self.tasks)
        self.add_future(_beat(_watch(self.tasks)))
        await super().on_first_start()

    def _create_directories(self) -> None:
        """Make none: the rows are in the changelogs, and a full disk is no reason not to start."""

    async def stop(self) -> None:
        _end_within(STOP_SECONDS, self.tasks.leave_group)  # else its partitions wait for its session, on top of that
        await super().stop()


def attach(app: faust.App, tasks: Tasks) -> None:
    """Connect the tasks to the app's signals. Order matters: see runtime/README.md."""
    BatchConsumer.tasks = BatchApp.tasks = tasks
    _follow_assignment(app, tasks)


def _follow_assignment(app: faust.App, tasks: Tasks) -> None:
    async def on_revoked(_app: Any, _revoked: Any, **_: Any) -> None:
        await tasks.revoke()

    async def on_assigned(_app: Any, assigned: Any, **_: Any) -> None:
        await tasks.assign(assigned)

    async def on_flow_resumes(_app: Any, **_: Any) -> None:
        tasks.drop_waiting()

    async def on_shutdown(app: Any, **_: Any) -> None:
        await tasks.close()
        await app.consumer.leave_group()
        await asyncio.to_thread(traces.stop)
        _end_within(TIDY_SECONDS)

    app.on_partitions_revoked.connect(on_revoked, weak=False)
    app.on_partitions_assigned.connect(on_assigned, weak=False)
    app.on_rebalance_complete.connect(on_flow_resumes, weak=False)
    app.on_before_shutdown.connect(on_shutdown, weak=False)


def _end_within(seconds: float, goodbye: Callable[[], None] = lambda: None) -> None:
    def end() -> None:
        goodbye()
        os._exit(0)

    bound = threading.Timer(seconds, end)
    bound.daemon = True
    bound.start()


def _show_figures() -> str | None:
    try:
        traces.start("holdfast-worker")
        return telemetry.serve()
    except telemetry.TelemetryError as error:
        end_process(MISCONFIGURED, str(error))


def _allow_files() -> None:
    """Take as many file descriptors as the process may have: a task's two clients need nearly twenty, and there are three tasks per partition."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _reach_brokers(tasks: Tasks) -> None:
    """Wait until the brokers answer and have every topic: Faust itself would give up, and whoever starts workers again waits longer each time."""
    while True:
        try:
            await asyncio.to_thread(tasks.brokers.topics)
            return
        except MisconfiguredError as error:
            end_process(MISCONFIGURED, str(error))
        except KafkaException as error:
            if not is_passing(error):
                raise
            log.warning("brokers do not answer, waiting", error=str(error))
            await asyncio.sleep(RETRY_SECONDS)


def _watch(tasks: Tasks) -> Watchdog:
    inspector = Inspector(tasks.all, tasks.brokers)
    watchdog = Watchdog(tasks, inspector, tasks.settings)
    inspector.start()
    watchdog.start()
    return watchdog


async def _beat(watchdog: Watchdog) -> None:
    while True:
        watchdog.beat()
        await asyncio.sleep(BEAT_SECONDS)
