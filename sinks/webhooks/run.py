"""The webhooks as a process: a thread reads the log, the event loop sends."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import structlog

from sinks.errors import SinkError
from sinks.run import EXIT_BUG, arm_failpoints, closing_spans, figures_at, saying_where, set_up_logging
from sinks.webhooks.config import WebhookSettings, webhook_settings
from sinks.webhooks.dispatch import Dispatcher
from sinks.webhooks.intake import Intake
from sinks.webhooks.tables import Tables

log = structlog.get_logger()


def run(**known: str) -> None:
    """Tell endpoints of what happens to orders, until SIGTERM or SIGINT. Raises SinkError for what a person has to put right."""
    set_up_logging()
    arm_failpoints()
    configured = webhook_settings(**known)
    with saying_where(configured.run_dir, figures_at("webhooks"), "webhooks"), closing_spans():
        try:
            asyncio.run(_serve(configured))
        except SinkError:
            raise
        except Exception as error:
            log.critical("the webhooks stop; what was not kept is read and sent again", exc_info=error)
            raise SystemExit(EXIT_BUG) from None


async def _serve(settings: WebhookSettings) -> None:
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    url = settings.mysql.get_secret_value()
    # A connection each: what is read need not wait for what is sent.
    reading, sending = Tables(url), Tables(url)
    dispatcher: Dispatcher
    intake = Intake(settings, reading, lambda: loop.call_soon_threadsafe(dispatcher.wake.set))
    dispatcher = Dispatcher(settings, sending, lambda: intake.partitions)
    end = threading.Event()
    taking = asyncio.ensure_future(asyncio.to_thread(intake.run, end))
    # Either of them ends only when told to, or of a fault: then the other one must end too.
    taking.add_done_callback(lambda _: stop.set())
    log.info("telling", pid=os.getpid(), group=settings.group_of_webhooks)
    try:
        await dispatcher.run(stop)
    finally:
        end.set()
        await taking
        reading.close()
        sending.close()
