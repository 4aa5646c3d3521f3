"""A load generator for HTTP/1.1: kept connections, requests made beforehand, one at a time on each.

`python -m bench.http_load` takes a Job on stdin and gives a Tally on stdout.

Closed loop (`rate` 0): each connection sends its next request when the last one is answered. Open loop: requests are due by a schedule, and a request's
time runs from when it was due, so a stall is counted for every request that it holds up.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections import Counter, deque
from itertools import cycle
from typing import Final

import msgspec
import uvloop

COUNTER: Final = b"000000000000"
"""Where this stands in a request of a Job with `counts`, the number of the request goes: every Idempotency-Key is new."""
LAST_S: Final = 30.0
"""Answers are waited for so long after the end."""


class Job(msgspec.Struct):
    """What one process does. `begin` is of the monotonic clock, which all processes share; counted are the `seconds` that follow `warm_s`."""

    port: int
    requests: list[str]
    connections: int
    begin: float
    warm_s: float
    seconds: float
    rate: float = 0.0
    counts: int = 0
    """The first number for COUNTER; 0: requests are sent as they are."""
    word: str = ""
    """Counted in the bodies of the answers."""


class Tally(msgspec.Struct):
    """What one process saw within the counted time. `us`: how long each answer took, in microseconds. `cpu_s`: what the generator itself took."""

    statuses: dict[str, int] = {}
    words: int = 0
    us: list[int] = []
    late_us: list[int] = []
    """Open loop: how late each request left, of those that had a free connection when they were due."""
    cpu_s: float = 0.0


class Connection(asyncio.Protocol):
    """One connection: sends a request, reads its answer whole."""

    def __init__(self, load: Load) -> None:
        self._load = load
        self._read = b""
        self._whole = 0
        """Bytes of the answer; 0: not known, -1: until the last chunk."""
        self.since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]

    def send(self, request: bytes, since: float) -> None:
        """Send; `since` is when the request's time began."""
        self.since, self._read, self._whole = since, b"", 0
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        self._read = self._read + data if self._read else data
        if not self._whole:
            self._whole = whole_of(self._read)
        if len(self._read) == self._whole or (self._whole == -1 and self._read.endswith(b"\r\n0\r\n\r\n")):
            self._load.answered(self, self._read)

    def connection_lost(self, _exc: Exception | None) -> None:
        self._load.lost(self)

    def close(self) -> None:
        self._transport.abort()


def whole_of(answer: bytes) -> int:
    """Return how many bytes an answer has that began so: 0 while its head is not there, -1 where it comes in chunks."""
    end = answer.find(b"\r\n\r\n")
    if end < 0:
        return 0
    at = answer.find(b"content-length: ", 0, end)
    if at < 0:
        return -1
    return end + 4 + int(answer[at + 16 : answer.find(b"\r\n", at)])


class Load:
    """One process's share of the load."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._requests = cycle([request.encode() for request in job.requests])
        self._from, self._to = job.begin + job.warm_s, job.begin + job.warm_s + job.seconds
        self._number = job.counts
        self._idle: deque[Connection] = deque()
        self._due: deque[float] = deque()
        self._open: set[Connection] = set()
        self._busy = 0
        self._all_sent = False
        self._over = asyncio.Event()
        self._statuses: Counter[str] = Counter()
        self.tally = Tally()

    async def run(self) -> Tally:
        """Go through with it; raises RuntimeError when a connection is lost, or answers stay out."""
        loop = asyncio.get_running_loop()
        made = [await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._job.port) for _ in range(self._job.connections)]
        self._idle = deque(connection for _, connection in made)
        self._open = set(self._idle)
        cpu = asyncio.ensure_future(self._cpu())
        await asyncio.sleep(self._job.begin - time.monotonic())
        await (self._by_schedule() if self._job.rate else self._all_the_time())
        await asyncio.wait_for(self._over.wait(), self._to - time.monotonic() + LAST_S)
        await cpu
        self._end()
        self.tally.statuses = dict(self._statuses)
        return self.tally

    async def _all_the_time(self) -> None:
        for connection in self._idle:
            self._send(connection, time.monotonic())

    async def _by_schedule(self) -> None:
        """Note what is due, and send it as far as there are connections."""
        number, job = 0, self._job
        while (due := job.begin + number / job.rate) < self._to:
            if (ahead := due - time.monotonic()) > 0:
                await asyncio.sleep(ahead)
            number += 1
            if self._idle:
                self.tally.late_us += [round((time.monotonic() - due) * 1e6)] if due >= self._from else []
                # The one that has rested longest: the server closes one of which it hears nothing for ten seconds.
                self._send(self._idle.popleft(), due)
            else:
                self._due.append(due)
        self._all_sent = True
        self._rest()

    async def _cpu(self) -> None:
        await asyncio.sleep(self._from - time.monotonic())
        before = time.process_time()
        await asyncio.sleep(self._to - time.monotonic())
        self.tally.cpu_s = time.process_time() - before

    def _send(self, connection: Connection, since: float) -> None:
        request = next(self._requests)
        if self._number:
            request = request.replace(COUNTER, b"%012d" % self._number, 1)
            self._number += 1
        self._busy += 1
        connection.send(request, since)

    def answered(self, connection: Connection, answer: bytes) -> None:
        """Count an answer and use its connection again."""
        now = time.monotonic()
        self._busy -= 1
        # Open loop: by when it was due, so that what is answered late is not left out.
        if self._from <= (connection.since if self._job.rate else now) < self._to:
            self._statuses[answer[9:12].decode()] += 1
            self.tally.us.append(round((now - connection.since) * 1e6))
            if self._job.word:
                self.tally.words += answer.count(self._job.word.encode())
        self._next(connection, now)

    def _next(self, connection: Connection, now: float) -> None:
        if self._due:
            return self._send(connection, self._due.popleft())
        if not self._job.rate and now < self._to:
            return self._send(connection, now)
        self._idle.append(connection)
        self._all_sent |= not self._job.rate
        return self._rest()

    def _rest(self) -> None:
        if self._all_sent and not self._busy:
            self._over.set()

    def lost(self, connection: Connection) -> None:
        """A connection that ends before the load does makes the figures worthless."""
        if connection in self._open:
            sys.exit("the server closed a connection")

    def _end(self) -> None:
        ended, self._open = self._open, set()
        for connection in ended:
            connection.close()


def main() -> None:
    """Do the job."""
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    said = memoryview(msgspec.json.encode(uvloop.run(Load(job).run())))
    # After uvloop a write may end when the pipe is full (64 KiB), and Python's buffers then drop the rest.
    while said:
        said = said[os.write(sys.stdout.fileno(), said) :]


if __name__ == "__main__":
    main()
