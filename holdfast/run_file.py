"""The file in which a process of the pipeline says what it is working on, for `holdfast status`."""

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from holdfast.stack.files import write_json
from holdfast.stack.status import RunFile


class OwnRunFile:
    """`$HOLDFAST_RUN_DIR/<kind>-<pid>.json` of this process; does nothing where that variable is not set."""

    def __init__(self, kind: str, environ: Mapping[str, str] = os.environ) -> None:
        folder = environ.get("HOLDFAST_RUN_DIR")
        self._kind = kind
        self._path = Path(folder) / f"{kind}-{os.getpid()}.json" if folder else None

    def write(self, stage: str, partitions: Iterable[int]) -> None:
        """Say that this process works on these partitions of the stage."""
        if self._path:
            write_json(self._path, RunFile(self._kind, os.getpid(), {stage: sorted(partitions)}))

    def remove(self) -> None:
        """Take the file away: the process ends."""
        if self._path:
            self._path.unlink(missing_ok=True)
