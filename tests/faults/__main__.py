"""`python -m tests.faults`: the fault suite."""

from __future__ import annotations

import argparse
import json
import secrets
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from tests.faults import report
from tests.faults.catalogue import catalogue, chosen
from tests.faults.result import Result
from tests.faults.run import FOLDER, Plan, run

OUTPUT: Final = Path("build/faults.json")
FAILED, WRONG_USE, INTERRUPTED = 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. The exit code is 0 if nothing was found, and faults met the load."""
    parser = _parser()
    wanted = parser.parse_args(arguments)
    if wanted.list:
        return _list(as_json=wanted.json)
    try:
        chosen(catalogue(), wanted.only)
    except ValueError as error:
        parser.error(str(error))
    seed = secrets.randbelow(1_000_000) if wanted.seed is None else wanted.seed
    kills = _kills(wanted)
    plan = Plan(seed, wanted.minutes * 60, tuple(wanted.only), rate=wanted.rate, folder=wanted.folder, only=wanted.round, workers=wanted.workers, kills=kills)
    print(f"seed {seed}", file=sys.stderr)
    return _run(plan, _repeat(wanted, seed), wanted.output, as_json=wanted.json)


def _run(plan: Plan, repeat: str, output: Path, *, as_json: bool) -> int:
    began = time.monotonic()
    latest: list[Result] = []

    def note(result: Result) -> None:
        latest[:] = [result]
        report.write(output, result)

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:7.1f}] {text}", file=sys.stderr, flush=True)

    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        note(run(plan, say, note))
    except BaseException as error:
        _broken_off(latest or [Result(plan.seed, plan.seconds)], output)
        print(f"broken off ({type(error).__name__}); repeat with: {repeat}", file=sys.stderr)
        if isinstance(error, KeyboardInterrupt):
            return INTERRUPTED
        raise
    return _tell(report.document(latest[0]), repeat, as_json=as_json)


def _broken_off(latest: list[Result], output: Path) -> None:
    latest[0].interrupted = True
    report.write(output, latest[0])


def _tell(said: dict[str, Any], repeat: str, *, as_json: bool) -> int:
    print(json.dumps(said, indent=2) if as_json else f"{report.table(said, catalogue())}\n{report.summary(said)}")
    for each in said["rounds"]:
        for violation in each["violations"][:20]:
            print(f"round {each['number']}: {violation['promise']} {violation['kind']}: {violation}", file=sys.stderr)
    for problem in said["problems"]:
        print(problem, file=sys.stderr)
    for kind, seconds in said["slow"].items():
        print(f"after {kind} nobody answered for {seconds:.1f} s (allowed: {report.PATIENCE_S:.0f} s)", file=sys.stderr)
    if said["ok"]:
        print(f"clean; seed {said['seed']}", file=sys.stderr)
        return 0
    print(f"NOT CLEAN; logs, topics and journals are in {FOLDER}. Repeat with: {repeat}", file=sys.stderr)
    return FAILED


def _repeat(wanted: argparse.Namespace, seed: int) -> str:
    words = [f"--minutes {wanted.minutes:g}", f"--seed {seed}", *(f"--only {kind!r}" for kind in wanted.only)]
    words += [f"--rate {wanted.rate:g}", f"--workers {wanted.workers}", *([f"--round {wanted.round}"] if wanted.round else [])]
    words += [f"--kills {wanted.kills}"] if wanted.kills is not None else []
    return f"python -m tests.faults {' '.join(words)}"


def _kills(wanted: argparse.Namespace) -> int:
    """Return how often to kill at each failpoint: 20 times in a run of 30 minutes, less often in a shorter one."""
    if wanted.kills is not None:
        return int(wanted.kills)
    return 0 if wanted.only else min(20, int(wanted.minutes * 20 / 30))


def _list(*, as_json: bool) -> int:
    faults = catalogue()
    if as_json:
        print(json.dumps({name: {"what": f.what, "lasts_s": f.lasts_s, "alone": f.alone} for name, f in faults.items()}, indent=2))
        return 0
    for name, fault in faults.items():
        print(f"{name:32} {fault.what}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "python -m tests.faults",
        description="Faults against a running pipeline under load: first every kind on its own, then all mixed; then heal, drain, audit.",
        epilog="Exit 0: clean. 1: a violation, or the pipeline did not answer again in time. 2: wrong use.",
    )
    parser.add_argument("--minutes", type=_minutes, default=30.0, help="minutes of load in all (30); starting, draining and auditing come on top")
    parser.add_argument("--seed", type=int, help="repeats a run's faults and orders; drawn, and printed, if not given")
    parser.add_argument("--only", action="append", default=[], metavar="KIND", help="only kinds of fault with this in their name; may be given more than once")
    parser.add_argument("--round", type=int, help="run only this round of the schedule")
    parser.add_argument("--kills", type=int, help="kills at each failpoint, after the rounds (20 in half an hour or more, fewer in less; 0: none)")
    parser.add_argument("--rate", type=float, default=120.0, help="orders per second (120)")
    parser.add_argument("--workers", type=int, default=2, help="workers (2)")
    parser.add_argument("--folder", type=Path, default=FOLDER, help=f"where the stacks live ({FOLDER})")
    parser.add_argument("--output", type=Path, default=OUTPUT, help=f"where the result is written ({OUTPUT})")
    parser.add_argument("--list", action="store_true", help="list the kinds of fault and end")
    parser.add_argument("--json", action="store_true", help="print the result as JSON instead of a table")
    return parser


def _minutes(text: str) -> float:
    minutes = float(text)
    if not 0.5 <= minutes <= 24 * 60:
        raise argparse.ArgumentTypeError(f"{text} minutes: give 0.5 to 1440")
    return minutes


if __name__ == "__main__":
    raise SystemExit(main())
