"""What the JVM keeps of Kafka's classes from one start to the next: loaded and verified once per machine, not at every start.

A broker that was killed is away for as long as its start takes, and most of that is classes: with the archive a start costs two
thirds of the processor time. It fits one JVM and one set of jars; the JVM goes on without one that does not fit.
"""

import hashlib
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from holdfast.stack.errors import NotHealthyError
from holdfast.stack.files import locked

TRIAL_S = 90.0
PAUSE_S = 0.2


def place(cache: Path, java: str, jars: Path) -> Path:
    """Where the archive for this JVM and these jars is, or will be."""
    program = Path(java).resolve()
    mark = hashlib.sha256(f"{program} {program.stat().st_mtime_ns} {jars}".encode()).hexdigest()[:12]
    return cache / f"kafka-classes-{mark}.jsa"


def options(archive: Path) -> list[str]:
    """What makes a JVM use the archive; nothing where there is none (the JVM would go without its own, too)."""
    return [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []


def ensure(archive: Path, trial: Callable[[str], Sequence[str]], check: Callable[[], None], log: Path) -> bool:
    """Make the archive if it is not there: run a server (`trial`: its command, given one more option) until `check` passes, and end it.

    Returns whether the archive is there. Without it everything works, and starts more slowly.
    """
    partial = archive.with_suffix(".partial")
    with locked(archive.with_suffix(".lock")):
        if not archive.exists():
            partial.unlink(missing_ok=True)
            _run(trial(f"-XX:ArchiveClassesAtExit={partial}"), check, log)
            if partial.exists():
                partial.rename(archive)
    return archive.exists()


def _run(command: Sequence[str], check: Callable[[], None], log: Path) -> None:
    """Run a server until it answers, then end it; killed if either takes too long: then it has written nothing."""
    with log.open("ab") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        if _answers(process, check):
            process.terminate()
            process.wait(TRIAL_S)
    except subprocess.TimeoutExpired:
        pass
    finally:
        process.kill()
        process.wait()


def _answers(process: "subprocess.Popen[bytes]", check: Callable[[], None]) -> bool:
    deadline = time.monotonic() + TRIAL_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            check()
        except NotHealthyError:
            time.sleep(PAUSE_S)
        else:
            return True
    return False
