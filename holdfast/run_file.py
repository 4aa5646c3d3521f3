"""The run file of a process of ours that has no settings of its own to name the folder."""

import os
from collections.abc import Mapping
from pathlib import Path

from telemetry.run_file import RunFile


def own_run_file(kind: str, environ: Mapping[str, str] = os.environ) -> RunFile:
    """Return the run file in HOLDFAST_RUN_DIR; it does nothing where that variable is not set."""
    folder = environ.get("HOLDFAST_RUN_DIR")
    return RunFile(kind, Path(folder) if folder else None)
