"""After the faults: does everything work again, with no hand on it, and is nothing left to do?"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from holdfast.lag import LagError, LagMeter, Look
from holdfast.stack.state import running_state
from tests.faults.probes import PLACES, Probes
from tests.faults.silence import answered
from tests.faults.site import Site

AGAIN_S: Final = 300.0
"""So long the pipeline may take to answer again after whatever happened: after minutes of mixed faults a queue of payments has to be worked off."""
DRAIN_S: Final = 240.0
TICK_S: Final = 0.2


def await_answers(probes: Probes, partitions: int, since: float, seconds: float = AGAIN_S) -> str:
    """Wait until every partition has answered a probe sent after `since`, in the log and in both stores; returns what is missing, or nothing."""
    if until(lambda: answered(probes.probes, partitions, PLACES, since), seconds):
        return ""
    silent = [
        f"{place} partition {p}"
        for place in PLACES
        for p in range(partitions)
        if not any(probe.partition == p and place in probe.seen for probe in probes.probes if probe.sent >= since and not probe.expired)
    ]
    return f"no answer within {seconds:.0f} s: {', '.join(silent)}"


def await_processes(site: Site, seconds: float = AGAIN_S) -> str:
    """Wait until the supervisor has every process running; returns what does not, or nothing."""
    if until(lambda: not _missing(site), seconds):
        return ""
    return f"not running again within {seconds:.0f} s: {', '.join(_missing(site))}"


def _missing(site: Site) -> list[str]:
    state = running_state(site.home)
    return [process.name for process in state.processes if process.status != "running"] if state else ["the supervisor"]


def drain(site: Site, order_timeout_s: float) -> str:
    """Wait until nothing is under way anywhere, also after the last deadline has passed; returns what is left, or nothing."""
    meter = LagMeter(site.endpoints.kafka, site.prefix)
    try:
        left = _await_quiet(meter)
        if not left:
            # An order that lost a line, or its answer, expires so long after its first line was decided, at most.
            time.sleep(order_timeout_s + 1)
            left = _await_quiet(meter)
        return left
    finally:
        meter.close()


def _await_quiet(meter: LagMeter) -> str:
    earlier: Look | None = None
    deadline = time.monotonic() + DRAIN_S
    why = ""
    while time.monotonic() < deadline:
        try:
            look = meter.look()
        except LagError as error:
            why = str(error)
            continue
        if look.is_quiet_after(earlier):
            return ""
        earlier = look
        why = ", ".join(f"{lag.stage} has {lag.records} records of {lag.topic} before it" for lag in look.lags if lag.records)
        time.sleep(1.0)
    return f"not drained after {DRAIN_S:.0f} s: {why or 'a transaction stays open'}"


def until(holds: Callable[[], bool], seconds: float) -> bool:
    """Wait until something holds; False if it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(TICK_S)
    return True
