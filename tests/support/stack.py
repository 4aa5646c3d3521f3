"""Fixtures over real servers: one stack for the whole run, started when a test first asks for it.

HOLDFAST_KAFKA, HOLDFAST_MYSQL and HOLDFAST_REDIS, where set, are used instead of starting anything. Without them the servers are
containers where that can be, else the local stack's (tests/support/containers.py).
"""

import itertools
import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pymysql
import pytest
import redis

from holdfast.stack import lifecycle, processes
from holdfast.stack.addresses import VARIABLES, Endpoints, MysqlAddress, given
from holdfast.stack.files import locked, read_json, write_json
from holdfast.stack.home import Home
from tests.support import containers

REDIS_DATABASES = 64
_numbers = itertools.count()
# Under xdist each worker has its own share, so that no two tests flush the same database.
_worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_workers = int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
_free_redis = list(range(1 + _worker, REDIS_DATABASES, _workers))


def stack_owner() -> processes.ProcessId:
    """The process with which the test servers end, however it ends: pytest, or the pytest that leads the xdist workers."""
    leader = processes.identify(os.getppid()) if "PYTEST_XDIST_WORKER" in os.environ else None
    return leader or processes.myself()


@pytest.fixture(scope="session")
def stack_home(tmp_path_factory: pytest.TempPathFactory) -> Home:
    """The home of the run's stack; under xdist all workers share it. The jars come from the project's cache."""
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    return replace(Home.from_environment(), root=shared / "stack")


@pytest.fixture(scope="session")
def endpoints(stack_home: Home) -> Iterator[Endpoints]:
    """The endpoints of the environment or of the run's own stack (servers only), which ends with the run."""
    external = given()
    if len(external) == len(VARIABLES):
        yield Endpoints(**external)
        return
    if not external and containers.wanted():
        name = f"holdfast-tests-{stack_owner().pid}"
        with _user_of(stack_home, lambda: containers.stop(name)):
            yield _shared(stack_home, lambda: containers.start(name))
        return
    with _user_of(stack_home, lambda: lifecycle.down(stack_home, wipe=True)):
        plan = lifecycle.up(stack_home, lifecycle.Wish(servers_only=True, owner=stack_owner()), lambda _step: None)
        yield plan.endpoints


def _shared(home: Home, start: Callable[[], Endpoints]) -> Endpoints:
    """What the first of the run's processes started."""
    file = home.root.with_name("stack-endpoints.json")
    with locked(file.with_suffix(".lock")):
        found = read_json(file, Endpoints)
        if found is None:
            found = start()
            write_json(file, found)
    return found


@contextmanager
def _user_of(home: Home, down: Callable[[], object]) -> Iterator[None]:
    """Counts the test processes that use the servers; the last one takes them down."""
    users = home.root.with_name("stack-users")
    mine = users / str(os.getpid())
    with locked(users.with_suffix(".lock")):
        users.mkdir(exist_ok=True)
        mine.touch()
    try:
        yield
    finally:
        with locked(users.with_suffix(".lock")):
            mine.unlink()
            if not any(users.iterdir()):
                down()


@pytest.fixture(scope="session")
def kafka(endpoints: Endpoints) -> str:
    """The bootstrap address, host:port."""
    return endpoints.kafka


@pytest.fixture(scope="session")
def mysql_url(endpoints: Endpoints) -> str:
    """The URL of a database that every test may read; for writing take `fresh_database`."""
    return endpoints.mysql


@pytest.fixture(scope="session")
def redis_url(endpoints: Endpoints) -> str:
    """The URL of Redis database 0; for writing take `fresh_redis`."""
    return endpoints.redis


@pytest.fixture
def topic_prefix() -> str:
    """A name that no other test has, for topics, groups and transactional IDs."""
    return unique_name("t")


@pytest.fixture
def fresh_database(mysql_url: str) -> Iterator[str]:
    """The URL of a new, empty database, dropped after the test."""
    with new_database(mysql_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_database(mysql_url: str) -> Iterator[str]:
    """The URL of a new, empty database that the tests of one module share."""
    with new_database(mysql_url) as url:
        yield url


@pytest.fixture
def fresh_redis(redis_url: str) -> Iterator[str]:
    """The URL of an empty Redis database that no other running test has."""
    with new_redis(redis_url) as url:
        yield url


@pytest.fixture(scope="module")
def module_redis(redis_url: str) -> Iterator[str]:
    """The URL of an empty Redis database that the tests of one module share."""
    with new_redis(redis_url) as url:
        yield url


def unique_name(prefix: str) -> str:
    """`prefix` and what makes it unique."""
    return f"{prefix}{os.getpid()}x{next(_numbers)}x{uuid.uuid4().hex[:6]}"


@contextmanager
def new_database(mysql_url: str) -> Iterator[str]:
    """Create an empty database beside the one of the URL; drop it at the end."""
    at = replace(MysqlAddress.parse(mysql_url), database=unique_name("holdfast_"))
    _execute(mysql_url, f"CREATE DATABASE {at.database} CHARACTER SET utf8mb4")
    try:
        yield at.url()
    finally:
        _execute(mysql_url, f"DROP DATABASE {at.database}")


@contextmanager
def new_redis(redis_url: str) -> Iterator[str]:
    """Take a Redis database (1 to 63), empty it, give it back empty."""
    number = _free_redis.pop()
    url = f"{redis_url.rpartition('/')[0]}/{number}"
    try:
        with redis.Redis.from_url(url) as client:
            client.flushdb()
            yield url
            client.flushdb()
    finally:
        _free_redis.append(number)


def connect(mysql_url: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    """A connection to the database of the URL; the caller closes it."""
    at = MysqlAddress.parse(mysql_url)
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database)


def _execute(mysql_url: str, statement: str) -> None:
    with connect(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
