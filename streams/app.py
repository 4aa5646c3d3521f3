"""The Faust app: `faust -A streams.app worker`, or `holdfast worker`."""

from __future__ import annotations

import gc
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import faust
import structlog
from faust.serializers import codecs
from faust.transport.drivers import aiokafka as driver

import failpoints
from schemas import compiled
from schemas.secure import SecurityError, kafka_login, kafka_protocol, kafka_tls
from streams.agents import orders, payments, stock
from streams.config import StreamSettings, at_generation, settings
from streams.payments import Provider
from streams.payments.http import HttpProvider
from streams.payments.sandbox import Sandbox
from streams.runtime.consumer import BatchConsumer
from streams.runtime.exits import MISCONFIGURED, end_process
from streams.runtime.lifecycle import BatchApp, attach
from streams.runtime.records import StageKind
from streams.runtime.tables import TaskTable, TaskTables
from streams.runtime.tasks import Tasks
from streams.stages.orders import orders_kind
from streams.stages.payments import payments_kind
from streams.stages.stock import STOCK


class Untouched(codecs.Codec):  # type: ignore[misc]
    """Lets a batch through as the object it is."""

    def _loads(self, s: Any) -> Any:
        return s

    def _dumps(self, s: Any) -> Any:
        return s


def stages(config: StreamSettings) -> tuple[StageKind, ...]:
    """Return the pipeline's stages in the order an order passes them."""
    return STOCK, orders_kind(config.order_timeout_ms, config.order_retention_ms), payments_kind(payment_provider(config), forgets=config.order_retention > 0)


def payment_provider(config: StreamSettings) -> Provider:
    """Return the provider that the settings name; one that cannot be asked ends the process."""
    if config.payment_provider == "sandbox":
        return Sandbox(config.sandbox_decline_rate, int(config.sandbox_slow * 1000), config.sandbox_silent_ms)
    try:
        return HttpProvider(config.payment_url, config.payment_key.get_secret_value(), config.payment_timeout, config.payment_concurrency)
    except ValueError as error:
        end_process(MISCONFIGURED, f"HOLDFAST_PAYMENT_PROVIDER is http, but HOLDFAST_PAYMENT_URL cannot be used: {error}")


AGENTS: Final = {"stock": stock, "orders": orders, "payments": payments}


def create_app(config: StreamSettings, kinds: Sequence[StageKind]) -> faust.App:
    """Return a Faust app that runs these stages; nothing is connected before it starts."""
    tasks = Tasks(kinds, config)
    app = new_faust_app(config)
    app.conf.TableManager = TaskTables
    for kind in kinds:
        agent = AGENTS[kind.name]
        names = [t.named(config.topic_prefix) for t in kind.inputs]
        channel = app.topic(*names, key_type=bytes, value_type=bytes, key_serializer="raw", value_serializer="untouched")
        agent.attach(app, channel, tasks)
        app.tables[kind.name] = TaskTable(kind.name, agent.TABLE, tasks)
    attach(app, tasks)
    return app


def credentials() -> faust.Credentials | None:
    """Return how Faust's own client proves who it is, as every other client of ours does; None where it need not.

    Settings that cannot be used end the process.
    """
    try:
        tls = kafka_tls()
        if kafka_protocol().startswith("SASL"):
            user, password, mechanism = kafka_login()
            return faust.SASLCredentials(username=user, password=password, mechanism=mechanism, ssl_context=tls)
    except SecurityError as error:
        end_process(MISCONFIGURED, str(error))
    return faust.SSLCredentials(tls) if tls else None


def new_faust_app(config: StreamSettings) -> faust.App:
    """Return a bare Faust app; the comments say which default would hurt."""
    return BatchApp(
        config.app_id,
        broker=[f"kafka://{host}" for host in config.kafka.split(",")],
        broker_credentials=credentials(),
        store="memory://",
        topic_partitions=config.partitions,
        topic_allow_declare=False,  # topics are made by `holdfast topics create`
        topic_disable_leader=True,
        datadir=tempfile.mkdtemp(prefix="holdfast-worker-"),
        consumer_auto_offset_reset="earliest",
        table_standby_replicas=1,  # with 0, Faust falls back to an assignor that does not co-partition the inputs
        stream_wait_empty=False,  # it waits without a bound; lifecycle.py waits for the transactions instead
        broker_commit_interval=0.1,  # how old the lag that others see may be: a load waits for each stage by it
        broker_session_timeout=config.session_timeout,  # Faust's 60 s leave a dead worker's partitions idle
        broker_heartbeat_interval=1.0,  # who leaves is heard of by the others' next heartbeat
        broker_request_timeout=30.0,
        broker_max_poll_interval=1_000_000.0,  # the tasks poll, not Faust
        web_enabled=False,
    )


def runs_worker(argv: Sequence[str]) -> bool:
    """Whether this process is Faust's worker: only that follows the generations, for nobody else needs the brokers to import this."""
    program = Path(argv[0])
    return "faust" in (program.name, program.parent.name) and "worker" in argv[1:]


def log_to_stderr() -> None:
    """Write one JSON object per line, past the proxy that Faust puts over standard output."""
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.TimeStamper(fmt="iso"), structlog.processors.JSONRenderer()],
        logger_factory=structlog.PrintLoggerFactory(sys.__stderr__),
    )


def arm_failpoints() -> None:
    """Arm what the environment names; a list that means nothing ends the process."""
    try:
        failpoints.arm_from_environment()
    except failpoints.FailpointsError as error:
        end_process(MISCONFIGURED, str(error))


# A batch makes tens of thousands of short-lived values: Python's default of a collection every 700 finds nothing, 14 times as often. Nobody is answered
# meanwhile, so none may look at many: 10,000 take 3 ms, the 20,000 of a middle one 16 (a million took 240).
gc.set_threshold(10_000, 2, 2_000)
log_to_stderr()
structlog.get_logger("holdfast.runtime").info("which source runs", source=compiled.describe())
arm_failpoints()
codecs.register("untouched", Untouched())
driver.Transport.Consumer = BatchConsumer
configured = at_generation(settings()) if runs_worker(sys.argv) else settings()
app = create_app(configured, stages(configured))
