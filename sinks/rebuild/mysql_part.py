"""Tables rebuilt in a database of their own on the same server, and one RENAME TABLE that puts them in the live ones' place.

The live positions' rows are the gate: every transaction of a sink begins by moving them, so whoever locks them stops the sink
before its first row. They stay where they are, which is why a sink goes on after the swap without having noticed (docs/decisions/0015).
"""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import quote, urlsplit

import pymysql
from pymysql.constants import ER
from pymysql.cursors import SSCursor

from schemas import views
from sinks.batch import Batch, Move
from sinks.config import MysqlAddress
from sinks.errors import NotNowError, SinkError
from sinks.mysql_sink import Connection, MysqlStore, Statements, classified, connect
from sinks.rebuild import statements as sql
from sinks.rebuild.part import CatchUp, Differences, Listener
from sinks.rebuild.selection import Chosen, Selection, in_chunks
from sinks.rows import Partition

BESIDE: Final = "_rebuild"
LONGEST_NAME: Final = 64
STATE: Final = "rebuild_state"
RENAME_WAIT_S: Final = 1
"""For readers of the live tables. While a RENAME waits, everybody after it waits too: so it gives up soon, and tries again."""
RENAME_TRIES: Final = 60
PAUSE_S: Final = 1.0
SESSION: Final = (
    "SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    f"SET SESSION innodb_lock_wait_timeout = 10, lock_wait_timeout = {RENAME_WAIT_S}, wait_timeout = 600, net_read_timeout = 600, net_write_timeout = 600",
)
_BUSY: Final = frozenset({ER.LOCK_WAIT_TIMEOUT, ER.LOCK_DEADLOCK})


