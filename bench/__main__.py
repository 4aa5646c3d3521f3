"""`make bench`: ours and every peer on the same work, alternating, into bench/results.json and docs/performance.md."""

from __future__ import annotations

import json
import sys
import time
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import click

from bench import report
from bench.contenders import CONTENDERS
from bench.others import measure_other
from bench.plan import Part, chosen, orders_of, parts, schedule, seconds_of
from bench.processes import machine
from bench.run import measure
from bench.servers import Servers, servers
from bench.work import MIXES, Work

ROOT: Final = Path(__file__).parents[1]
SAMPLE: Final = ROOT / "data" / "online-retail-sample.csv.xz"
RESULTS: Final = Path(__file__).with_name("results.json")
SCRATCH: Final = ROOT / ".holdfast" / "bench.json"
"""Of what is no measurement of everything."""
PAGE: Final = ROOT / "docs" / "performance.md"
QUICK_SECONDS: Final = 0.3
WARM_UP_ORDERS: Final = 200_000


@dataclass
class Session:
    """One call of the bench: what it was asked, and the raw rounds so far."""

    options: dict[str, Any]
    output: Path
    page: Path | None
    data: Path
    rounds: list[dict[str, Any]] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=machine)

    def has(self, number: int, part: Part) -> bool:
        """Whether an earlier call measured this already."""
        return any(r["part"] == part.name and r["round"] == number and not r.get("error") and r.get("right", True) for r in self.rounds)

    def note(self, measured: dict[str, Any]) -> None:
        """Keep a round and write everything known so far."""
        self.rounds = [r for r in self.rounds if (r["part"], r["round"]) != (measured["part"], measured["round"])] + [measured]
        self.save()

    def seconds_of(self, part: Part) -> float:
        """How long a part will take, probably."""
        return seconds_of(part, self.options["seconds"], self.rounds)

    def save(self) -> dict[str, Any]:
        found = report.document(self.machine, self.options, self.rounds)
        report.write(self.output, found)
        if self.page:
            report.put_table(self.page, report.table(found, parts()))
        return found


def run_part(part: Part, number: int, session: Session, with_servers: Servers) -> dict[str, Any]:
    """Run one part; one that fails is named in its round, and the rest goes on."""
    noted: dict[str, Any] = {"part": part.name, "round": number, "at": int(time.time())}
    try:
        if part.contender is None or part.mix is None:
            return noted | measure_other(part.name, session.options, session.data, session.rounds, with_servers)
        work = Work(part.mix, orders_of(part, session.options["seconds"]))
        return noted | measure(part.contender, work, session.options["partitions"], with_servers)
    except Exception as error:
        traceback.print_exc()
        return noted | {"error": f"{type(error).__name__}: {error}"[:2_000]}


def said(measured: Mapping[str, Any]) -> str:
    """Return one line of progress."""
    if measured.get("error"):
        return "FAILED: " + str(measured["error"]).partition("\n")[0][:160]
    rate = f"{measured['per_s']:,.0f}/s " if "per_s" in measured else ""
    rest = {k: v for k, v in measured.items() if k in ("p99_ms", "rows_per_s", "bytes_per_row", "drain_s", "transactions_over_300_ms")}
    return f"{rate}{rest or ''} {measured.get('verdict', '')}".strip()


