"""The MySQL store: a batch and its positions are one transaction."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, TypeAlias

import pymysql
from pymysql.constants import CR, ER

import failpoints
from schemas.secure import mysql_settings
from sinks import sql
from sinks.batch import Batch, Move
from sinks.config import MysqlAddress
from sinks.errors import NotNowError, PositionMovedError, SinkError
from sinks.rows import Partition
from sinks.store import compare

Connection: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"
Statements: TypeAlias = "Callable[[Batch, int], Iterator[sql.Statement]]"
"""What writes a batch, in statements of so many bytes at most."""

CONNECT_TIMEOUT_S: Final = 5
ANSWER_TIMEOUT_S: Final = 30
# Strict: a value that does not fit is an error, never cut. Named in full, so that escaping does not depend on the server's own.
SQL_MODE: Final = "STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION"
SESSION: Final = (
    # No locks on gaps, over which two sinks would wait for each other's new rows.
    "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    # A sink that was stopped, or cut off, in the middle of a transaction still holds its positions' locks: the server
    # must end it, or whoever takes over its partitions waits for ever. A sink that lives asks something every second.
    "SET SESSION wait_timeout = 10, net_read_timeout = 10, net_write_timeout = 10",
    # The second of the two is for tables: a backup, an ALTER or somebody's LOCK TABLES would else hold us for a day.
    "SET SESSION innodb_lock_wait_timeout = 5, lock_wait_timeout = 5",
)
# A statement of one row and what stands around it takes a few KiB; below this the server takes nothing of ours.
LEAST_PACKET: Final = 16 * 1024
# Room for the command byte in front of a statement, and then some.
PACKET_MARGIN: Final = 1024

_WRITE_FAILED: Final = 3
_CONNECTION_KILLED: Final = 1927
_STATEMENT_TIMEOUT: Final = 1969
_DISCONNECTED_FOR_IDLENESS: Final = 4031
_READ_ONLY_MODE: Final = 1836
_READ_ONLY_TRANSACTION: Final = 1792
# What goes away by itself: the server is stopping, starting, full, read-only for a failover, or two writers met.
NOT_NOW: Final = frozenset(
    {
        *(CR.CR_CONNECTION_ERROR, CR.CR_CONN_HOST_ERROR, CR.CR_SERVER_GONE_ERROR, CR.CR_SERVER_LOST, CR.CR_SERVER_LOST_EXTENDED),
        *(ER.SERVER_SHUTDOWN, ER.NORMAL_SHUTDOWN, ER.CON_COUNT_ERROR, ER.TOO_MANY_USER_CONNECTIONS, ER.HOST_IS_BLOCKED),
        *(ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK, ER.OPTION_PREVENTS_STATEMENT, _READ_ONLY_MODE, _READ_ONLY_TRANSACTION, ER.QUERY_INTERRUPTED),
        *(ER.DISK_FULL, ER.RECORD_FILE_FULL, ER.OUT_OF_RESOURCES, ER.OUTOFMEMORY, ER.CANT_CREATE_THREAD, ER.GET_ERRNO),
        *(ER.NET_READ_ERROR, ER.NET_READ_INTERRUPTED, ER.NET_ERROR_ON_WRITE, ER.NET_WRITE_INTERRUPTED, ER.NEW_ABORTING_CONNECTION),
        *(_WRITE_FAILED, ER.ERROR_ON_WRITE, ER.ERROR_DURING_COMMIT, ER.USER_LIMIT_REACHED, ER.TABLE_DEF_CHANGED),
        *(_CONNECTION_KILLED, _DISCONNECTED_FOR_IDLENESS, _STATEMENT_TIMEOUT, ER.NET_PACKET_TOO_LARGE),
    }
)
NO_TABLES: Final = frozenset({ER.NO_SUCH_TABLE, ER.BAD_FIELD_ERROR, ER.BAD_DB_ERROR})
NO_ENTRY: Final = frozenset(
    {ER.ACCESS_DENIED_ERROR, ER.DBACCESS_DENIED_ERROR, ER.TABLEACCESS_DENIED_ERROR, ER.COLUMNACCESS_DENIED_ERROR, ER.HOST_NOT_PRIVILEGED}
)
MISSING_TABLES_DELAY_S: Final = 2.0
PACKET_DELAY_S: Final = 2.0


class MysqlStore:
    """Keeps batches in the MySQL tables of schemas/views.py, or what `statements` takes of them. One connection, opened when it is first needed.

    `positions` is the name under which its positions are in its database: it is another one for each share of what a batch holds.
    """

    name = "mysql"

    def __init__(self, mysql_url: str, statements: Statements = sql.statements, positions: str = "mysql") -> None:
        self._address = MysqlAddress(mysql_url)
        self._statements = statements
        self._name = positions
        self._connection: Connection | None = None
        self._largest = LEAST_PACKET

    def open(self, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See Store. A new position is committed at once: a row that is missing later means that the database was lost.

        A table or column that is missing is heard of here, before anything is read for it.
        """
        with self._transaction() as cursor:
            for statement in sql.PROBES:
                cursor.execute(statement)
            cursor.executemany(sql.ADD_POSITION, [(self._name, topic, number) for topic, number in sorted(partitions)])
        found = self.positions()
        return {partition: found[partition] for partition in partitions}

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Store. The positions come first: they lock out a second writer, which then finds that they have moved."""
        with self._transaction() as cursor:
            for (topic, number), move in moves.items():
                if cursor.execute(sql.MOVE_POSITION, (move.next, self._name, topic, number, move.expected)) != 1:
                    raise PositionMovedError(f"{topic}[{number}] is not at {move.expected}")
            failpoints.reach("sink-mysql.positions-locked")
            for statement in self._statements(batch, self._largest):
                _carry_out(cursor, statement)
                failpoints.reach("sink-mysql.half-written")
            failpoints.reach("sink-mysql.written-before-commit")

    def check(self, positions: Mapping[Partition, int]) -> None:
        """See Store."""
        if difference := compare(positions, self.positions()):
            raise PositionMovedError(difference)

    def close(self) -> None:
        """See Store."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()

    def positions(self) -> dict[Partition, int]:
        """Return where every partition stands."""
        with self._transaction() as cursor:
            cursor.execute(sql.READ_POSITIONS, (self._name,))
            return {(topic, number): position for topic, number, position in cursor.fetchall()}

    @contextmanager
    def _transaction(self) -> Iterator[pymysql.cursors.Cursor]:
        """Commit what is done inside; after any error the connection is dropped, which rolls it back."""
        try:
            if self._connection is None:
                self._connection = connect(self._address)
                self._largest = _largest_statement(self._connection, self._address)
            with self._connection.cursor() as cursor:
                yield cursor
            with failpoints.meanwhile("sink-mysql.commit-sent"):
                self._connection.commit()
        except BaseException as error:
            self.close()
            if isinstance(error, pymysql.MySQLError | OSError | EOFError):
                raise classified(error, self._address) from error
            raise


