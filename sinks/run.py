"""One sink as a process: settings, logging, signals, run file, exit."""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

import failpoints
import telemetry
from sinks.config import Settings, settings
from sinks.dead_letters import DeadLetters
from sinks.errors import SinkError
from sinks.rows import Partition
from sinks.source import Source
from sinks.store import Store
from sinks.worker import Worker, by_topic
from telemetry import traces
from telemetry.run_file import RunFile

log = structlog.get_logger()

EXIT_BUG = 70


def run(sink: str, **known: str) -> None:
    """Run the sink `mysql` or `redis` in this process until SIGTERM or SIGINT.

    `known` are settings that the environment may lack (`kafka`, `mysql`, `redis`). Raises SinkError for what a person has
    to put right, and whatever was not foreseen.
    """
    set_up_logging()
    # A batch makes tens of thousands of short-lived values and no cycles: Python's default of a collection every 700 was a quarter of the sinks' CPU.
    gc.set_threshold(100_000, 50, 100)
    arm_failpoints()
    configured = settings(**known)
    store = store_of(sink, configured)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with saying_where(configured.run_dir, figures_at(f"sink-{sink}")) as announce, closing_spans():
        try:
            Worker(configured, Source(configured, sink), store, DeadLetters(configured, sink), announce).run(stop)
        except SinkError:
            raise
        except Exception as error:
            log.critical("the sink stops; nothing of the batch in hand moved its position", sink=sink, exc_info=error)
            raise SystemExit(EXIT_BUG) from None


def figures_at(service: str) -> str | None:
    """Answer GET /metrics, and send spans, where the environment wants it; raises SinkError for what cannot be had."""
    try:
        traces.start(f"holdfast-{service}")
        return telemetry.serve()
    except telemetry.TelemetryError as error:
        raise SinkError(str(error)) from error


@contextmanager
def closing_spans() -> Iterator[None]:
    """Send the last spans at the end."""
    try:
        yield
    finally:
        traces.stop()


def arm_failpoints() -> None:
    """Arm what the environment names; raises SinkError for a list that means nothing."""
    try:
        failpoints.arm_from_environment()
    except failpoints.FailpointsError as error:
        raise SinkError(str(error)) from error


def set_up_logging() -> None:
    """One JSON object per event, to stderr; on a terminal a line. Tracebacks are plain: the fancy ones print local variables, passwords among them."""
    at_terminal = structlog.dev.ConsoleRenderer(colors=True, exception_formatter=structlog.dev.plain_traceback)
    said = (at_terminal,) if sys.stderr.isatty() else (structlog.processors.format_exc_info, structlog.processors.JSONRenderer())
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), *said],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )


def store_of(sink: str, configured: Settings) -> Store:
    """Return the store of a sink, not yet connected; raises SinkError for a URL that cannot be one."""
    makers: dict[str, Callable[[Settings], Store]] = {"mysql": _mysql, "redis": _redis}
    if sink not in makers:
        raise SinkError(f"there is no sink {sink!r}: choose from {', '.join(makers)}")
    return makers[sink](configured)


@contextmanager
def saying_where(folder: Path | None, metrics: str | None, kind: str = "sink") -> Iterator[Callable[[Iterable[Partition]], None]]:
    """Keep the run file of this process; yields what is to be told of the partitions that it has."""
    file = RunFile(kind, folder)

    def tell(partitions: Iterable[Partition]) -> None:
        file.write(by_topic(partitions), metrics=metrics)

    tell(())
    try:
        yield tell
    finally:
        file.remove()


def _mysql(configured: Settings) -> Store:
    from sinks.mysql_sink import MysqlStore
    from sinks.shards import ShardedStore

    if shards := configured.shards:
        return ShardedStore(configured.mysql.get_secret_value(), shards)
    return MysqlStore(configured.mysql.get_secret_value())


def _redis(configured: Settings) -> Store:
    from sinks.redis_sink import RedisStore

    return RedisStore(configured.redis.get_secret_value())
