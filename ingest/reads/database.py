"""One MySQL database to read from: connections are kept and opened again, a database that failed is left alone for a moment."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import pymysql
from pymysql.constants import ER

from ingest.config import connect, reason
from ingest.errors import StoreError
from ingest.reads.breaker import Breaker

Connection: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"
Rows: TypeAlias = Sequence[Sequence[Any]]
Query: TypeAlias = tuple[str, Sequence[Any]]
"""A statement and its parameters."""

TIMEOUT_S: Final = 2.0
"""For connecting, and for each answer."""


class Database:
    """For any number of threads: each works with a connection of its own."""

    def __init__(self, mysql_url: str, timeout_s: float = TIMEOUT_S, breaker: Breaker | None = None) -> None:
        self._url = mysql_url
        self._timeout_s = timeout_s
        self._breaker = breaker or Breaker()
        self.idle: list[Connection] = []

    def select(self, *queries: Query) -> list[Rows]:
        """Run the queries in one transaction, so that all rows are of the same moment; raises StoreError."""
        if not self._breaker.allows():
            raise self._error("it failed a moment ago")
        began = time.monotonic()
        kept = self._kept()
        try:
            try:
                answers = self._select_on(kept or connect(self._url, self._timeout_s), queries)
            except (pymysql.MySQLError, OSError) as error:
                if (kept is None and not _met_a_swap(error)) or time.monotonic() - began > self._timeout_s / 2:
                    raise
                # A connection that lay idle may be dead without being at fault: once more on a new one.
                answers = self._select_on(connect(self._url, self._timeout_s), queries)
        except (pymysql.MySQLError, OSError, StoreError) as error:
            self._breaker.failed()
            raise self._error(reason(error) if isinstance(error, pymysql.MySQLError) else str(error)) from error
        self._breaker.worked()
        return answers

    def close(self) -> None:
        """Let go of the connections that nobody uses."""
        while (connection := self._kept()) is not None:
            _drop(connection)

    def _kept(self) -> Connection | None:
        try:
            return self.idle.pop()
        except IndexError:
            return None

    def _select_on(self, connection: Connection, queries: Sequence[Query]) -> list[Rows]:
        try:
            with connection.cursor() as cursor:
                answers: list[Rows] = []
                for statement, values in queries:
                    cursor.execute(statement, values)
                    answers.append(cursor.fetchall())
            connection.rollback()
        except BaseException:
            _drop(connection)
            raise
        self.idle.append(connection)
        return answers

    def _error(self, why: str) -> StoreError:
        at = urlsplit(self._url)
        # The connection's own error names the address already.
        return StoreError(why if why.startswith("MySQL at ") else f"MySQL at {at.hostname}:{at.port or 3306} does not answer: {why}")


def _met_a_swap(error: Exception) -> bool:
    """Say whether rebuilt tables took the place of those that were being read (`holdfast replay stores`)."""
    return isinstance(error, pymysql.MySQLError) and error.args[:1] in {(ER.LOCK_DEADLOCK,), (ER.TABLE_DEF_CHANGED,), (ER.NO_SUCH_TABLE,)}


def _drop(connection: Connection) -> None:
    with suppress(pymysql.MySQLError, OSError):
        connection.close()
