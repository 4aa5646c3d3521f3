"""How far each load is, in MySQL (tables `loads` and `order_bindings`), so that it can be killed and started again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from typing import Final, TypeAlias

import pymysql
from pymysql.constants import ER

from ingest.config import connect, reason
from ingest.errors import LoadError, StoreError
from schemas.views import LOADS, ORDER_BINDINGS

Connection: TypeAlias = "pymysql.connections.Connection[pymysql.cursors.Cursor]"

LOCK_WAIT_S: Final = 3
_AT_ONCE: Final = 1_000

# Of the names in these statements every one is a constant of ours; every value is a parameter.
_READ = f"SELECT rows_done, progress, finished_at IS NOT NULL FROM {LOADS} WHERE source = %s"  # noqa: S608
_FRESH = "rows_done = 0, finished_at = NULL, started_at = UTC_TIMESTAMP(3), updated_at = UTC_TIMESTAMP(3)"
_BEGIN = f"INSERT INTO {LOADS} SET source = %s, progress = %s, {_FRESH} ON DUPLICATE KEY UPDATE progress = VALUES(progress), {_FRESH}"
_SAVE = f"UPDATE {LOADS} SET rows_done = %s, progress = %s, updated_at = UTC_TIMESTAMP(3) WHERE source = %s"  # noqa: S608
_FINISH = f"UPDATE {LOADS} SET finished_at = UTC_TIMESTAMP(3) WHERE source = %s"  # noqa: S608
_BOUND = f"SELECT external_id, order_id FROM {ORDER_BINDINGS} WHERE source = %s AND external_id IN "  # noqa: S608
_BIND = f"INSERT INTO {ORDER_BINDINGS} (source, external_id, order_id) VALUES "  # noqa: S608
_AS_IT_IS = " ON DUPLICATE KEY UPDATE order_id = order_id"


@dataclass(frozen=True)
class Progress:
    """Where a load is. `share` is its opening stock as a share of demand, in decimal; `opened`: the stock agent has taken that."""

    file: str
    digest: str
    rows: int
    share: str
    opened: bool = False
    rows_done: int = 0
    finished: bool = False


def resume(before: Progress | None, now: Progress, share_given: bool, resend: bool, source: str) -> Progress:
    """Return where a load of `now`'s file begins, given where an earlier one under the same source came to (pure).

    Raises LoadError if that was another file, or had another opening stock and this one is asked for by name.
    """
    if before is None:
        return now
    if before.digest != now.digest:
        found = f"{before.file} with {before.rows:,} rows (sha256 {before.digest[:12]})"
        raise LoadError(f"source {source!r} was loaded from another file, {found}; {now.file} is sha256 {now.digest[:12]}: give it a --source of its own")
    if share_given and Decimal(before.share) != Decimal(now.share):
        raise LoadError(f"source {source!r} began with --opening-stock {before.share}, not {now.share}: its opening stock cannot change any more")
    return Progress(before.file, before.digest, before.rows, before.share) if resend else before


class LoadState:
    """The state of one source's load, for the one process that holds the source's lock."""

    def __init__(self, connection: Connection, source: str) -> None:
        self._connection = connection
        self._source = source
        self._unknown = False
        """Whether no name of the latest ones had an ID before: the next are inserted unasked."""

    def read(self) -> Progress | None:
        """Return where the last load of this source came to."""
        with _cursor(self._connection) as cursor:
            cursor.execute(_READ, (self._source,))
            row = cursor.fetchone()
        return Progress(**{**json.loads(row[1]), "rows_done": row[0], "finished": bool(row[2])}) if row else None

    def begin(self, progress: Progress) -> None:
        """Write a load that starts from its first row."""
        self._write(_BEGIN, (self._source, _document(progress)))

    def save(self, progress: Progress) -> None:
        """Write how far the load is."""
        self._write(_SAVE, (progress.rows_done, _document(progress), self._source))

    def finish(self) -> None:
        """Write that every row is in the log."""
        self._write(_FINISH, (self._source,))

    def bind(self, names: Collection[str], take_ids: Callable[[list[str]], list[int]]) -> dict[str, int]:
        """Return the order ID of each name; names without one are bound to new IDs, durably, before this returns.

        `take_ids` gives a new ID for each of the names it is called with.
        """
        bound = {} if self._unknown else self._bound(names)
        self._unknown = not bound
        new = [name for name in names if name not in bound]
        return bound | self._bind_new(dict(zip(new, take_ids(new), strict=True))) if new else bound

    def _bind_new(self, ids: dict[str, int]) -> dict[str, int]:
        """Bind names to these IDs; where somebody was faster, to those that are there."""
        rows, alone = list(ids.items()), True
        with _cursor(self._connection) as cursor:
            for at in range(0, len(rows), _AT_ONCE):
                some = rows[at : at + _AT_ONCE]
                statement = _BIND + ",".join(["(%s,%s,%s)"] * len(some))
                alone &= _inserted(cursor, statement, [value for name, order_id in some for value in (self._source, name, order_id)])
        self._unknown &= alone
        return ids if alone else self._bound(ids)

    def _bound(self, names: Collection[str]) -> dict[str, int]:
        bound: dict[str, int] = {}
        listed = list(names)
        for at in range(0, len(listed), _AT_ONCE):
            some = listed[at : at + _AT_ONCE]
            with _cursor(self._connection) as cursor:
                cursor.execute(_BOUND + f"({', '.join(['%s'] * len(some))})", (self._source, *some))
                bound |= dict(cursor.fetchall())
        return bound

    def _write(self, statement: str, values: tuple[object, ...]) -> None:
        with _cursor(self._connection) as cursor:
            cursor.execute(statement, values)


def _inserted(cursor: pymysql.cursors.Cursor, statement: str, values: list[object]) -> bool:
    """Insert rows; False where some are there already, which stay: our lock was lost with its connection, and another load has been here."""
    try:
        cursor.execute(statement, values)
        return True
    except pymysql.IntegrityError as error:
        if error.args[0] != ER.DUP_ENTRY:
            raise
    cursor.execute(statement + _AS_IT_IS, values)
    return False


@contextmanager
def load_state(mysql_url: str, source: str) -> Iterator[LoadState]:
    """Open the state of a source's load, locked against other loads of it; raises LoadError while one is running."""
    connection = connect(mysql_url)
    try:
        _lock(connection, source)
        yield LoadState(connection, source)
    finally:
        connection.close()


def _lock(connection: Connection, source: str) -> None:
    """A lock of the server ends with our connection, however that ends; its name is of the server, not of the database."""
    with _cursor(connection) as cursor:
        cursor.execute("SELECT DATABASE()")
        (database,) = cursor.fetchone() or ("",)
        name = "holdfast.load." + hashlib.sha256(f"{database}/{source}".encode()).hexdigest()[:32]
        cursor.execute("SELECT GET_LOCK(%s, %s)", (name, LOCK_WAIT_S))
        if cursor.fetchone() != (1,):
            raise LoadError(f"another load of source {source!r} is running: wait for it, or end it, then run the same command again")


def _document(progress: Progress) -> str:
    return json.dumps({k: v for k, v in asdict(progress).items() if k not in {"rows_done", "finished"}})


@contextmanager
def _cursor(connection: Connection) -> Iterator[pymysql.cursors.Cursor]:
    """One transaction."""
    try:
        with connection.cursor() as cursor:
            yield cursor
        connection.commit()
    except pymysql.MySQLError as error:
        raise StoreError(f"the database did not do what the load needs ({reason(error)}): when it is well again, run the same command") from error
