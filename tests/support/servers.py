"""Servers of a test's own, which it may kill and start again. The stack's shared ones are for everybody."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from holdfast.stack.errors import NotHealthyError
from holdfast.stack.health import check_kafka, check_mysql, check_redis
from holdfast.stack.home import Home
from holdfast.stack.kafka import Kafka
from holdfast.stack.mariadb import Mariadb
from holdfast.stack.mysql import Mysql
from holdfast.stack.ports import free_port
from holdfast.stack.redis_server import RedisServer
from holdfast.stack.servers import Server

HEALTHY_WITHIN_S = 180
DATABASE_VARIABLE = "HOLDFAST_TEST_DATABASE"
"""`mysql` where a run's own database servers are MySQL; else they are MariaDB."""


class OwnServer:
    """A server with a data folder of its own, which outlives a kill."""

    def __init__(self, server: Server, check: Callable[[str], None], log: Path) -> None:
        self._server = server
        self._check = check
        self._log = log
        self._process: subprocess.Popen[bytes] | None = None
        self.url = server.endpoint()
        server.prepare()

    def start(self, *options: str) -> None:
        """Start it and wait until it answers."""
        with self._log.open("ab") as log:
            self._process = subprocess.Popen([*self._server.command(), *options], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        self._wait_healthy()

    def signal(self, number: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a power cut would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def _wait_healthy(self) -> None:
        deadline = time.monotonic() + HEALTHY_WITHIN_S
        while True:
            try:
                return self._check(self.url)
            except NotHealthyError:
                assert self._process is not None
                if self._process.poll() is not None or time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


@contextmanager
def own_kafka(folder: Path) -> Iterator[OwnServer]:
    """A Kafka, started."""
    yield from _running(OwnServer(Kafka(home_in(folder), {"kafka": free_port(), "kafka-controller": free_port()}), check_kafka, folder / "kafka.log"))


@contextmanager
def own_redis(folder: Path) -> Iterator[OwnServer]:
    """A Redis, started."""
    yield from _running(OwnServer(RedisServer(home_in(folder), {"redis": free_port()}), check_redis, folder / "redis.log"))


@contextmanager
def own_mariadb(folder: Path) -> Iterator[OwnServer]:
    """A MariaDB, started, with the stack's user and an empty database."""
    yield from _running(OwnServer(Mariadb(home_in(folder), {"mariadb": free_port()}), check_mysql, folder / "mariadb.log"))


@contextmanager
def own_database(folder: Path) -> Iterator[OwnServer]:
    """A MariaDB, or what HOLDFAST_TEST_DATABASE names, started."""
    with (own_mysql if os.environ.get(DATABASE_VARIABLE) == "mysql" else own_mariadb)(folder) as server:
        yield server


@contextmanager
def own_mysql(folder: Path) -> Iterator[OwnServer]:
    """A MySQL, started, with the stack's user and an empty database. Raises MissingProgramError where there is none to be had."""
    yield from _running(OwnServer(Mysql(home_in(folder), {"mysql": free_port()}), check_mysql, folder / "mysql.log"))


def _running(server: OwnServer) -> Iterator[OwnServer]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def home_in(folder: Path) -> Home:
    """A home in a folder of the test's, over the project's cache."""
    home = replace(Home.from_environment(), root=folder / "home")
    home.create()
    return home
