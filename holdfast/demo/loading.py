"""The file goes into the log, under the source it was first loaded as."""

import json
import threading
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pymysql

from holdfast.stack.addresses import Endpoints, MysqlAddress
from holdfast.stack.errors import StackError
from ingest.backfill import DEFAULT_SOURCE, Report, Wish, load
from ingest.config import IngestConfig
from ingest.errors import IngestError
from ingest.retail_file import RetailFile
from schemas.secure import mysql_settings
from schemas.views import LOADS, ORDER_BINDINGS

PHASES = {
    "reading": "reading the file",
    "opening": "waiting for the opening stock",
    "sending": "sending rows",
    "settling": "waiting for the orders to be decided and shipped",
}


class LoadingError(StackError):
    """The file cannot be loaded; the text says why."""


class Phase:
    """How far the load is; written by its thread, read by another."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._text = "looking at the file"

    def __call__(self, phase: str, done: int, total: int) -> None:
        """Hear of progress."""
        with self._lock:
            self._text = f"{PHASES[phase]}: {100 * done // max(total, 1)} %"

    def __str__(self) -> str:
        with self._lock:
            return self._text


def loader(at: Endpoints, prefix: str, path: Path, share: Decimal | None, phase: Phase) -> Callable[[], Report]:
    """Return a call that loads the file, or what is left of it; it raises LoadingError."""

    def run() -> Report:
        try:
            wish = Wish(path, source_of(at.mysql, path), share)
            return load(lambda: IngestConfig(at.kafka, at.mysql, prefix), wish, phase)
        except IngestError as error:
            raise LoadingError(str(error)) from error

    return run


def source_of(mysql_url: str, path: Path) -> str:
    """Return the name to load a file under: the loader's own unless another file has it, then one made of the file's digest.

    So a file that `holdfast load` or an earlier demo has loaded is the same load again, and another one has orders of its own.
    """
    before = _digest_loaded(mysql_url)
    if before is None:
        return DEFAULT_SOURCE
    digest = digest_of(path)
    return DEFAULT_SOURCE if digest == before else f"file-{digest[:16]}"


def digest_of(path: Path) -> str:
    """Return the digest by which the loader knows a file; raises FileError."""
    file = RetailFile(path)
    for _ in file.rows():
        pass
    return file.digest


def order_ids(mysql_url: str, source: str) -> list[int]:
    """Return the order IDs bound to the invoices of a source; those of credit notes without an order are among them."""
    with _connect(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT order_id FROM {ORDER_BINDINGS} WHERE source = %s", (source,))  # noqa: S608
        return [order_id for (order_id,) in cursor.fetchall()]


def _digest_loaded(mysql_url: str) -> str | None:
    with _connect(mysql_url) as connection, connection.cursor() as cursor:
        cursor.execute(f"SELECT progress FROM {LOADS} WHERE source = %s", (DEFAULT_SOURCE,))  # noqa: S608
        row = cursor.fetchone()
    return str(json.loads(row[0])["digest"]) if row else None


def _connect(mysql_url: str) -> "pymysql.connections.Connection[pymysql.cursors.Cursor]":
    at = MysqlAddress.parse(mysql_url)
    return pymysql.connect(host=at.host, port=at.port, user=at.user, password=at.password, database=at.database, **mysql_settings())
