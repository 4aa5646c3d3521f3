"""The run file: in which a process says what it works on, for `holdfast status` and the supervisor. Nobody's work depends on it."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("holdfast.run_file")


class RunFile:
    """`<folder>/<kind>-<pid>.json`: {"kind", "pid", "partitions": {name: [numbers]}, and what else `write` is told}. Without a folder nothing is written.

    A folder that is away or a disk that is full is a warning: no process ends of it, none fails to start.
    """

    def __init__(self, kind: str, folder: Path | None) -> None:
        self._kind = kind
        self._path = folder / f"{kind}-{os.getpid()}.json" if folder else None

    def write(self, partitions: Mapping[str, Collection[int]], **more: str | None) -> None:
        """Say what this process works on now. Readers see the old file or the new one, never half of one."""
        if self._path is None:
            return
        said = {"kind": self._kind, "pid": os.getpid(), "partitions": {name: sorted(numbers) for name, numbers in partitions.items()}, **more}
        partial = self._path.with_suffix(".partial")
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_text(json.dumps(said))
            partial.replace(self._path)
        except OSError as error:
            log.warning("the run file %s cannot be written: %s", self._path, error)

    def remove(self) -> None:
        """Take the file away: the process ends."""
        if self._path is not None:
            with suppress(OSError):
                self._path.unlink()
