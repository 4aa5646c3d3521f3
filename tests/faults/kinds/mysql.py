"""What is done to MariaDB. The stack's user may not do half of it: the server's own administrator does."""

from __future__ import annotations

import getpass
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from random import Random
from typing import Any

import pymysql

from holdfast.stack.addresses import MysqlAddress
from schemas import views
from tests.faults.fault import CannotStrikeError, Fault, Heal
from tests.faults.kinds.disk import fill
from tests.faults.site import Site
from tests.faults.strikes import frozen, sent

Connection = Any
REACHABLE_WITHIN_S = 20.0
SMALL_PACKET = 16 * 1024
WEIGHT = "holdfast_faults.weight"
HEAVIER = 5_000  # rows: more than the sink's transactions change
LAST_ORDER = 2**63 - 1
STUFFED_AT_ONCE = 500
MOST_STUFFING = 2_000
STUFFING = {
    views.ORDERS: "{first} - seq, CONCAT('u', seq), '', '', 0, '', 0, 0, 0, 0, 0, NOW(3), NOW(3), NOW(3)",
    views.ORDER_LINES: "{first} - seq, 1, REPEAT('x', 64), 0, 0, '', '', 0, 0",
}
"""Rows for each table whose order IDs nobody has: they hold no lock that the sink needs."""
LEAST_CONNECTIONS = 10  # the server allows no smaller number
CLIENT = {"connect_timeout": 5, "read_timeout": 30, "autocommit": True}


def kill_connections(site: Site, random: Random) -> None:
    """Again and again for a second or two, so that some are in the middle of a transaction."""
    for _ in range(8):
        with administrator(site) as connection:
            _kill_ours(connection)
        time.sleep(random.uniform(0.02, 0.3))


def deadlock(site: Site, random: Random) -> Heal:
    """Take locks in the order opposite to the sink's, over and over: products from the last to the first, then the positions.

    The server ends the lighter of the two transactions: ours weighs what it wrote elsewhere before.
    """
    gaps = [random.uniform(0.05, 0.4) for _ in range(50)]

    def once(cursor: Any, gap: float) -> None:
        cursor.execute(f"INSERT INTO {WEIGHT} SELECT seq FROM seq_1_to_{HEAVIER}")
        cursor.execute(f"SELECT product_id FROM {views.PRODUCTS} ORDER BY product_id DESC LIMIT 20 FOR UPDATE")
        time.sleep(gap)
        cursor.execute(f"SELECT position FROM {views.SINK_POSITIONS} FOR UPDATE")

    with administrator(site) as connection, connection.cursor() as cursor:
        cursor.execute(f"CREATE DATABASE IF NOT EXISTS {WEIGHT.partition('.')[0]}")
        cursor.execute(f"CREATE TABLE IF NOT EXISTS {WEIGHT} (n INT NOT NULL PRIMARY KEY) ENGINE=InnoDB")
    return _meanwhile(site, lambda cursor, i: once(cursor, gaps[i % len(gaps)]))


def lock_positions(site: Site, _random: Random) -> Heal:
    return _hold(lambda: customer(site), "BEGIN", f"SELECT position FROM {views.SINK_POSITIONS} FOR UPDATE")


def lock_table(site: Site, _random: Random) -> Heal:
    return _hold(lambda: customer(site), f"LOCK TABLES {views.ORDER_LINES} WRITE")


def lock_everything(site: Site, _random: Random) -> Heal:
    """What a backup does."""
    return _hold(lambda: _administrator(site), "FLUSH TABLES WITH READ LOCK")


def read_only(site: Site, _random: Random) -> Heal:
    return _set_global(site, "read_only", 1, 0)


def no_connections(site: Site, _random: Random) -> Heal:
    """Fewer connections than there are, and others have all of them."""
    others: list[Connection] = []
    with administrator(site) as connection:
        heal = _set_global(site, "max_connections", LEAST_CONNECTIONS, 100)
        with suppress(pymysql.MySQLError, OSError):
            _kill_ours(connection)
            while len(others) <= LEAST_CONNECTIONS:
                others.append(customer(site))
    return lambda: _nothing([_close(other) for other in others], heal())


def small_packets(site: Site, _random: Random) -> Heal:
    """The server asks at each connection how much it may be sent."""
    with administrator(site) as connection:
        heal = _set_global(site, "max_allowed_packet", SMALL_PACKET, 64 * 1024 * 1024)
        with suppress(pymysql.MySQLError, OSError):
            _kill_ours(connection)
    return heal


def fill_disk(site: Site, _random: Random) -> Heal:
    """Fill the file system, then what room the biggest tables have left within themselves, by rows that are never committed."""
    sessions = {table: reach(lambda: customer(site)) for table in STUFFING}
    make_room = fill(site.home.data("mariadb"))
    for table, session in sessions.items():
        _stuff(session, table)
    return lambda: _nothing(make_room(), [_close(session) for session in sessions.values()])


