"""The access log: one JSON object a line, written in blocks."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

import msgspec

from ingest.errors import ConfigError

FLUSH_S: Final = 0.2
MAX_BLOCKS: Final = 16
"""Blocks that may wait for whoever reads the log."""
MOST_LINES: Final = 256
"""Encoded at a time: together they cost less, and nobody waits long for them."""
_encode = msgspec.json.Encoder().encode_lines


class Line(msgspec.Struct, omit_defaults=True):
    """One request. `time` in s since 1970-01-01 UTC, `ms` until the answer was handed over; `key` is the API key's name, never the key."""

    time: float
    method: str
    path: str
    status: int
    ms: float
    trace_id: str
    client: str
    key: str = ""
    user: str = ""
    error: str = ""


class AccessLog:
    """Gathers lines and writes them every 0.2 s, in a thread: a full disk or a pipe that nobody reads loses lines, never a request."""

    def __init__(self, target: str, loop: asyncio.AbstractEventLoop) -> None:
        self._file = _open(target)
        self._loop = loop
        self._lines: list[Line] = []
        self._buffer = bytearray()
        self._timer: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="access-log")
        self._blocks = 0
        self.lost = 0

    def write(self, line: Line) -> None:
        """Take one line in."""
        if self._file is None:
            return
        self._lines.append(line)
        if len(self._lines) >= MOST_LINES:
            self._encode()
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_S, self._flush)

    def close(self) -> None:
        """Write what is left; waits for at most a moment."""
        if self._timer is not None:
            self._timer.cancel()
            self._flush()
        self._thread.shutdown(wait=self._blocks < MAX_BLOCKS)

    def _encode(self) -> None:
        self._buffer += _encode(self._lines)
        self._lines.clear()

    def _flush(self) -> None:
        self._timer = None
        self._encode()
        lines, self._buffer = self._buffer, bytearray()
        if self._blocks >= MAX_BLOCKS:
            self.lost += lines.count(b"\n")
            return
        self._blocks += 1
        self._thread.submit(self._write, lines)

    def _write(self, lines: bytearray) -> None:
        try:
            while lines and self._file is not None:
                del lines[: os.write(self._file, lines)]
        except OSError:
            self.lost += lines.count(b"\n")
        finally:
            self._blocks -= 1


def now() -> float:
    """Return the time of a line."""
    return round(time.time(), 3)


def _open(target: str) -> int | None:
    if target == "off":
        return None
    if target == "stderr":
        return sys.stderr.fileno()
    try:
        return os.open(Path(target), os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o640)
    except OSError as error:
        raise ConfigError(f"HOLDFAST_GATEWAY_ACCESS_LOG is {target}: {error.strerror}. Use `stderr`, `off`, or a file that can be written") from error
