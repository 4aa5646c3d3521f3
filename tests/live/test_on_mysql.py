"""The tests of the stores and of what is read from them, the same ones, on MySQL: every other run has MariaDB."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.stack.addresses import Endpoints
from holdfast.stack.errors import MissingProgramError
from tests.support.servers import DATABASE_VARIABLE, OwnServer, own_mysql, own_redis
from tests.support.stack import connect

pytestmark = pytest.mark.live

ROOT = Path(__file__).resolve().parents[2]
STORES = ("live/test_migrate.py", "live/test_sink_stores.py", "ingest/test_lookups.py", "live/test_reads.py")
PROCESSES = ("live/test_sinks.py", "live/test_store_faults.py", "live/test_sink_faults.py", "live/test_sink_sight.py", "live/test_shards.py")
OTHERS = ("live/test_order_ids.py", "live/test_order_keys.py", "live/test_load.py", "live/test_gateway_reads.py", "live/test_webhooks.py")

LONG = ("live/test_sink_faults.py",)
"""Of which every test is a long one."""


@pytest.fixture(scope="module")
def mysql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """A MySQL of the module's own."""
    try:
        with own_mysql(tmp_path_factory.mktemp("mysql")) as server:
            yield server
    except MissingProgramError as error:
        pytest.skip(f"no MySQL here: {error}")


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnServer]:
    """A Redis of the module's own: the inner runs know nothing of what the other workers have taken of the shared one, and would empty it under them."""
    with own_redis(tmp_path_factory.mktemp("redis")) as server:
        yield server


def test_it_is_mysql(mysql: OwnServer) -> None:
    with connect(mysql.url) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT VERSION()")
        (version,) = cursor.fetchone() or ("",)
    assert "MariaDB" not in version
    assert int(version.split(".")[0]) >= 8


@pytest.mark.parametrize("module", [*STORES, *(pytest.param(each, marks=pytest.mark.long) for each in (*PROCESSES, *OTHERS))])
def test_the_same_tests_pass_on_mysql(mysql: OwnServer, cache: OwnServer, endpoints: Endpoints, tmp_path: Path, module: str) -> None:
    own = endpoints.variables() | {"HOLDFAST_MYSQL": mysql.url, "HOLDFAST_REDIS": cache.url, DATABASE_VARIABLE: "mysql"}
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        *(["-m", "long"] if module in LONG else []),
        "-p",
        "no:cacheprovider",
        f"--basetemp={tmp_path / 'inner'}",
        str(ROOT / "tests" / module),
    ]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    done = subprocess.run(command, cwd=ROOT, env=environment | own, capture_output=True, text=True, timeout=1_500, check=False)
    assert done.returncode == 0, done.stdout[-6_000:]
