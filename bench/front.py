"""What the gateway's bench runs against: a gateway and a bare handler on servers of their own, API keys, products, and clients."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import msgspec
import pymysql
import redis

from bench import topics
from bench.http_load import Job, Tally
from bench.processes import cpu_seconds
from bench.servers import Servers, holdfast
from holdfast.stack.addresses import MysqlAddress
from holdfast.stack.ports import free_port
from holdfast.topics import create
from schemas.views import PRODUCT_COLUMNS, stock_key

PARTITIONS: Final = 8
PRODUCTS: Final = 1_000
READY_S: Final = 60.0
LEAD_S: Final = 2.0
"""Clients that are told to begin at a moment need so long to get there."""


@dataclass(frozen=True)
class Front:
    """Two HTTP servers, the processes that may take CPU for them, and keys: `customer` of the user `u1`, `shop` of a shop's own backend."""

    gateway: int
    bare: int
    pids: dict[str, list[int]]
    customer: str
    shop: str
    products: list[str]

    def cpu(self) -> dict[str, float]:
        """CPU seconds used so far by each kind of process."""
        return {name: cpu_seconds(pids) for name, pids in self.pids.items()}


@contextmanager
def front(per: Servers) -> Iterator[Front]:
    """Start both servers over topics and a database of their own, and take all of it away in the end."""
    name = f"g{uuid.uuid4().hex[:10]}"
    with _database(per, name) as mysql:
        own = {"HOLDFAST_KAFKA": per.kafka, "HOLDFAST_MYSQL": mysql, "HOLDFAST_REDIS": per.redis, "HOLDFAST_TOPIC_PREFIX": f"{name}."}
        os.environ.update(own)
        holdfast("migrate")
        create(per.kafka, f"{name}.", PARTITIONS)
        products = [f"{name}-{number}" for number in range(PRODUCTS)]
        _stock(mysql, products)
        ports = {"gateway": free_port(), "bare": free_port()}
        commands = {"gateway": ["holdfast", "gateway", "--port", str(ports["gateway"])], "bare": ["bench.bare_server", str(ports["bare"])]}
        try:
            with _started(per.folder, commands) as pids:
                customer, shop = _key("--user", "u1", "--scope", "place,read"), _key("--scope", "place,read")
                _until(lambda: _answers(f"http://127.0.0.1:{ports['gateway']}/readyz"), "the gateway is ready", per.folder / "gateway.log")
                _until(lambda: _answers(f"http://127.0.0.1:{ports['bare']}/"), "the bare handler answers", per.folder / "bare.log")
                servers = {kind: [pid] for kind, pid in per.pids.items()}
                yield Front(ports["gateway"], ports["bare"], {**{kind: [pid] for kind, pid in pids.items()}, **servers}, customer, shop, products)
        finally:
            topics.remove(per.kafka, name)
            with redis.Redis.from_url(per.redis) as client:
                client.delete(*map(stock_key, products))


def run(jobs: Sequence[Job]) -> list[Tally]:
    """Let a client do each job, all at once; raises RuntimeError with the last words of one that fails."""
    command = [sys.executable, "-m", "bench.http_load"]
    clients = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in jobs]
    for client, job in zip(clients, jobs, strict=True):
        assert client.stdin
        client.stdin.write(msgspec.json.encode(job))
        client.stdin.close()
        client.stdin = None
    return [_tally(client) for client in clients]


def _tally(client: subprocess.Popen[bytes]) -> Tally:
    said, words = client.communicate()
    if client.returncode:
        raise RuntimeError(f"a client failed: {words.decode(errors='replace')[-1500:]}")
    return msgspec.json.decode(said, type=Tally)


@contextmanager
def _database(per: Servers, name: str) -> Iterator[str]:
    at = MysqlAddress.parse(per.mysql)
    own = replace(at, database=f"holdfast_{name}")
    with pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE {own.database} CHARACTER SET utf8mb4")
    try:
        yield own.url()
    finally:
        with pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password) as connection, connection.cursor() as cursor:
            cursor.execute(f"DROP DATABASE {own.database}")


def _stock(mysql: str, products: Sequence[str]) -> None:
    """Write the products' rows as the sink would; the gateway itself puts them into Redis."""
    at, now = MysqlAddress.parse(mysql), datetime.now(UTC).replace(tzinfo=None)
    numbers: dict[str, Any] = {name: 0 for name in PRODUCT_COLUMNS} | {"available": 900, "received": 1_000, "reserved": 100, "version": 7}
    numbers |= {"tracked": True, "frozen": False, "updated_at": now}
    rows = [tuple((numbers | {"product_id": product})[name] for name in PRODUCT_COLUMNS) for product in products]
    with pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database) as connection, connection.cursor() as cursor:
        marks = ", ".join(["%s"] * len(PRODUCT_COLUMNS))
        cursor.executemany(f"INSERT INTO products ({', '.join(PRODUCT_COLUMNS)}) VALUES ({marks})", rows)
        connection.commit()


def _key(*options: str) -> str:
    key: str = msgspec.json.decode(holdfast("keys", "create", *options, "--json"))["key"]
    return key


@contextmanager
def _started(folder: Path, commands: dict[str, list[str]]) -> Iterator[dict[str, int]]:
    running: dict[str, subprocess.Popen[bytes]] = {}
    try:
        for name, command in commands.items():
            with (folder / f"{name}.log").open("ab") as log:
                running[name] = subprocess.Popen([sys.executable, "-m", *command], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        yield {name: process.pid for name, process in running.items()}
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait(60)


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return int(answer.status) < 300
    except (urllib.error.URLError, OSError):
        return False


def _until(holds: Callable[[], bool], what: str, log: Path) -> None:
    deadline = time.monotonic() + READY_S
    while not holds():
        if time.monotonic() > deadline:
            raise RuntimeError(f"not within {READY_S:g} s: {what}\n{log.read_text(errors='replace')[-1500:]}")
        time.sleep(0.1)
