"""Who holds which worker number of the order-ID generator, in MySQL.

A row's `last_ms` is a promise: its holder gives no ID beyond that ms before it has raised it. So the next holder, who starts
after it, repeats none, whatever the clocks of both say and even if the former one wakes up late. `leased_until` (ms by
the database's clock) only says when a number may be taken over.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final, NamedTuple

import pymysql

from ingest.config import connect, reason
from ingest.errors import LeaseError, StoreError
from schemas.views import WORKER_LEASES

WORKERS: Final = 1024
_ATTEMPTS: Final = 50

# Of the names in these statements every one is a constant of ours; every value is a parameter.
_NOW = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
_UNTIL = f"{_NOW} + %s"
_FREE = f"SELECT worker, owner, last_ms FROM {WORKER_LEASES} WHERE leased_until < {_NOW} AND last_ms <= %s ORDER BY RAND() LIMIT 1"  # noqa: S608
_MINE = "WHERE worker = %s AND owner = %s"
_TAKE_OVER = f"UPDATE {WORKER_LEASES} SET owner = %s, leased_until = {_UNTIL}, last_ms = %s {_MINE} AND last_ms = %s AND leased_until < {_NOW}"  # noqa: S608
_UNUSED = f"SELECT COALESCE(MAX(worker) + 1, 0) FROM {WORKER_LEASES}"  # noqa: S608
_CREATE = f"INSERT IGNORE INTO {WORKER_LEASES} (worker, owner, leased_until, last_ms) VALUES (%s, %s, {_UNTIL}, %s)"  # noqa: S608
_RENEW = f"UPDATE {WORKER_LEASES} SET leased_until = {_UNTIL}, last_ms = GREATEST(last_ms, %s) {_MINE}"  # noqa: S608
_RELEASE = f"UPDATE {WORKER_LEASES} SET leased_until = {_NOW}, last_ms = %s {_MINE}"  # noqa: S608


class Lease(NamedTuple):
    """A worker number that is ours: IDs after `last_ms` and up to `until_ms` (ms since 1970-01-01 UTC) may be given."""

    worker: int
    owner: str
    last_ms: int
    until_ms: int


class LeaseTable:
    """Leases worker numbers for `lease_ms` at a time. Every call is one short connection and one transaction."""

    def __init__(self, mysql_url: str, lease_ms: int) -> None:
        self._url = mysql_url
        self._lease_ms = lease_ms

    def acquire(self, now_ms: int) -> Lease:
        """Lease a number whose lease has ended, or else one that nobody ever had; raises LeaseError or StoreError."""
        owner = f"{socket.gethostname()[:64]}:{os.getpid()}:{uuid.uuid4().hex[:12]}"
        with self._cursor() as cursor:
            for _ in range(_ATTEMPTS):
                lease = self._take_over(cursor, owner, now_ms) or self._create(cursor, owner, now_ms)
                cursor.connection.commit()
                if lease:
                    return lease
        full = f"no worker number is free: all {WORKERS:,} are leased, or were used with a clock ahead of this one"
        raise LeaseError(full, retry_after_s=self._lease_ms / 1000)

    def renew(self, lease: Lease, now_ms: int) -> Lease | None:
        """Extend a lease from now; None if the number has another owner. Raises StoreError."""
        until_ms = now_ms + self._lease_ms
        with self._cursor() as cursor:
            mine = cursor.execute(_RENEW, (self._lease_ms, until_ms, lease.worker, lease.owner))
            cursor.connection.commit()
        return lease._replace(until_ms=until_ms) if mine else None

    def release(self, lease: Lease, last_ms: int) -> None:
        """Give a number back; `last_ms` is that of the last ID given with it. Raises StoreError."""
        with self._cursor() as cursor:
            cursor.execute(_RELEASE, (last_ms, lease.worker, lease.owner))
            cursor.connection.commit()

    def _take_over(self, cursor: pymysql.cursors.Cursor, owner: str, now_ms: int) -> Lease | None:
        cursor.execute(_FREE, (now_ms,))
        free = cursor.fetchone()
        if not free:
            return None
        worker, former, last_ms = free
        until_ms = now_ms + self._lease_ms
        won = cursor.execute(_TAKE_OVER, (owner, self._lease_ms, until_ms, worker, former, last_ms))
        return Lease(worker, owner, last_ms, until_ms) if won else None

    def _create(self, cursor: pymysql.cursors.Cursor, owner: str, now_ms: int) -> Lease | None:
        cursor.execute(_UNUSED)
        (worker,) = cursor.fetchone() or (0,)
        until_ms = now_ms + self._lease_ms
        if worker >= WORKERS or not cursor.execute(_CREATE, (worker, owner, self._lease_ms, until_ms)):
            return None
        return Lease(worker, owner, 0, until_ms)

    @contextmanager
    def _cursor(self) -> Iterator[pymysql.cursors.Cursor]:
        connection = connect(self._url)
        try:
            with connection.cursor() as cursor:
                yield cursor
        except pymysql.MySQLError as error:
            raise StoreError(f"the table {WORKER_LEASES} could not be used: {reason(error)}") from error
        finally:
            connection.close()
