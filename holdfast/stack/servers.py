"""The servers of the stack in the order they start, and which endpoint each one serves."""

from typing import Protocol

from holdfast.stack.home import Home
from holdfast.stack.kafka import Kafka
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
PORTS = {"kafka": ("kafka", "kafka-controller"), "mariadb": ("mariadb",), "redis": ("redis",)}
PROGRAMS = {"kafka": ("java", "mvn"), "mariadb": ("mariadbd", "mariadb-install-db"), "redis": ("redis-server",)}