def warm_up(session: Session, with_servers: Servers) -> None:
    """Let the broker compile its code before anything counts."""
    work = Work(MIXES["uniform"], WARM_UP_ORDERS // (10 if session.options["quick"] else 1))
    try:
        measure(CONTENDERS["bare_loop_2"], work, session.options["partitions"], with_servers)
    except Exception as error:
        click.echo(f"the warm-up failed, going on: {error}", err=True)


Waiting = list[tuple[int, Part]]


def go(session: Session, wanted: tuple[Part, ...], minutes: float | None) -> None:
    """Run what is not there yet; with `minutes`, no part that would probably end later."""
    waiting = [(number, part) for number, part in schedule(wanted, session.options["rounds"]) if not session.has(number, part)]
    if not waiting:
        return
    ends = time.monotonic() + 60 * minutes if minutes else None
    click.echo(f"{len(waiting)} runs, about {_minutes(session, waiting)}", err=True)
    with servers() as with_servers:
        warm_up(session, with_servers)
        for i, (number, part) in enumerate(waiting):
            if ends and time.monotonic() + session.seconds_of(part) > ends:
                click.echo(f"{len(waiting) - i} runs are left, about {_minutes(session, waiting[i:])}: go on with --resume", err=True)
                return
            click.echo(f"[{i + 1}/{len(waiting)}, {_minutes(session, waiting[i:])} left] round {number}: {part.name} ... ", err=True, nl=False)
            started = time.monotonic()
            measured = run_part(part, number, session, with_servers)
            session.note({**measured, "took": round(time.monotonic() - started, 1)})
            click.echo(said(measured), err=True)


def _minutes(session: Session, waiting: Waiting) -> str:
    return f"{sum(session.seconds_of(part) for _, part in waiting) / 60:.0f} min"


def earlier(output: Path, options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the rounds of an earlier call; raises UsageError where it was asked for other work."""
    found = report.read(output)
    before = {name: value for name, value in found.get("options", options).items() if name != "rounds"}
    if before != {name: value for name, value in options.items() if name != "rounds"}:
        raise click.UsageError(f"{output} is of other work ({before}): give the same options, or leave --resume out")
    rounds: list[dict[str, Any]] = found.get("rounds", [])
    return rounds


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--only", multiple=True, metavar="PART", help="Run only these parts; `*` stands for anything, a program's name for all its mixes.")
@click.option("--list", "listed", is_flag=True, help="Name the parts and stop.")
@click.option("--rounds", type=click.IntRange(1), default=3, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1, 60), default=5.0, show_default=True, help="Every program gets the orders it decides in about that time.")
@click.option("--minutes", type=click.FloatRange(1), help="Start no run that would end later; --resume goes on.")
@click.option("--partitions", type=click.IntRange(1, 64), default=8, show_default=True)
@click.option(
    "--path-partitions", type=click.IntRange(1, 64), default=8, show_default=True, help="Of the whole path and the latency, in place of --partitions."
)
@click.option("--data", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=SAMPLE, help="The real file of the whole path.")
@click.option("--quick", is_flag=True, help="One round of few orders: whether everything runs, no measurement.")
@click.option("--resume", is_flag=True, help="Keep what the last call measured; run what is missing or failed.")
@click.option("--output", type=click.Path(path_type=Path, dir_okay=False), help="By default bench/results.json; .holdfast/bench.json with --quick or --only.")
@click.option("--page/--no-page", default=None, help="Write the table into docs/performance.md; by default when bench/results.json is written.")
@click.option("--json", "as_json", is_flag=True, help="Print the results as one JSON object at the end.")
def main(
    only: tuple[str, ...],
    listed: bool,
    rounds: int,
    seconds: float,
    minutes: float | None,
    partitions: int,
    path_partitions: int,
    data: Path,
    quick: bool,
    resume: bool,
    output: Path | None,
    page: bool | None,
    as_json: bool,
) -> None:
    """Measure Holdfast and its peers on servers of their own; every outcome is checked. The exit code is 1 if a part failed or was wrong."""
    if listed:
        click.echo("\n".join(part.name for part in parts()))
        return
    try:
        wanted = chosen(only)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    options: dict[str, Any] = {"seconds": QUICK_SECONDS if quick else seconds, "partitions": partitions, "quick": quick, "data": data.name}
    options |= {"path_partitions": path_partitions, "rounds": 1 if quick else rounds}
    official = not quick and not only
    target = output or (RESULTS if official else SCRATCH)
    target.parent.mkdir(exist_ok=True)
    session = Session(options, target, PAGE if (official if page is None else page) else None, data)
    session.rounds = earlier(target, options) if resume else []
    go(session, wanted, minutes)
    found = session.save()
    click.echo(json.dumps(found) if as_json else report.table(found, parts()))
    sys.exit(0 if all(session.has(number, part) for number, part in schedule(wanted, options["rounds"])) else 1)


if __name__ == "__main__":
    main()