class MysqlPart:
    """One database's `tables`, filled by what the sink's own `statements` are, under the sink's name of its positions."""

    def __init__(self, url: str, tables: Sequence[str], statements: Statements, positions: str) -> None:
        self._address = MysqlAddress(url)
        name = self._address.database + BESIDE
        if len(name) > LONGEST_NAME:
            raise SinkError(f"no database can be made beside {self._address}: its name would be longer than {LONGEST_NAME} characters")
        self._live, self._beside = sql.quoted(self._address.database), sql.quoted(name)
        self._tables = tuple(tables)
        self.name = positions
        self._store = MysqlStore(urlsplit(url)._replace(path="/" + quote(name, safe="")).geturl(), statements, positions)
        self._selection = Selection()

    # -- beside --------------------------------------------------------------------------------------------------------

    def begin(self, selection: Selection, partitions: Collection[Partition]) -> dict[Partition, int]:
        """See Part. Only a rebuild of everything goes on where it was: of a selection, who belongs to it is in nobody's memory any more."""
        self._selection = selection
        with self._work() as cursor:
            if not self._goes_on(cursor):
                self._make_anew(cursor)
        return self._store.open(partitions)

    def write(self, batch: Batch, moves: Mapping[Partition, Move]) -> None:
        """See Part."""
        self._store.write(batch, moves)

    def finish_bulk(self) -> None:
        """See Part: the indexes, which cost less once than row by row."""
        with self._work() as cursor:
            for table in self._tables:
                wanted, there = (sql.secondary_keys(self._created(cursor, database, table)) for database in (self._live, self._beside))
                if missing := [definition for name, definition in wanted.items() if name not in there]:
                    cursor.execute(f"ALTER TABLE {self._beside}.{table} " + ", ".join(f"ADD {definition}" for definition in missing))

    def rows(self) -> int:
        """See Part."""
        with self._work() as cursor:
            return sum(_number(cursor, f"SELECT COUNT(*) FROM {self._beside}.{table}") for table in self._compared())  # noqa: S608

    def clean(self) -> None:
        """See Part."""
        self._store.close()
        with self._work() as cursor:
            cursor.execute(f"DROP DATABASE IF EXISTS {self._beside}")

    def close(self) -> None:
        """See Part."""
        self._store.close()

    def _goes_on(self, cursor: Any) -> bool:
        if self._selection.is_whole and self._has(cursor, STATE):
            cursor.execute(f"SELECT selection FROM {self._beside}.{STATE} WHERE part = %s", (self.name,))  # noqa: S608
            left = cursor.fetchone()
            return left is not None and left[0] == str(self._selection) and all(self._has(cursor, table) for table in self._tables)
        return False

    def _make_anew(self, cursor: Any) -> None:
        """The state comes last: what has none was left half-made."""
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {self._beside}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._beside}.{STATE} (part VARCHAR(16) NOT NULL PRIMARY KEY, selection VARCHAR(255) NOT NULL)")
        cursor.execute(f"DELETE FROM {self._beside}.{STATE} WHERE part = %s", (self.name,))  # noqa: S608
        cursor.connection.commit()
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._beside}.{views.SINK_POSITIONS} LIKE {self._live}.{views.SINK_POSITIONS}")
        cursor.execute(f"DELETE FROM {self._beside}.{views.SINK_POSITIONS} WHERE sink = %s", (self.name,))  # noqa: S608
        for table in sql.KEYS:
            self._make_table(cursor, table)
        for column, names in dict.fromkeys(sql.CHOSEN.values()):
            cursor.execute(f"DROP TABLE IF EXISTS {self._beside}.{names}")
            cursor.execute(f"CREATE TABLE {self._beside}.{names} AS SELECT {column} FROM {self._live}.{_OWNER[names]} LIMIT 0")  # noqa: S608
            cursor.execute(f"ALTER TABLE {self._beside}.{names} ADD PRIMARY KEY ({column})")
        cursor.execute(f"INSERT INTO {self._beside}.{STATE} (part, selection) VALUES (%s, %s)", (self.name, str(self._selection)))  # noqa: S608

    def _make_table(self, cursor: Any, table: str) -> None:
        """Make a table as the live one is, without its secondary indexes. One that another part fills is only there for the sink's own probes."""
        if table not in self._tables:
            cursor.execute(f"CREATE TABLE IF NOT EXISTS {self._beside}.{table} LIKE {self._live}.{table}")
            return
        for name in (table, sql.REPLACED + table):
            cursor.execute(f"DROP TABLE IF EXISTS {self._beside}.{name}")
        cursor.execute(f"CREATE TABLE {self._beside}.{table} LIKE {self._live}.{table}")
        if keys := sql.secondary_keys(self._created(cursor, self._beside, table)):
            cursor.execute(f"ALTER TABLE {self._beside}.{table} " + ", ".join(f"DROP KEY {name}" for name in keys))

    def _has(self, cursor: Any, table: str) -> bool:
        query = "SELECT COUNT(*) FROM information_schema.tables WHERE table_schema = %s AND table_name = %s"
        return _number(cursor, query, (self._address.database + BESIDE, table)) == 1

    def _created(self, cursor: Any, database: str, table: str) -> str:
        cursor.execute(f"SHOW CREATE TABLE {database}.{table}")
        return str(cursor.fetchone()[1])

    # -- beside the live ones --------------------------------------------------------------------------------------------

    def live_positions(self) -> dict[Partition, int]:
        """See Part."""
        with self._work() as cursor:
            return self._read_positions(cursor, "")

    def compare(self, chosen: Chosen, catch_up: CatchUp) -> Differences:
        """See Part. The sinks stand still from the moment at which both are brought to one place until a snapshot of both is taken."""
        with self._work(SSCursor) as cursor:
            with self._gate() as positions:
                catch_up(positions)
                self._name_chosen(chosen)
                cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT")
            found = Differences()
            for table in self._compared():
                cursor.execute(sql.differing(self._live, self._beside, table, chosen=not self._selection.is_whole))
                for what, *key in cursor:
                    found.add(what, f"{self.name}:{table}", " ".join(map(str, key)))
            return found

    def swap(self, chosen: Chosen, catch_up: CatchUp, listen: Listener) -> None:
        """See Part."""
        for attempt in range(1, RENAME_TRIES + 1):
            listen(f"{self.name}: swapping", attempt - 1, 0)
            try:
                with self._gate() as positions:
                    catch_up(positions)
                    listen(f"{self.name}: in the gate", attempt - 1, 0)
                    self._put_in_place(chosen)
                listen(f"{self.name}: swapped", 1, 1)
                return
            except NotNowError as error:
                if attempt == RENAME_TRIES:
                    raise SinkError(f"{error}: somebody keeps reading or changing the live tables; nothing was swapped there, run it again") from error
            # Out of the gate: the sinks and readers that waited have their turn.
            time.sleep(PAUSE_S)

    def _put_in_place(self, chosen: Chosen) -> None:
        with self._work() as cursor:
            if self._selection.is_whole:
                cursor.execute(sql.renaming(self._live, self._beside, self._tables))
                return
            self._name_chosen(chosen)
            for table in self._compared():
                for statement in sql.mending(self._live, self._beside, table):
                    cursor.execute(statement)

    def _compared(self) -> list[str]:
        return [table for table in self._tables if self._selection.is_whole or table in sql.CHOSEN]

    def _name_chosen(self, chosen: Chosen) -> None:
        if self._selection.is_whole:
            return
        with self._work() as cursor:
            for names, keys in (("chosen_products", chosen.products), ("chosen_orders", chosen.orders)):
                for some in in_chunks(keys, 1_000):
                    cursor.executemany(f"INSERT IGNORE INTO {self._beside}.{names} VALUES (%s)", [(key,) for key in some])  # noqa: S608

    @contextmanager
    def _gate(self) -> Iterator[dict[Partition, int]]:
        """Keep the sinks from writing rows; yields where the live rows stand. A process that dies here opens the gate with its connection."""
        with self._work() as cursor:
            yield self._read_positions(cursor, " FOR UPDATE")

    def _read_positions(self, cursor: Any, lock: str) -> dict[Partition, int]:
        query = f"SELECT topic, partition_no, position FROM {self._live}.{views.SINK_POSITIONS} WHERE sink = %s{lock}"  # noqa: S608
        cursor.execute(query, (self.name,))
        return {(topic, number): position for topic, number, position in cursor.fetchall()}

    @contextmanager
    def _work(self, kind: Any = None) -> Iterator[Any]:
        """A connection of its own, committed at the end; errors as the sink has them."""
        connection: Connection | None = None
        try:
            connection = connect(self._address, SESSION, answer_s=None)
            with connection.cursor(kind) as cursor:
                yield cursor
            connection.commit()
        except (pymysql.MySQLError, OSError) as error:
            raise self._meaning(error) from error
        finally:
            if connection is not None:
                connection.close()

    def _meaning(self, error: Exception) -> Exception:
        if isinstance(error, pymysql.MySQLError) and error.args and error.args[0] in _BUSY:
            return NotNowError(f"MySQL at {self._address}: {error.args[-1]}")
        found = classified(error, self._address)
        return found if isinstance(found, SinkError | NotNowError) else SinkError(f"MySQL at {self._address}: {error.args[-1] if error.args else error}")


_OWNER: Final = {"chosen_products": views.PRODUCTS, "chosen_orders": views.ORDERS}


def _number(cursor: Any, query: str, values: Sequence[Any] = ()) -> int:
    cursor.execute(query, values)
    return int(cursor.fetchone()[0])
