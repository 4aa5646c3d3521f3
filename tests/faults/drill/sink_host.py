"""A real sink. As a static member of its group it has its partitions back at once after a kill."""

from __future__ import annotations

import os
import random
import signal
import threading
import time

import sinks.mysql_sink
import sinks.redis_sink  # noqa: F401 (imported before the fork)
from sinks import source
from sinks.config import Settings
from sinks.run import run as run_sink
from tests.faults.drill.order import Order

_options = source._options


def run(kind: str, order: Order) -> None:
    """Fill the store until killed, or told to stop."""
    source._options = _static  # type: ignore[assignment]
    if order.trouble == "stop":
        threading.Thread(target=_stop, args=(random.Random(order.seed).uniform(0.0, 0.5),), daemon=True).start()
    run_sink(kind.removeprefix("sink-"))


def _stop(seconds: float) -> None:
    """Have this process told to stop so long after it began to listen for that."""
    while signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        time.sleep(0.01)
    time.sleep(seconds)
    os.kill(os.getpid(), signal.SIGTERM)


def _static(settings: Settings, group: str) -> dict[str, str | int | bool]:
    return _options(settings, group) | {"group.instance.id": "drill"}
