"""Redis in a data folder of its own."""

import sys
from dataclasses import dataclass
from pathlib import Path

from holdfast.stack import packages
from holdfast.stack.files import write_atomically
from holdfast.stack.home import Home

SETTINGS = """\
bind 127.0.0.1
protected-mode yes
daemonize no
databases 64
maxmemory-policy noeviction
# Redis writes its title over the environment by which a stack knows its own processes.
set-proc-title no
# A restart goes on where it left off: every write is in the file, at most one second behind.
appendonly yes
appendfsync everysec
# Rewriting the file costs 2 us a hash. At 64 MB, where Redis begins by itself, a burst of a million orders had every hash rewritten more than once.
auto-aof-rewrite-min-size 1gb
save ""
# An order's lines as JSON are longer than the 64 bytes up to which Redis keeps a small hash packed: half the memory, and a fifth less CPU to write.
hash-max-listpack-value 1024
"""


@dataclass(frozen=True)
class RedisServer:
    """The Redis of a home. `ports` needs `redis`."""

    home: Home
    ports: dict[str, int]

    def endpoint(self) -> str:
        """The URL of database 0."""
        return f"redis://127.0.0.1:{self.ports['redis']}/0"

    def prepare(self) -> None:
        """Write the configuration."""
        packages.require("redis-server")
        packages.require("redis-check-aof")
        folder = self.home.data("redis")
        folder.mkdir(mode=0o700, exist_ok=True)
        write_atomically(self._configuration, f'{SETTINGS}port {self.ports["redis"]}\ndir "{folder}"\n'.encode())

    def command(self) -> list[str]:
        """The server's command line."""
        return [sys.executable, "-m", "holdfast.stack.redis_start", str(self._configuration)]

    @property
    def _configuration(self) -> Path:
        return self.home.data("redis") / "redis.conf"
