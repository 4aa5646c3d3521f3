"""A file of entries from which each is struck out before it fires."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from failpoints.parsing import FailpointsError, without


class EntryFile:
    """A list that several processes may share: an entry written once fires in one of them."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self) -> str:
        """Return what is left of the list; raises FailpointsError if there is no such file."""
        try:
            return self._path.read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise FailpointsError(f"the file of failpoints {self._path} cannot be read: {error}") from error

    def strike_out(self, word: str) -> bool:
        """Take one entry out of the file, durably; False if it is not there any more."""
        with self._locked():
            left = without(self.read(), word)
            if left is not None:
                self._replace(left)
        return left is not None

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with self._path.with_name(self._path.name + ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _replace(self, text: str) -> None:
        """Readers see the old file or the new one, also after a power cut."""
        partial = self._path.with_name(f"{self._path.name}.{os.getpid()}")
        with partial.open("w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(self._path)
        folder = os.open(self._path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
