"""One shadow run: its own topics, the process that decides, the comparison."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

from holdfast.log_tail import explained
from holdfast.log_whole import beginnings, partitions_of, read_whole, watermarks
from holdfast.shadow.diff import Diff, Ends, compare
from holdfast.shadow.rules import Rules
from holdfast.shadow.tape import READ
from holdfast.shadow.topics import ShadowError, check_prefix, last_mark, make, remove
from schemas.codec import Decoded, UndecodableError, decode
from schemas.topics import ORDER_OUTCOMES, STOCK_DECISIONS, Topic

Listener = Callable[[str, int, int], None]
PACKAGES: Final = ("streams", "schemas", "failpoints")
ROOT: Final = Path(__file__).parents[2]
_PASSED_ON: Final = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "SYSTEMROOT", "VIRTUAL_ENV")


def default_prefix(live: Sequence[str], rules: Rules, code: str | None) -> str:
    """Return a prefix that is the same for the same run, so that it finds what it left when it was killed."""
    return f"{live[0]}shadow-{hashlib.sha256(f'{rules.text()} {code} {len(live)}'.encode()).hexdigest()[:10]}."[:64]


def shadow(kafka: str, live: Sequence[str], prefix: str, rules: Rules, code: str | None, listen: Listener, *, keep: bool) -> Diff:
    """Decide the log again under the prefix and compare; raises StackError.

    `live`: the prefixes of all generations of the live topics, the oldest first; the shadow has one, of as many partitions as the last of them.
    `code`: a folder, or a revision of this repository, by which to decide.
    """
    is_there = check_prefix(kafka, prefix, live)
    _must_be_whole(kafka, live)
    last = STOCK_DECISIONS.named(live[-1])
    make(kafka, prefix, partitions_of(kafka, [last])[last])
    left = last_mark(kafka, prefix) if is_there else None
    run = {"rules": json.loads(rules.text()), "code": code or "", "live": list(live)}
    if left and {name: left[name] for name in run} != run:
        raise ShadowError(f"the topics with the prefix {prefix!r} are of another shadow ({left['rules']}): choose another with --prefix")
    ends = left["ends"] if left else {f"{topic}-{number}": end for (topic, number), end in watermarks(kafka, _places(kafka, live, READ)).items()}
    with _code(code) as folder:
        told = {"kafka": kafka, "live": run["live"], "prefix": prefix, "rules": run["rules"], "ends": ends, "code": folder}
        _decide({**told, "run": {**run, "ends": ends}, "written": left["written"] if left else 0}, listen)
    diff = _compared(kafka, live, prefix, ends, rules, listen)
    if not keep:
        remove(kafka, prefix)
    return diff


def _places(kafka: str, live: Sequence[str], topics: Sequence[Topic]) -> list[tuple[str, int]]:
    names = [topic.named(prefix) for prefix in live for topic in topics]
    return [(name, number) for name, count in partitions_of(kafka, names).items() for number in range(count)]


def _must_be_whole(kafka: str, live: Sequence[str]) -> None:
    """What stood in the deleted beginning of a topic cannot be decided again, nor anything that hangs on it."""
    with explained(kafka):
        begins = beginnings(kafka, _places(kafka, live, READ))
    if cut := [f"{topic} partition {number} begins at offset {at}" for (topic, number), at in begins.items() if at > 0]:
        raise ShadowError(f"the log cannot be decided again, for its beginning was deleted: {'; '.join(cut[:3])}{' and more' if cut[3:] else ''}")


def _decide(told: Mapping[str, Any], listen: Listener) -> None:
    """Have a process decide. Of the environment it gets nothing that names a store, a provider or a secret."""
    environment = {name: os.environ[name] for name in _PASSED_ON if name in os.environ} | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "holdfast.shadow.host"]
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(told))
            process.stdin.close()
            failed = _follow(process.stdout, listen)
        except BaseException:
            process.kill()
            raise
    if process.returncode:
        raise ShadowError(failed or f"the process that decides ended with {process.returncode}; what it said stands above")


def _follow(lines: Any, listen: Listener) -> str:
    failed = ""
    for line in lines:
        told = json.loads(line)
        failed = told.get("error", failed)
        if "phase" in told:
            listen(told["phase"], told["done"], told["total"])
    return failed


def _compared(kafka: str, live: Sequence[str], prefix: str, ends: Mapping[str, int], rules: Rules, listen: Listener) -> Diff:
    first_at = _first_at(kafka, live, ends, rules)
    sides = []
    for name, side, until in (("live", live, ends), ("shadow", [prefix], {})):
        found = Ends()
        for record in _records(kafka, side, ORDER_OUTCOMES, until, f"reading the {name} outcomes", listen):
            found.add(record.name, record.value)
        sides.append({i: end for i, end in found.all().items() if first_at is None or rules.counts(first_at.get(i, 0))})
    return compare(*sides)


def _first_at(kafka: str, live: Sequence[str], ends: Mapping[str, int], rules: Rules) -> dict[int, int] | None:
    """Return when each order's first line was decided (ms); None where every order counts."""
    if rules.since is None and rules.until is None:
        return None
    found: dict[int, int] = {}
    for record in _records(kafka, live, STOCK_DECISIONS, ends, "", lambda *_: None):
        for order_id in record.value["order_id"] if record.name == "StockDecisions" else ():
            found[order_id] = min(record.value["decided_at"], found.get(order_id, record.value["decided_at"]))
    return found


def _records(kafka: str, prefixes: Sequence[str], topic: Topic, ends: Mapping[str, int], phase: str, listen: Listener) -> Iterator[Decoded]:
    for message in read_whole(kafka, _places(kafka, prefixes, [topic]), lambda done, total: listen(phase, done, total)):
        if int(message.offset() or 0) < ends.get(f"{message.topic()}-{message.partition()}", 2**62):
            with suppress(UndecodableError):
                yield decode(message.value())


@contextmanager
def _code(code: str | None) -> Iterator[str]:
    """Yield the folder of the code to decide by, "" for this one; raises ShadowError for what is none."""
    if code is None:
        yield ""
        return
    if Path(code).is_dir():
        _must_have_packages(Path(code), code)
        yield str(Path(code).resolve())
        return
    with tempfile.TemporaryDirectory(prefix="holdfast-shadow-") as folder:
        command = ["git", "-C", str(ROOT), "archive", "--format=tar", f"{code}^{{commit}}", *PACKAGES]
        packed = subprocess.run(command, capture_output=True, check=False)
        if packed.returncode:
            raise ShadowError(f"--code {code} is neither a folder nor a version that git knows here: {packed.stderr.decode().strip()}")
        with tarfile.open(fileobj=io.BytesIO(packed.stdout)) as files:
            files.extractall(folder, filter="data")
        _must_have_packages(Path(folder), code)
        yield folder


def _must_have_packages(folder: Path, code: str) -> None:
    if missing := [name for name in PACKAGES if not (folder / name / "__init__.py").exists()]:
        raise ShadowError(f"--code {code} has no package {' and no package '.join(missing)}")
