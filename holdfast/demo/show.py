"""The demo from one end to the other."""

import os
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path

from holdfast.audit import CannotCheckError
from holdfast.audit import Report as AuditReport
from holdfast.audit import run as audit
from holdfast.demo.background import Background
from holdfast.demo.folding import Folded, fold
from holdfast.demo.following import Follower, Timing
from holdfast.demo.loading import Phase, loader, order_ids
from holdfast.demo.screen import Screen
from holdfast.stack import lifecycle, pipeline
from holdfast.stack.addresses import Endpoints
from holdfast.stack.endpoints import endpoints
from holdfast.stack.errors import StackError
from holdfast.stack.home import Home
from holdfast.stack.state import Plan, Task
from holdfast.topics import counted, in_use, prefix_of
from ingest.backfill import Report as LoadReport

WAREHOUSE = Task("ship", "ship", ("holdfast", "ship", "--follow"))


@dataclass(frozen=True)
class DemoWish:
    """What to show: a file, its opening stock as a share of demand, how many workers (None: as many as run now, or one).

    `running`: nothing is started; what the environment names has all that it takes.
    """

    path: Path
    share: Decimal | None = None
    workers: int | None = None
    running: bool = False


@dataclass(frozen=True)
class Shown:
    """What was to be seen."""

    load: LoadReport
    folded: Folded
    timing: Timing
    audit: AuditReport
    gateway: str | None = None
    """URL of the gateways, if any run."""

    def document(self) -> dict[str, int | float]:
        """The result as one flat object: `rows` of the file, all else from the log and the stores.

        `seconds` run from the first record sent to the last row in MySQL and Redis, and `lines_per_s` counts the lines
        decided in that time; both are 0 when the file had been loaded before.
        """
        counts = self.folded.orders.counts()
        seconds = self.timing.seconds
        lines_now = self.folded.orders.lines_decided_since(int((self.timing.first_sent or 0) * 1000)) if seconds else 0
        return {
            "rows": self.load.counts.rows,
            "orders": counts.orders,
            "lines": counts.lines,
            **counts.decisions,
            "returned_lines": counts.returned_lines,
            "dead_letters": counts.dead_letters,
            "violations": len(self.audit.violations),
            "seconds": round(seconds, 3),
            "lines_per_s": round(lines_now / seconds, 1) if seconds else 0.0,
        }


def show(home: Home, wish: DemoWish, screen: Screen, environ: Mapping[str, str] = os.environ) -> Shown:
    """Bring everything up, load the file, wait until all of it is decided and written, audit. Leaves it running.

    Raises StackError, whatever goes wrong.
    """
    if not wish.path.is_file():
        raise StackError(f"{wish.path} is no file: name an Online Retail CSV file (plain, .gz or .xz)")
    prefix = prefix_of(environ)
    plan = None if wish.running else _bring_up(home, wish.workers, screen)
    at = plan.endpoints if plan else endpoints(home, environ)
    history = in_use(at.kafka, environ)
    with closing(Follower(at, history.prefix, counted(history, environ), _order_timeout_s(environ))) as follower:
        screen.step(f"loading {wish.path.name}")
        load = _load(follower, at, prefix, wish, screen)
        screen.step("waiting until everything is decided and written")
        folded, timing = follower.until_quiet(partial(_fold, at, history.prefix, load, wish.path.name), load.counts.orders, screen.show)
    screen.step("auditing")
    return Shown(load, folded, timing, _audit(at, prefix, screen), pipeline.gateway_url(plan.processes) if plan else None)


def _bring_up(home: Home, workers: int | None, screen: Screen) -> Plan:
    screen.step("bringing up the stack")
    return lifecycle.up(home, lifecycle.Wish(workers, processes=with_warehouse), screen.step)


def with_warehouse(workers: int) -> tuple[Task, ...]:
    """Return the pipeline's processes and the small warehouse that ships what is confirmed."""
    return (*pipeline.processes(workers), WAREHOUSE)


def _load(follower: Follower, at: Endpoints, prefix: str, wish: DemoWish, screen: Screen) -> LoadReport:
    phase = Phase()
    return follower.while_loading(Background(loader(at, prefix, wish.path, wish.share, phase)), phase, screen.show)


def _fold(at: Endpoints, prefix: str, load: LoadReport, file_name: str) -> Folded:
    return fold(at.kafka, prefix, order_ids(at.mysql, load.source), file_name)


def _audit(at: Endpoints, prefix: str, screen: Screen) -> AuditReport:
    def progress(what: str, done: int, total: int) -> None:
        screen.show(f"auditing: {what}" + (f", {100 * done // total} %" if total else ""))

    try:
        return audit(at.kafka, at.mysql, at.redis, prefix, progress=progress)
    except CannotCheckError as error:
        raise StackError(f"the audit could not be done: {error}") from error


def _order_timeout_s(environ: Mapping[str, str]) -> float:
    try:
        return float(environ.get("HOLDFAST_ORDER_TIMEOUT") or 900)
    except ValueError as error:
        raise StackError(f"HOLDFAST_ORDER_TIMEOUT is {environ['HOLDFAST_ORDER_TIMEOUT']!r}: use seconds, for example 900") from error
