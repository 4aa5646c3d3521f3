"""A disk without room: small file systems under the servers' data, and what fills them."""

from __future__ import annotations

import errno
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.stack.home import Home
from tests.faults.fault import CannotStrikeError, Heal

MIB = 1024 * 1024
BALLAST = "ballast"
CHUNKS = (64 * MIB, MIB, 64 * 1024, 4096)


@contextmanager
def small_disks(home: Home, mariadb_mib: int = 2048, redis_mib: int = 1024) -> Iterator[str]:
    """Give the data of MariaDB and Redis file systems of their own, to be called before `up`; yields why not, or "".

    They are in memory and take as much of it as is written to them, ballast included.
    """
    folders = {home.data("mariadb"): mariadb_mib, home.data("redis"): redis_mib}
    mounted, reason = [], ""
    try:
        for folder, size in folders.items():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not reason:
                reason = _mount(folder, size)
                mounted += [] if reason else [folder]
        yield reason
    finally:
        for folder in mounted:
            subprocess.run(["umount", "-l", str(folder)], check=False)


def _mount(folder: Path, size_mib: int) -> str:
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mib}m,mode=700", "tmpfs", str(folder)], check=False, capture_output=True, text=True)
    except OSError as error:
        return f"no file system can be mounted here: {error}"
    return f"no file system can be mounted here: {done.stderr.strip()}" if done.returncode else ""


def fill(folder: Path) -> Heal:
    """Fill the file system of a server's data to the last byte; the healing makes room again."""
    if not os.path.ismount(folder):
        raise CannotStrikeError(f"{folder.name}'s data is not on a file system of its own: filling it would hurt others")
    ballast = folder / BALLAST
    with ballast.open("wb") as file:
        size = 0
        for chunk in CHUNKS:
            with _until_full():
                while True:
                    os.posix_fallocate(file.fileno(), size, chunk)
                    size += chunk
    return lambda: ballast.unlink(missing_ok=True)


@contextmanager
def _until_full() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
