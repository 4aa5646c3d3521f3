"""What is done to Redis."""

from __future__ import annotations

import shutil
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random

import redis

from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.kinds.disk import fill
from tests.faults.site import Site
from tests.faults.strikes import frozen, sent

REACHABLE_WITHIN_S = 20.0
APPENDED = "appendonlydir"
NOBODY = ("127.0.0.1", 1)


def empty(site: Site, _random: Random) -> None:
    with client(site) as server:
        server.flushall()


def empty_in_mid_write(site: Site, random: Random) -> None:
    for _ in range(5):
        with client(site) as server:
            server.flushdb()
        time.sleep(random.uniform(0.01, 0.3))


def kill_clients(site: Site, random: Random) -> None:
    for _ in range(8):
        with client(site) as server:
            server.client_kill_filter(_type="normal", skipme=True)
        time.sleep(random.uniform(0.01, 0.3))


def fill_memory(site: Site, _random: Random) -> Heal:
    """Nothing more fits, and nothing is thrown out for it (the stack's Redis evicts nothing)."""
    return _configure(site, "maxmemory", 1, 0)


def no_replicas(site: Site, _random: Random) -> Heal:
    return _configure(site, "min-replicas-to-write", 1, 0)


def become_replica(site: Site, _random: Random) -> Heal:
    """As after a failover to another: reads go on, writes are refused."""
    with client(site) as server:
        server.replicaof(*NOBODY)
    return lambda: _at(site, lambda server: server.replicaof("NO", "ONE"))


def set_back(site: Site, _random: Random) -> Heal:
    """Keep the file as it is now; the healing kills Redis and gives it that file: rows and positions go back together."""
    folder = site.home.data("redis")
    live, kept, aside = folder / APPENDED, folder / "kept", folder / "aside"
    for old in (kept, aside):
        shutil.rmtree(old, ignore_errors=True)
    try:
        # What is appended while it is copied may be cut in the middle of a command: Redis drops such an end by itself.
        shutil.copytree(live, kept)
    except OSError as error:
        shutil.rmtree(kept, ignore_errors=True)
        raise CannotStrikeError(f"Redis's file cannot be kept: {error}") from error

    def go_back() -> None:
        # Before the kill, as the supervisor starts it again at once; the running server keeps the files it has open.
        live.rename(aside)
        kept.rename(live)
        site.signal("redis", signal.SIGKILL)
        shutil.rmtree(aside, ignore_errors=True)

    return go_back


def fill_disk(site: Site, _random: Random) -> Heal:
    return fill(site.home.data("redis"))


FAULTS = (
    Fault("Redis killed", "kill -9 of Redis; the supervisor starts it again", sent("redis", signal.SIGKILL)),
    Fault("Redis restarted", "SIGTERM to Redis; the supervisor starts it again", sent("redis", signal.SIGTERM)),
    Fault("Redis frozen", "SIGSTOP of Redis, then SIGCONT", frozen("redis"), lasts_s=8),
    Fault("Redis emptied", "FLUSHALL", empty),
    Fault("Redis emptied in mid-write", "FLUSHDB five times within a second", empty_in_mid_write),
    Fault("Redis connections killed", "CLIENT KILL of everybody, eight times", kill_clients),
    Fault("Redis out of memory", "maxmemory = 1 byte, and nothing is evicted", fill_memory, lasts_s=6),
    Fault("Redis without replicas", "min-replicas-to-write = 1", no_replicas, lasts_s=6),
    Fault("Redis a replica", "REPLICAOF somebody who does not answer", become_replica, lasts_s=6),
    Fault("Redis set back", "killed and started with its file of some seconds ago", set_back, lasts_s=5),
    Fault("Redis disk full", "its file system is filled to the last byte", fill_disk, lasts_s=6),
)


@contextmanager
def client(site: Site) -> Iterator[redis.Redis]:
    """A connection to a server that another fault may have taken down for a moment."""
    deadline = time.monotonic() + REACHABLE_WITHIN_S
    with redis.Redis.from_url(site.endpoints.redis, socket_timeout=5, socket_connect_timeout=5) as server:
        while True:
            try:
                server.ping()
                break
            except (redis.RedisError, OSError) as error:
                if time.monotonic() > deadline:
                    raise CannotStrikeError(f"Redis does not answer: {error}") from error
                time.sleep(0.1)
        yield server


def _at(site: Site, act: Callable[[redis.Redis], object]) -> None:
    with client(site) as server:
        act(server)


def _configure(site: Site, name: str, value: int, before: int) -> Heal:
    _at(site, lambda server: server.config_set(name, value))
    return lambda: _at(site, lambda server: server.config_set(name, before))
