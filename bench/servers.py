"""The servers of the bench: a stack of its own, in a folder that is removed afterwards."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack.home import CACHE_VARIABLE, HOME_VARIABLE, Home


@dataclass(frozen=True)
class Servers:
    """Where they are, which processes they are, and the folders of the bench."""

    kafka: str
    mysql: str
    redis: str
    pids: dict[str, int]
    """kafka, mariadb, redis; empty for servers that somebody else started."""
    folder: Path
    cache: Path

    def pids_of(self, *kinds: str) -> list[int]:
        return [self.pids[kind] for kind in kinds if kind in self.pids]


def holdfast(*command: str) -> str:
    """Run one `holdfast` command and return what it printed."""
    done = subprocess.run([sys.executable, "-m", "holdfast", *command], check=True, stdout=subprocess.PIPE)
    return done.stdout.decode()


def end_politely() -> None:
    """Take SIGTERM as the end of the program, so that the servers it started are removed: a time limit ends a bench so."""
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))


@contextmanager
def servers() -> Iterator[Servers]:
    """Start Kafka, MariaDB and Redis (those that HOLDFAST_KAFKA, _MYSQL, _REDIS name are used where they are); remove them in the end."""
    end_politely()
    cache = Home.from_environment().cache
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="holdfast-bench-") as folder:
        os.environ.update({CACHE_VARIABLE: str(cache), HOME_VARIABLE: str(Path(folder) / "home")})
        holdfast("up", "--servers-only")
        try:
            yield _described(Path(folder), cache)
        finally:
            holdfast("down", "--wipe")


def _described(folder: Path, cache: Path) -> Servers:
    from holdfast.stack.endpoints import endpoints

    known, status = endpoints(), json.loads(holdfast("status", "--json"))
    pids = {process["kind"]: int(process["pid"]) for process in status["processes"]}
    return Servers(known.kafka, known.mysql, known.redis, pids, folder, cache)
