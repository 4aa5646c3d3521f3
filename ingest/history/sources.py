"""Rows of another system's history: CSV, Avro, Parquet, or a MySQL query. Each is a number, from 1, and its fields."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

import fastavro
import pymysql

from ingest.config import connect, reason
from ingest.errors import ConfigError, FileError, StoreError
from ingest.history.mapping import REST, Map
from ingest.retail_file import plain

ENVIRONMENT: Final = "env:"
_PARQUET_ROWS: Final = 4_000
_PARQUET: Final = b"PAR1"
_AVRO: Final = b"Obj\x01"
Row = Mapping[str, Any]


class Progress(NamedTuple):
    """How far a source is read, of how much: bytes or rows; 0 of 0 where nobody knows."""

    done: int
    total: int


class Source:
    """Rows in the source's own order, from its beginning at each call of `rows`. `name` goes into dead letters."""

    def __init__(self, name: str, rows: Callable[[Source], Iterator[Row]]) -> None:
        self.name = name
        self.progress: Callable[[], Progress] = lambda: Progress(0, 0)
        self._rows = rows

    def rows(self) -> Iterator[Row]:
        """Yield every row; raises FileError or StoreError, also on the way."""
        return self._rows(self)


def open_source(where: str, mapped: Map) -> Source:
    """Return the source that a user named: a file, or `env:NAME` for the database whose URL that variable holds and the map's query."""
    if where.startswith(ENVIRONMENT):
        return _database(where.removeprefix(ENVIRONMENT), mapped)
    if where.startswith("mysql://"):
        raise ConfigError("a URL with a password is no argument, others would see it: put it into a variable and say env:NAME")
    return _file(Path(where), mapped)


def _file(path: Path, mapped: Map) -> Source:
    try:
        with path.open("rb") as stored:
            magic = stored.read(4)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    if magic == _PARQUET:
        return Source(path.name, lambda source: _checked(path, mapped, _parquet_rows(path, source)))
    if magic == _AVRO:
        return Source(path.name, lambda source: _checked(path, mapped, _avro_rows(path, source)))
    return Source(path.name, lambda source: _checked(path, mapped, _csv_rows(path, mapped, source)))


def _checked(path: Path, mapped: Map, rows: Iterator[Row]) -> Iterator[Row]:
    """Check that the first row has every column of the map, and turn what a reader raises into what a person can use."""
    first = True
    try:
        for row in rows:
            missing = sorted(mapped.columns() - row.keys()) if first else []
            if missing:
                raise FileError(f"{path} has no column {missing[0]}; it has {', '.join(map(str, row))}")
            first = False
            yield row
    except (OSError, EOFError, ValueError, KeyError, IndexError, csv.Error) as error:
        raise FileError(f"{path}: cut short, damaged or not what it seems ({error})") from error


def _csv_rows(path: Path, mapped: Map, source: Source) -> Iterator[Row]:
    size = path.stat().st_size
    with path.open("rb") as stored:
        source.progress = lambda: Progress(size if stored.closed else stored.tell(), size)
        text = io.TextIOWrapper(plain(stored), mapped.csv["encoding"], "surrogateescape", newline="")
        for row in csv.DictReader(text, restkey=REST, delimiter=mapped.csv["delimiter"]):
            yield {name.removeprefix("\ufeff"): value for name, value in row.items()}


def _avro_rows(path: Path, source: Source) -> Iterator[Row]:
    size = path.stat().st_size
    with path.open("rb") as stored:
        source.progress = lambda: Progress(size if stored.closed else stored.tell(), size)
        for record in fastavro.reader(stored):
            if not isinstance(record, dict):
                raise FileError(f"{path} holds {type(record).__name__}s, not records")
            yield record


def _parquet_rows(path: Path, source: Source) -> Iterator[Row]:
    try:
        from pyarrow import parquet  # an extra: it is as large as all else together
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'holdfast[parquet]'") from error
    with parquet.ParquetFile(path) as stored:
        total, done = stored.metadata.num_rows, 0
        for batch in stored.iter_batches(_PARQUET_ROWS):
            yield from batch.to_pylist()
            done += batch.num_rows
            source.progress = lambda done=done: Progress(done, total)  # type: ignore[misc]


def _database(variable: str, mapped: Map) -> Source:
    url = os.environ.get(variable, "")
    if not url:
        raise ConfigError(f"{variable} is not set: it must hold mysql://user:password@host:port/database")
    if not mapped.query:
        raise ConfigError('the map has no [mysql] query = "SELECT ... ORDER BY ...": the rows of one order next to each other, in the same order each time')
    return Source(variable, lambda _: _query(url, mapped))


def _query(url: str, mapped: Map) -> Iterator[Row]:
    connection = connect(url)
    try:
        with connection.cursor(pymysql.cursors.SSDictCursor) as cursor:
            cursor.execute("SET SESSION net_write_timeout = 3600")  # a slow backfill lets the server wait
            cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
            cursor.execute(mapped.query)
            missing = sorted(mapped.columns() - {column[0] for column in cursor.description or ()})
            if missing:
                raise ConfigError(f"the query gives no column {missing[0]}")
            yield from cursor
    except pymysql.MySQLError as error:
        raise StoreError(f"the query failed: {reason(error)}") from error
    finally:
        connection.close()