def _carry_out(cursor: pymysql.cursors.Cursor, statement: sql.Statement) -> None:
    if isinstance(statement, str):
        cursor.execute(statement)
    elif cursor.execute(statement.text) != statement.rows:
        for each in statement.otherwise():
            cursor.execute(each)


def classified(error: Exception, address: MysqlAddress) -> Exception:
    """Return what an error of the driver means: NotNowError, SinkError, or the error itself when it was not foreseen."""
    code = error.args[0] if isinstance(error, pymysql.MySQLError) and error.args else None
    said = str(error.args[-1]) if error.args else type(error).__name__
    if code in NO_TABLES:
        return NotNowError(f"{address} lacks what the sink writes ({said}): run `holdfast migrate`", MISSING_TABLES_DELAY_S)
    if code in NO_ENTRY:
        return SinkError(f"MySQL does not let us into {address}: {said}")
    lost = not isinstance(error, pymysql.MySQLError) or isinstance(error, pymysql.InterfaceError)
    # Without a code: the driver met bytes out of sequence, as on a connection that broke in the middle.
    broken = isinstance(error, pymysql.InternalError) and not isinstance(code, int)
    return NotNowError(f"MySQL at {address}: {said}") if code in NOT_NOW or lost or broken else error


def connect(at: MysqlAddress, session: Iterable[str] = SESSION, answer_s: float | None = ANSWER_TIMEOUT_S) -> Connection:
    """Open a connection and set its session up; `answer_s` (None: any time) is for each answer. Raises what pymysql raises (see `classified`)."""
    connection = pymysql.connect(
        host=at.host,
        port=at.port,
        user=at.user,
        password=at.password,
        database=at.database,
        charset="utf8mb4",
        sql_mode=SQL_MODE,
        connect_timeout=CONNECT_TIMEOUT_S,
        read_timeout=answer_s,
        write_timeout=answer_s,
        **mysql_settings(),
    )
    with connection.cursor() as cursor:
        for statement in session:
            cursor.execute(statement)
    return connection


def _largest_statement(connection: Connection, address: MysqlAddress) -> int:
    """Return how many bytes a statement may have; raises NotNowError where that is too few for any of ours."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT @@max_allowed_packet")
        (allowed,) = cursor.fetchone() or (0,)
    if allowed < LEAST_PACKET:
        raise NotNowError(f"MySQL at {address} takes packets of {allowed} bytes at most: set max_allowed_packet to {LEAST_PACKET} or more", PACKET_DELAY_S)
    return int(allowed) - PACKET_MARGIN
