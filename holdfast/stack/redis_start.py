"""Start Redis on a file it can read: `python -m holdfast.stack.redis_start CONFIGURATION`.

A disk that was full can leave a hole in the append-only file, and Redis never starts on such a one again. What is in it
comes from the log, positions with it: cut at the hole it is an earlier state, and the sink goes on from there.
"""

import contextlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from holdfast.stack import packages

FILES, MANIFEST, ASIDE = "appendonlydir", "appendonly.aof.manifest", "appendonlydir.spoiled"


def mend(folder: Path) -> str:
    """Make the append-only file of a data folder one that Redis reads; the spoiled one is kept beside it. Returns what was done, empty if nothing."""
    manifest = folder / FILES / MANIFEST
    if not manifest.exists() or _check(manifest):
        return ""
    aside = folder / ASIDE
    shutil.rmtree(aside, ignore_errors=True)
    with contextlib.suppress(OSError):  # for want of room, say: it is a copy of what the log has
        shutil.copytree(folder / FILES, aside)
    if _check(manifest, "--fix"):
        return f"Redis's append-only file was spoiled: it is cut where that begins (as it was: {aside})"
    shutil.rmtree(folder / FILES)
    return f"Redis's append-only file cannot be read at all: Redis starts empty and is filled from the log (as it was: {aside})"


def _check(manifest: Path, *options: str) -> bool:
    command = [packages.require("redis-check-aof"), *options, str(manifest)]
    return subprocess.run(command, check=False, input=b"y\n", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0


def main() -> None:
    """Mend the files beside the configuration, then be the server."""
    configuration = Path(sys.argv[1])
    done = mend(configuration.parent)
    if done:
        print(done, flush=True)
    server = packages.require("redis-server")
    os.execv(server, [server, *sys.argv[1:]])


if __name__ == "__main__":
    main()
