"""The servers of the stack in the order they start, and which endpoint each one serves."""

from collections.abc import Mapping
from typing import Protocol

from holdfast.stack.home import Home
from holdfast.stack.kafka import Kafka, broker_names, controller_of
from holdfast.stack.mariadb import Mariadb
from holdfast.stack.redis_server import RedisServer


class Server(Protocol):
    """A server of the stack: what the rest of it needs to know."""

    def endpoint(self) -> str:
        """Where clients find it."""

    def prepare(self) -> None:
        """Make everything that the command needs; may be called any number of times."""

    def command(self) -> list[str]:
        """The command line that runs it in the foreground."""


class ServerFactory(Protocol):
    """Makes the server of a home."""

    def __call__(self, home: Home, ports: dict[str, int]) -> Server: ...


SERVERS: dict[str, ServerFactory] = {"kafka": Kafka, "mariadb": Mariadb, "redis": RedisServer}
SERVES = {"kafka": "kafka", "mariadb": "mysql", "redis": "redis"}
PROGRAMS = {"kafka": ("java", "mvn"), "mariadb": ("mariadbd", "mariadb-install-db"), "redis": ("redis-server", "redis-check-aof")}


def names(brokers: int) -> tuple[str, ...]:
    """The servers of a stack with so many brokers, in the order they start."""
    return (*broker_names(brokers), "mariadb", "redis")


def kind_of(name: str) -> str:
    """What a server is: `kafka-2` is a `kafka`."""
    return name.partition("-")[0]


def ports_of(name: str) -> tuple[str, ...]:
    """The names of the ports that a server listens on."""
    return (name, controller_of(name)) if kind_of(name) == "kafka" else (name,)


def make(name: str, home: Home, ports: dict[str, int]) -> Server:
    """The server of this name in a home."""
    return Kafka(home, ports, name) if kind_of(name) == "kafka" else SERVERS[name](home, ports)


def endpoints_of(servers: Mapping[str, Server]) -> dict[str, str]:
    """What each kind of endpoint is, of the servers there are; several brokers with commas between."""
    found: dict[str, str] = {}
    for name, server in servers.items():
        served = SERVES[kind_of(name)]
        found[served] = f"{found[served]},{server.endpoint()}" if served in found else server.endpoint()
    return found
