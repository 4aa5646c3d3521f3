"""What `holdfast status` says."""

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import groupby
from urllib.parse import urlsplit

from holdfast.stack.addresses import Endpoints, MysqlAddress
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import NoStackError, StackError
from holdfast.stack.files import read_json
from holdfast.stack.home import Home
from holdfast.stack.pipeline import gateway_url, payment_url
from holdfast.stack.processes import is_alive
from holdfast.stack.state import ProcessState, StackState, read_state, running_plan


@dataclass(frozen=True)
class RunFile:
    """What a process of the pipeline writes of itself to `<HOLDFAST_RUN_DIR>/<kind>-<pid>.json`: the partitions
    it works on by stage, and where its figures can be read."""

    kind: str
    pid: int
    partitions: dict[str, list[int]] = field(default_factory=dict)
    metrics: str | None = None


@dataclass(frozen=True)
class ProcessStatus:
    """One process; `partitions` as `stage-partition`; `metrics` the URL of its figures for Prometheus."""

    kind: str
    name: str
    pid: int
    status: str
    restarts: int
    partitions: list[str]
    log: str
    metrics: str | None = None


@dataclass(frozen=True)
class StackStatus:
    """The endpoints, if known, and the live processes; `problem` is what is wrong, if anything."""

    runs: bool
    endpoints: Endpoints | None
    processes: list[ProcessStatus]
    problem: str = ""
    payment: str | None = None
    """URL of the stack's own payment provider, if it runs one."""
    gateway: str | None = None
    """URL of the stack's gateways, if it runs any."""

    def document(self) -> dict[str, object]:
        """The status for programs; `mysql` in its parts, with the password."""
        known = self.endpoints
        return {
            "kafka": known.kafka if known else None,
            "mysql": asdict(MysqlAddress.parse(known.mysql)) if known else None,
            "redis": known.redis if known else None,
            "gateway": self.gateway,
            "payment": self.payment,
            "processes": [asdict(process) for process in self.processes],
            "problem": self.problem or None,
        }

    def targets(self) -> list[dict[str, object]]:
        """What Prometheus is to ask, in the form of its file_sd_configs: one group per process."""
        asked = [(process, urlsplit(process.metrics)) for process in self.processes if process.metrics]
        return [{"targets": [at.netloc], "labels": {"__metrics_path__": at.path, "kind": process.kind, "process": process.name}} for process, at in asked]

    def addresses(self) -> dict[str, str]:
        """The endpoints for people: without passwords."""
        if self.endpoints is None:
            return {}
        at = MysqlAddress.parse(self.endpoints.mysql)
        mysql = f"mysql://{at.user}@{at.host}:{at.port}/{at.database}"
        scheme, _, rest = self.endpoints.redis.partition("://")
        servers = {"kafka": self.endpoints.kafka, "mysql": mysql, "redis": f"{scheme}://{rest.rpartition('@')[2]}"}
        own = {"gateway": self.gateway, "payment": self.payment}
        return {**servers, **{name: url for name, url in own.items() if url}}


def stack_status(home: Home, environ: Mapping[str, str] = os.environ) -> StackStatus:
    """What runs in `home`, and which endpoints commands started here and now would use."""
    state = read_state(home)
    plan = running_plan(home)
    tasks = plan.processes if plan else ()
    gateway = gateway_url(tasks)
    processes = _processes(home, state, gateway)
    try:
        known = endpoints(home, environ)
    except NoStackError:
        known = None
    return StackStatus(bool(processes) or known is not None, known, processes, _problem(state, processes), payment_url(tasks), gateway)


def _processes(home: Home, state: StackState | None, gateway: str | None) -> list[ProcessStatus]:
    found = [(each, each.process) for each in state.processes] if state else []
    return [_process(home, each, process.pid, gateway) for each, process in found if process and is_alive(process)]


def _process(home: Home, each: ProcessState, pid: int, gateway: str | None) -> ProcessStatus:
    said = _said(home, each.kind, pid)
    metrics = f"{gateway}/metrics" if each.kind == "gateway" and gateway else said.metrics
    return ProcessStatus(each.kind, each.name, pid, each.status, each.restarts, _partitions(said), each.log, metrics)


def _said(home: Home, kind: str, pid: int) -> RunFile:
    try:
        return read_json(home.run / f"{kind}-{pid}.json", RunFile) or RunFile(kind, pid)
    except StackError:
        return RunFile(kind, pid)


def _partitions(said: RunFile) -> list[str]:
    return [f"{stage}-{partition}" for stage in sorted(said.partitions) for partition in sorted(said.partitions[stage])]


def in_ranges(partitions: list[str]) -> str:
    """`stage-partition` names for people: `orders 0-3 6, stock 0`."""
    stages: dict[str, list[int]] = {}
    for name in partitions:
        stage, _, number = name.rpartition("-")
        stages.setdefault(stage, []).append(int(number))
    return ", ".join(f"{stage} {' '.join(_ranges(numbers))}" for stage, numbers in stages.items())


def _ranges(numbers: list[int]) -> list[str]:
    # What stays the same along a run of neighbours is the difference between a number and its place.
    runs = [list(run) for _, run in groupby(enumerate(sorted(numbers)), key=lambda at: at[1] - at[0])]
    return [f"{run[0][1]}-{run[-1][1]}" if len(run) > 1 else str(run[0][1]) for run in runs]


def _problem(state: StackState | None, processes: list[ProcessStatus]) -> str:
    if state and processes and not is_alive(state.supervisor):
        return "the supervisor is gone: run `holdfast up` to start again where it left off, or `holdfast down`"
    return state.error if state else ""