def _stuff(connection: Connection, table: str) -> None:
    """Add rows until the table takes no more, or the server is gone for lack of room."""
    with suppress(pymysql.MySQLError, OSError), connection.cursor() as cursor:
        cursor.execute("BEGIN")
        for i in range(MOST_STUFFING):
            columns = STUFFING[table].format(first=LAST_ORDER - i * STUFFED_AT_ONCE)
            cursor.execute(f"INSERT INTO {table} SELECT {columns} FROM seq_1_to_{STUFFED_AT_ONCE}")


FAULTS = (
    Fault("MariaDB killed", "kill -9 of the database; the supervisor starts it again", sent("mariadb", signal.SIGKILL)),
    Fault("MariaDB restarted", "SIGTERM to the database; the supervisor starts it again", sent("mariadb", signal.SIGTERM)),
    Fault("MariaDB frozen", "SIGSTOP of the database, then SIGCONT", frozen("mariadb"), lasts_s=8),
    Fault("MariaDB connections killed", "KILL of every connection of ours, eight times", kill_connections),
    Fault("MariaDB deadlocks", "another session locks products and positions in the opposite order, over and over", deadlock, lasts_s=6),
    Fault("MariaDB rows locked", "another session holds the sink's positions for longer than a lock is waited for", lock_positions, lasts_s=8),
    Fault("MariaDB table locked", "LOCK TABLES by another session", lock_table, lasts_s=8),
    Fault("MariaDB locked by a backup", "FLUSH TABLES WITH READ LOCK", lock_everything, lasts_s=8),
    Fault("MariaDB read-only", "SET GLOBAL read_only = 1", read_only, lasts_s=6),
    Fault("MariaDB out of connections", "others have all the connections there may be, ours are killed", no_connections, lasts_s=6),
    Fault("MariaDB takes small packets only", f"max_allowed_packet = {SMALL_PACKET}, and new connections", small_packets, lasts_s=6),
    Fault("MariaDB disk full", "its file system is filled to the last byte", fill_disk, lasts_s=8),
)


# ---------------------------------------------------------------------- connections


@contextmanager
def administrator(site: Site) -> Iterator[Connection]:
    """A connection that may do everything, by the server's socket and the name of who runs it."""
    connection = reach(lambda: _administrator(site))
    try:
        yield connection
    finally:
        connection.close()


def _administrator(site: Site) -> Connection:
    # By the folder's descriptor: the full path of a socket may have 107 characters at most.
    folder = os.open(site.home.data("mariadb") / "files", os.O_RDONLY | os.O_DIRECTORY)
    try:
        return pymysql.connect(unix_socket=f"/proc/self/fd/{folder}/server.sock", user=getpass.getuser(), **CLIENT)
    finally:
        os.close(folder)


def customer(site: Site) -> Connection:
    """A connection of the kind that the sink has."""
    at = MysqlAddress.parse(site.endpoints.mysql)
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, **CLIENT)


def reach(connect: Callable[[], Connection]) -> Connection:
    """Connect to a server that another fault may have taken down for a moment."""
    deadline = time.monotonic() + REACHABLE_WITHIN_S
    while True:
        try:
            return connect()
        except (pymysql.MySQLError, OSError) as error:
            if time.monotonic() > deadline:
                raise CannotStrikeError(f"MariaDB does not answer: {error}") from error
            time.sleep(0.2)


def _kill_ours(connection: Connection) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT id FROM information_schema.processlist WHERE user = 'holdfast'")
        for (number,) in cursor.fetchall():
            with suppress(pymysql.MySQLError):
                cursor.execute(f"KILL {number}")


def _set_global(site: Site, name: str, value: int, before: int) -> Heal:
    def change(to: int) -> None:
        with administrator(site) as connection, connection.cursor() as cursor:
            cursor.execute(f"SET GLOBAL {name} = {to}")

    change(value)
    return lambda: change(before)


def _hold(connect: Callable[[], Connection], *statements: str) -> Heal:
    """Run the statements in a session and keep it open until the healing."""
    connection = reach(connect)
    try:
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)
    except (pymysql.MySQLError, OSError) as error:
        _close(connection)
        raise CannotStrikeError(f"MariaDB lets nobody lock anything just now: {error}") from error
    return lambda: _close(connection)


def _meanwhile(site: Site, once: Callable[[Any, int], None]) -> Heal:
    """Run transactions that are rolled back, one after the other in a thread, until the healing."""
    done = threading.Event()

    def work() -> None:
        i = 0
        while not done.is_set():
            with suppress(pymysql.MySQLError, OSError, CannotStrikeError):
                connection = customer(site)
                with connection.cursor() as cursor:
                    cursor.execute("BEGIN")
                    once(cursor, i)
                _close(connection)
            i += 1
            done.wait(0.05)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return lambda: _nothing(done.set(), thread.join(60))


def _close(connection: Connection) -> None:
    with suppress(pymysql.MySQLError, OSError):
        connection.close()


def _nothing(*_: object) -> None:
    """Take what was done as done."""
