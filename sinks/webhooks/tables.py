"""Endpoints and notices in MySQL. A notice is `due` until it is `delivered` or `dead`."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Final, NamedTuple

import pymysql

from schemas.views import WEBHOOK_ENDPOINTS, WEBHOOK_NOTICES
from sinks.config import MysqlAddress
from sinks.mysql_sink import Connection, classified, connect
from sinks.webhooks.notices import SECRET_BYTES, Endpoint, Notice

_SESSION: Final = ("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED", "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5")
# The database's clock, ms since 1970 UTC: every program that adds endpoints has the same.
_NOW: Final = "CAST(UNIX_TIMESTAMP(NOW(3)) * 1000 AS SIGNED)"
_REMOVED_AT_ONCE: Final = 10_000

ENDPOINTS: Final = f"SELECT endpoint_id, url, user_id, events, secret, created_at FROM {WEBHOOK_ENDPOINTS} ORDER BY created_at, endpoint_id"  # noqa: S608
ADD_ENDPOINT: Final = f"INSERT INTO {WEBHOOK_ENDPOINTS} VALUES (%s, %s, %s, %s, %s, {_NOW})"  # noqa: S608
REMOVE_ENDPOINT: Final = f"DELETE FROM {WEBHOOK_ENDPOINTS} WHERE endpoint_id = %s"  # noqa: S608
REMOVE_NOTICES: Final = f"DELETE FROM {WEBHOOK_NOTICES} WHERE endpoint_id = %s LIMIT {_REMOVED_AT_ONCE}"  # noqa: S608
# A notice that is there stays as it is, delivered or not.
ADD_NOTICE: Final = (
    f"INSERT INTO {WEBHOOK_NOTICES} (endpoint_id, order_id, version, event, state, partition_no, attempts, next_at, changed_at, error, body)"  # noqa: S608
    f" VALUES (%s, %s, %s, %s, 'due', %s, 0, 0, {_NOW}, '', %s) ON DUPLICATE KEY UPDATE version = VALUES(version)"
)
WAITING: Final = (
    f"SELECT endpoint_id FROM {WEBHOOK_ENDPOINTS} e WHERE EXISTS (SELECT 1 FROM {WEBHOOK_NOTICES} n"  # noqa: S608
    f" WHERE n.state = 'due' AND n.endpoint_id = e.endpoint_id AND n.partition_no IN %s AND n.next_at <= {_NOW})"
)
# The notices of one order go one after the other: a later one waits until the earlier one is delivered, or dead.
DUE: Final = (
    f"SELECT endpoint_id, order_id, version, event, partition_no, body, attempts FROM {WEBHOOK_NOTICES} n"  # noqa: S608
    f" WHERE state = 'due' AND endpoint_id = %s AND partition_no IN %s AND next_at <= {_NOW} AND NOT EXISTS (SELECT 1 FROM {WEBHOOK_NOTICES} earlier"
    " WHERE earlier.endpoint_id = n.endpoint_id AND earlier.order_id = n.order_id AND earlier.version < n.version AND earlier.state = 'due') LIMIT %s"
)
KEEP: Final = (
    f"UPDATE {WEBHOOK_NOTICES} SET state = %s, attempts = %s, next_at = {_NOW} + %s, changed_at = {_NOW}, error = %s,"  # noqa: S608
    " body = IF(%s, NULL, body) WHERE endpoint_id = %s AND order_id = %s AND version = %s AND state = 'due'"
)
DEAD: Final = (
    f"SELECT endpoint_id, order_id, version, event, attempts, changed_at, error FROM {WEBHOOK_NOTICES}"  # noqa: S608
    " WHERE state = 'dead' AND (%s IS NULL OR endpoint_id = %s) ORDER BY changed_at, endpoint_id, order_id, version LIMIT %s"
)
REDRIVE: Final = (
    f"UPDATE {WEBHOOK_NOTICES} SET state = 'due', attempts = 0, next_at = 0, changed_at = {_NOW}"  # noqa: S608
    " WHERE state = 'dead' AND (%s IS NULL OR endpoint_id = %s) AND (%s IS NULL OR order_id = %s)"
)
COUNTS: Final = f"SELECT endpoint_id, state, COUNT(*) FROM {WEBHOOK_NOTICES} GROUP BY endpoint_id, state"  # noqa: S608


class Kept(NamedTuple):
    """What became of a try: `state` is due (again in `delay_ms`), delivered or dead."""

    notice: Notice
    state: str
    delay_ms: int = 0
    error: str = ""


class DeadNotice(NamedTuple):
    """A notice that was given up; `died_at` in ms since 1970 UTC."""

    endpoint_id: str
    order_id: int
    version: int
    event: str
    attempts: int
    died_at: int
    error: str


class Tables:
    """One connection, opened when it is first needed; for any thread, one at a time. Every call raises NotNowError while MySQL cannot work."""

    def __init__(self, mysql_url: str) -> None:
        self._address = MysqlAddress(mysql_url)
        self._connection: Connection | None = None
        self._lock = threading.Lock()

    def endpoints(self) -> list[Endpoint]:
        """Return every endpoint, oldest first."""
        return [_endpoint(row) for row in self._rows(ENDPOINTS)]

    def add_endpoint(self, url: str, user_id: str | None, events: Collection[str]) -> Endpoint:
        """Add an endpoint with a new secret; it hears of what is said from now on."""
        endpoint_id, secret = f"wh_{secrets.token_hex(8)}", secrets.token_bytes(SECRET_BYTES)
        with self._transaction() as cursor:
            cursor.execute(ADD_ENDPOINT, (endpoint_id, url, user_id, json.dumps(sorted(events)), secret))
        return next(endpoint for endpoint in self.endpoints() if endpoint.endpoint_id == endpoint_id)

    def remove_endpoint(self, endpoint_id: str) -> bool:
        """Remove an endpoint with its notices; say whether there was one."""
        with self._transaction() as cursor:
            found = cursor.execute(REMOVE_ENDPOINT, (endpoint_id,))
        removed = _REMOVED_AT_ONCE
        while removed == _REMOVED_AT_ONCE:
            with self._transaction() as cursor:
                removed = cursor.execute(REMOVE_NOTICES, (endpoint_id,))
        return bool(found)

    def add_notices(self, notices: Iterable[Notice]) -> None:
        """Keep notices; one that is there changes nothing."""
        rows = [(n.endpoint_id, n.order_id, n.version, n.event, n.partition, n.body) for n in notices]
        with self._transaction() as cursor:
            cursor.executemany(ADD_NOTICE, rows)

    def waiting(self, partitions: Collection[int]) -> set[str]:
        """Return the endpoints that have notices to send now."""
        return {endpoint_id for (endpoint_id,) in self._rows(WAITING, (tuple(partitions),))} if partitions else set()

    def due(self, endpoint_id: str, partitions: Collection[int], most: int) -> list[Notice]:
        """Return notices to send now, one per order at most."""
        rows = self._rows(DUE, (endpoint_id, tuple(partitions), most)) if partitions else ()
        return [Notice._make(row) for row in rows]

    def keep(self, kept: Sequence[Kept]) -> None:
        """Keep what became of notices, all or nothing."""
        with self._transaction() as cursor:
            for notice, state, delay_ms, error in kept:
                where = (notice.endpoint_id, notice.order_id, notice.version)
                cursor.execute(KEEP, (state, notice.attempts + 1, delay_ms, error[:255], state == "delivered", *where))

    def dead(self, endpoint_id: str | None, most: int) -> list[DeadNotice]:
        """Return notices that were given up, oldest first."""
        return [DeadNotice(*row) for row in self._rows(DEAD, (endpoint_id, endpoint_id, most))]

    def redrive(self, endpoint_id: str | None, order_id: int | None) -> int:
        """Make dead notices due again; return how many."""
        with self._transaction() as cursor:
            return cursor.execute(REDRIVE, (endpoint_id, endpoint_id, order_id, order_id))

    def counts(self) -> dict[tuple[str, str], int]:
        """Return how many notices there are, by endpoint and state."""
        return {(endpoint_id, state): count for endpoint_id, state, count in self._rows(COUNTS)}

    def close(self) -> None:
        """Let go of the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()

    def _rows(self, statement: str, values: tuple[Any, ...] = ()) -> Sequence[tuple[Any, ...]]:
        with self._transaction() as cursor:
            cursor.execute(statement, values)
            return cursor.fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[pymysql.cursors.Cursor]:
        """Commit what is done inside; after any error the connection is dropped, which rolls it back."""
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = connect(self._address, _SESSION)
                with self._connection.cursor() as cursor:
                    yield cursor
                self._connection.commit()
            except BaseException as error:
                self.close()
                if isinstance(error, pymysql.MySQLError | OSError | EOFError):
                    raise classified(error, self._address) from error
                raise


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    endpoint_id, url, user_id, events, secret, created_at = row
    return Endpoint(endpoint_id, url, user_id, frozenset(json.loads(events)), bytes(secret), created_at)
