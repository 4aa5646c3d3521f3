"""The load of one round: client processes that are started again when they die, and what their journals say was sent."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from ingest.producer import OrderProducer
from ingest.requests import StockCommand
from tests.faults.clients import LEAVE_S, acknowledgement_of, entry_of
from tests.faults.http_clients import faults_of, keys_file
from tests.faults.journal import Journal
from tests.faults.probes import probe_products
from tests.faults.site import Site, send
from tests.faults.traffic import opening

LOOK_S = 0.2
PROBE_UNITS = 1_000_000
COLUMNAR, HTTP = "columnar", "http"
KINDS = ("plain", COLUMNAR, HTTP)
HTTP_SHARE = 0.1
"""Orders over HTTP, on top of those that go to the log: few, for they are told one by one to the disk."""


def stock_up(site: Site) -> Path:
    """Put the opening stock on the shelf, also of the probes' products; returns the journal of it."""
    path = site.folder / "opening.journal"
    commands: list[StockCommand] = [*opening(), *opening(tuple(probe_products(site.partitions)), PROBE_UNITS)]
    with Journal(path) as journal, OrderProducer(site.endpoints.kafka, topic_prefix=site.prefix) as producer:
        journal.send(entry_of(command) for command in commands)
        for command, future in [(command, producer.command(command)) for command in commands]:
            future.result()
            journal.ack(acknowledgement_of(command))
    return path


class Load:
    """Clients that send until told to stop. `sent`: order ID -> when (monotonic); `lines`: order lines sent."""

    def __init__(self, site: Site, seed: int, rate: float) -> None:
        self.journals: list[Path] = []
        self.sent: dict[int, float] = {}
        self.lines = 0
        self.commands = 0
        self._site, self._seed, self._rate = site, seed, rate
        self._stop = threading.Event()
        self._offsets: dict[Path, int] = {}
        self._thread = threading.Thread(target=self._look_after, daemon=True)

    def start(self) -> None:
        self._site.clients = [self._new_client(kind) for kind in KINDS]
        self._thread.start()

    def stop(self) -> None:
        """Let the clients end, when all that they sent is acknowledged."""
        self._stop.set()
        self._thread.join()
        for client in self._site.clients:
            send(client.pid, signal.SIGCONT)
            client.send_signal(signal.SIGTERM)
        for client in self._site.clients:
            client.wait(LEAVE_S + 30)
        self._read()

    def _new_client(self, kind: str) -> subprocess.Popen[bytes]:
        number = len(self.journals)
        journal = self._site.folder / f"client-{number}.journal"
        self.journals.append(journal)
        own = ["--seed", str(self._seed + number), "--journal", str(journal)]
        return self._site.spawn(f"client-{number}", *(self._over_http() if kind == HTTP else self._to_the_log(kind)), *own)

    def _over_http(self) -> list[str]:
        return ["tests.faults.http_clients", "--url", self._site.gateway, "--rate", str(self._rate * HTTP_SHARE)]

    def _to_the_log(self, kind: str) -> list[str]:
        to = ["--kafka", self._site.endpoints.kafka, "--prefix", self._site.prefix]
        return ["tests.faults.clients", *to, "--rate", str(self._rate / 2), *(["--columnar"] if kind == COLUMNAR else [])]

    def _look_after(self) -> None:
        while not self._stop.wait(LOOK_S):
            for at, client in enumerate(self._site.clients):
                if client.poll() is not None:
                    self._site.clients[at] = self._new_client(KINDS[at])
            self._read()

    def faults(self) -> list[str]:
        """Return what the gateway answered that it may not answer."""
        return faults_of(keys_file(journal) for journal in self.journals)

    # -- what was sent -------------------------------------------------------------------------------------------------

    def _read(self) -> None:
        now = time.monotonic() - time.time()
        for journal in self.journals:
            for line in self._new_lines(journal):
                self._count(line, now)

    def _new_lines(self, journal: Path) -> Iterator[bytes]:
        if not journal.exists():
            return
        with journal.open("rb") as file:
            file.seek(self._offsets.get(journal, 0))
            found = file.read()
        whole = found[: found.rfind(b"\n") + 1]
        self._offsets[journal] = self._offsets.get(journal, 0) + len(whole)
        yield from whole.splitlines()

    def _count(self, line: bytes, clock: float) -> None:
        entry = json.loads(line) if line.strip() else {}
        sent = entry.get("send", {})
        if "lines" in sent:
            self.sent.setdefault(int(sent["order_id"]), entry["t"] / 1000 + clock)
            self.lines += len(sent["lines"]) * sent.get("copies", 1)
        elif sent:
            self.commands += 1
