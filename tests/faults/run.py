"""Runs the schedule: per round a fresh stack, faults under load, healing, liveness, draining, and the audit."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from holdfast.stack import lifecycle
from holdfast.stack.home import Home
from holdfast.stack.processes import myself
from holdfast.stack.state import read_state
from tests.faults import failpoint_drill, liveness, schedule
from tests.faults.catalogue import catalogue, chosen
from tests.faults.failpoint_drill import Drill
from tests.faults.fault import Fault
from tests.faults.judge import judge, judge_money
from tests.faults.load import Load, stock_up
from tests.faults.probes import PLACES, Probes
from tests.faults.result import Result, RoundResult, Struck
from tests.faults.schedule import Round
from tests.faults.silence import LOG, silence, typical, under_way
from tests.faults.site import Site, running_site
from tests.faults.striker import Striker

FOLDER: Final = Path("build/faults")
SETTLE_S: Final = 1.5
SETTINGS: Final = {
    "HOLDFAST_SINK_SESSION_TIMEOUT_MS": "6000",
    "HOLDFAST_SANDBOX_DECLINE_RATE": "0.03",
}


@dataclass(frozen=True)
class Plan:
    """What to run. `seconds` of load in all, `rate` in orders/s; `kinds`: parts of the names of faults, all without any.

    `environment` is added to that of every process of the pipeline. `only`: the number of the one round to run.
    `kills`: how often a process is to die at each failpoint, when the rounds are over.
    """

    seed: int
    seconds: float
    kinds: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    rate: float = 120.0
    folder: Path = FOLDER
    only: int | None = None
    kills: int = 0
    workers: int = 2
    order_timeout_s: int = 20


Say = Callable[[str], None]
Note = Callable[[Result], None]


def run(plan: Plan, say: Say = lambda _text: None, note: Note = lambda _result: None) -> Result:
    """Carry a plan out; `say` hears how it goes, `note` gets what is known after each round."""
    faults = chosen(catalogue(), plan.kinds)
    result = Result(plan.seed, plan.seconds)
    for each in schedule.rounds(plan.seed, plan.seconds, faults):
        if plan.only in (None, each.number):
            say(f"round {each.number}: {len(each.singles)} faults one by one, {len(each.mixed)} mixed")
            result.rounds.append(_round(plan, each, faults, say))
            note(result)
    if plan.kills and plan.only is None:
        result.drill = _drill(plan, say)
        note(result)
    return result


def _drill(plan: Plan, say: Say) -> Drill:
    """Kill at every failpoint, on servers of its own."""
    folder = (plan.folder / "failpoints").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    home = Home(folder / "stack", Home.from_environment().cache)
    say(f"kill -9 at every failpoint, {plan.kills} times")
    said: dict[str, int] = {}

    def report(what: str, done: int, total: int) -> None:
        if done * 20 // max(1, total) != said.get(what):
            said[what] = done * 20 // max(1, total)
            say(f"{what}: {done} of {total}")

    try:
        servers = lifecycle.up(home, lifecycle.Wish(servers_only=True, owner=myself()), lambda _step: None, environ={})
        return failpoint_drill.run(servers.endpoints, plan.kills, plan.seed, report, folder)
    finally:
        lifecycle.down(home)


def _round(plan: Plan, planned: Round, faults: dict[str, Fault], say: Say) -> RoundResult:
    folder = (plan.folder / f"round-{planned.number}").resolve()
    shutil.rmtree(folder, ignore_errors=True)
    result = RoundResult(planned.number, folder=folder)
    settings = {**SETTINGS, "HOLDFAST_ORDER_TIMEOUT": str(plan.order_timeout_s), **plan.environment}
    with running_site(folder, settings, plan.workers) as site:
        _Round(site, planned, faults, plan, result, say).run()
    if result.ok:
        shutil.rmtree(folder / "stack" / "data", ignore_errors=True)
    return result


class _Round:
    """One round on one site."""

    def __init__(self, site: Site, planned: Round, faults: dict[str, Fault], plan: Plan, result: RoundResult, say: Say) -> None:
        self._plan = plan
        self._site, self._planned, self._faults, self._result = site, planned, faults, result
        self._began = time.monotonic()
        self._say: Say = lambda text: say(f"{time.monotonic() - self._began:6.1f} s  {text}")
        self._probes = Probes(site.endpoints, site.partitions, site.prefix)
        self._load = Load(site, planned.seed, plan.rate)
        self._striker = Striker(site, faults, self._say)

    def run(self) -> None:
        """Faults under load, then heal, liveness, drain, audit."""
        opening = stock_up(self._site)
        self._probes.start()
        self._load.start()
        try:
            self._problem(liveness.await_answers(self._probes, self._site.partitions, 0.0))
            self._began = time.monotonic()
            if not self._result.problems:
                self._one_by_one()
                self._mixed()
            self._heal()
        finally:
            self._stop()
        self._measure()
        if not self._result.problems:
            self._drain_and_judge([opening, *self._load.journals])

    # -- faults under load ---------------------------------------------------------------------------------------------

    def _one_by_one(self) -> None:
        for strike in self._planned.singles:
            self._sleep_until(self._began + strike.at_s)
            self._say(strike.kind)
            struck = self._striker.strike(strike)
            if not struck.error:
                self._problem(liveness.await_answers(self._probes, self._site.partitions, struck.healed), strike.kind)
            time.sleep(SETTLE_S)
            struck.until = time.monotonic()

    def _mixed(self) -> None:
        began = time.monotonic()
        for strike in self._planned.mixed:
            self._sleep_until(began + strike.at_s)
            self._say(strike.kind)
            self._striker.strike_meanwhile(strike)
        self._sleep_until(began + self._planned.mixed_s)

    def _sleep_until(self, when: float) -> None:
        time.sleep(max(0.0, when - time.monotonic()))

    # -- afterwards ----------------------------------------------------------------------------------------------------

    def _heal(self) -> None:
        for problem in self._striker.heal_all():
            self._problem(problem)
        # What the workers know goes with them: from here on only what they read back counts.
        self._site.signal("worker", signal.SIGKILL)
        healed = time.monotonic()
        self._result.load_s = healed - self._began
        self._say("healed; does everything answer?")
        self._problem(liveness.await_processes(self._site))
        self._problem(liveness.await_answers(self._probes, self._site.partitions, healed))

    def _stop(self) -> None:
        self._load.stop()
        self._probes.stop()
        state = read_state(self._site.home)
        self._result.restarts = {p.name: p.restarts for p in state.processes} if state else {}

    def _drain_and_judge(self, journals: list[Path]) -> None:
        self._say("draining")
        began = time.monotonic()
        self._problem(liveness.drain(self._site, self._plan.order_timeout_s))
        self._result.drained_s = time.monotonic() - began
        self._say("auditing")
        violations, problems, self._result.checked = judge(self._site, journals)
        self._result.violations += [*violations, *judge_money(self._site)]
        self._result.problems += [*problems, *self._load.faults()]
        found = len(self._result.violations)
        self._say(f"{found} violations" if found else "clean" if self._result.ok else f"not clean: {'; '.join(self._result.problems)}")

    def _problem(self, what: str, after: str = "") -> None:
        if what:
            self._result.problems.append(f"after {after}: {what}" if after else what)
            self._say(self._result.problems[-1])

    # -- measures ------------------------------------------------------------------------------------------------------

    def _measure(self) -> None:
        result, probes, load = self._result, self._probes, self._load
        result.struck = self._striker.struck
        result.orders, result.lines, result.commands, result.probes = len(load.sent), load.lines, load.commands, len(probes.probes)
        result.decided = len(probes.decided)
        end = time.monotonic()
        result.median_answer_s = typical(probes.probes, LOG)
        result.longest_silence_s = silence(probes.probes, LOG, 0.0, end)
        for struck in result.struck:
            struck.until = struck.until or self._began + result.load_s
            self._measure_one(struck)
            if not struck.error and not struck.in_flight:
                result.problems.append(f"{struck.kind} did not meet the load: nothing was in flight")
        if not any(not struck.error for struck in result.struck):
            result.problems.append("no fault was struck at all")

    def _measure_one(self, struck: Struck) -> None:
        struck.in_flight = under_way(self._load.sent, self._probes.decided, struck.at, struck.healed)
        if struck.single and not struck.error:
            since = struck.healed if self._faults[struck.kind].withholds else struck.at
            struck.silence = {place: silence(self._probes.probes, place, since, struck.until) for place in PLACES}
            struck.silence_since_strike = silence(self._probes.probes, LOG, struck.at, struck.until)
