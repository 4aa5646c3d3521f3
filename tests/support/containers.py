"""Kafka, MySQL and Redis in containers, for a run of the tests: the same endpoints that the local stack has.

HOLDFAST_TEST_SERVERS: `containers` or `stack`; without it containers are taken where a Docker daemon and all three images are.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import pymysql

from holdfast.stack.addresses import Endpoints, MysqlAddress
from holdfast.stack.errors import NotHealthyError
from holdfast.stack.health import CHECKS
from holdfast.stack.kafka import SETTINGS, new_cluster_id, replication
from holdfast.stack.ports import free_port
from tests.support import docker

VARIABLE = "HOLDFAST_TEST_SERVERS"
KINDS = ("containers", "stack")
NAMED = {"kafka": "KAFKA_IMAGE", "mysql": "MYSQL_IMAGE", "redis": "REDIS_IMAGE"}
"""Other images than those that `make images` builds, as in docker-compose.yml."""
PASSWORD = "of-the-tests"
HEALTHY_WITHIN_S = 240


def wanted(environ: Mapping[str, str] = os.environ) -> bool:
    """Whether this run's servers are containers. Raises NoDocker where it is told so and there can be none."""
    told = environ.get(VARIABLE) or None
    assert told in (None, *KINDS), f"{VARIABLE} is {told!r}: use {' or '.join(KINDS)}"
    if told == "stack":
        return False
    try:
        images(environ)
    except docker.NoDocker:
        if told:
            raise
        return False
    return True


def images(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Each server's image. Raises NoDocker."""
    docker.daemon()
    return {name: environ.get(variable) or docker.image(name) for name, variable in NAMED.items()}


def start(name: str) -> Endpoints:
    """Start the three as containers named after `name`, wait until they answer. They end by `stop`."""
    # What reaps containers of a run that died is an image, too, which not everybody has.
    os.environ.setdefault("TESTCONTAINERS_RYUK_DISABLED", "true")
    from testcontainers.core.container import DockerContainer

    ports = {server: free_port() for server in NAMED}
    found = Endpoints(
        kafka=f"127.0.0.1:{ports['kafka']}",
        mysql=MysqlAddress("127.0.0.1", ports["mysql"], "holdfast", PASSWORD, "holdfast").url(),
        redis=f"redis://127.0.0.1:{ports['redis']}/0",
    )
    try:
        for server, image in images().items():
            container = DockerContainer(image).with_name(f"{name}-{server}")
            SETUP[server](container, ports[server]).start()
        for server, address in found.__dict__.items():
            _await(CHECKS[server], address)
        _give_rights(found.mysql)
    except BaseException:
        stop(name)  # else the next test, which tries again, hears of a name that is taken
        raise
    return found


def stop(name: str) -> None:
    """Remove the containers that were started under this name, and what they kept."""
    import docker as client

    engine = client.from_env()
    for server in NAMED:
        with suppress(client.errors.NotFound):
            engine.containers.get(f"{name}-{server}").remove(v=True, force=True)


def _kafka(container: Any, port: int) -> Any:
    own = {
        "process.roles": "broker,controller",
        "node.id": "1",
        "listeners": f"BROKER://0.0.0.0:{port},CONTROLLER://127.0.0.1:9093",
        "advertised.listeners": f"BROKER://127.0.0.1:{port}",
        "controller.quorum.voters": "1@127.0.0.1:9093",
        "log.dirs": "/var/lib/kafka/data",
    }
    settings = {f"KAFKA_{key.replace('.', '_').upper()}": value for key, value in (SETTINGS | replication(1) | own).items()}
    # The same port inside and outside: it is the one that the broker tells its clients.
    return _on_loopback(container.with_envs(**settings, CLUSTER_ID=new_cluster_id()), port, port)


def _mysql(container: Any, port: int) -> Any:
    named = {"MYSQL_DATABASE": "holdfast", "MYSQL_USER": "holdfast", "MYSQL_PASSWORD": PASSWORD, "MYSQL_ROOT_PASSWORD": PASSWORD}
    return _on_loopback(container.with_envs(**named), 3306, port)


def _redis(container: Any, port: int) -> Any:
    words = ["redis-server", "--databases", "64", "--save", "", "--bind", "0.0.0.0", "--protected-mode", "no"]
    return _on_loopback(container.with_command(words), 6379, port)


def _on_loopback(container: Any, inside: int, port: int) -> Any:
    # with_bind_ports takes no host, and would open the port to the network; what it fills goes to Docker's client as it is.
    container.ports[f"{inside}/tcp"] = ("127.0.0.1", port)
    return container


SETUP: dict[str, Callable[[Any, int], Any]] = {"kafka": _kafka, "mysql": _mysql, "redis": _redis}


def _await(check: Callable[[str], None], address: str) -> None:
    deadline = time.monotonic() + HEALTHY_WITHIN_S
    while True:
        try:
            return check(address)
        except NotHealthyError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def _give_rights(mysql_url: str) -> None:
    """The tests make databases of their own, holdfast_...: as the stack's user may."""
    at = MysqlAddress.parse(mysql_url)
    with pymysql.connect(host=at.host, port=at.port, user="root", password=PASSWORD) as connection, connection.cursor() as cursor:
        cursor.execute(f"GRANT ALL PRIVILEGES ON `{at.database}%`.* TO '{at.user}'@'%'")
        cursor.execute("SET GLOBAL local_infile = ON")
