"""Reads every row of MySQL and every hash of Redis."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import pymysql
import redis
from pymysql.cursors import SSCursor

from holdfast.audit.errors import CannotCheckError
from holdfast.audit.progress import Progress
from holdfast.audit.stores import HASHES, POSITIONS, READ, Stores
from schemas import views
from schemas.secure import mysql_settings
from schemas.views import TIME_COLUMNS

ROWS: Final = 5_000
KEYS: Final = 1_000
TIMEOUT_S: Final = 10


def read_stores(mysql_url: str, redis_url: str, progress: Progress, shards: Sequence[str] = ()) -> Stores:
    """Read both stores, each database in one snapshot; `shards` as in HOLDFAST_MYSQL_SHARDS. Raises CannotCheckError."""
    stores = Stores(shards=len(shards))
    lines = {table: READ[table] for table in (views.ORDER_LINES, views.SINK_POSITIONS)}
    rest = {table: columns for table, columns in READ.items() if table != views.ORDER_LINES}
    wanted: list[tuple[str, Mapping[str, Sequence[str]], int | None]] = [(mysql_url, rest if shards else READ, None)]
    wanted += [(url, lines, number) for number, url in enumerate(shards)]
    for url, tables, shard in wanted:
        try:
            _read_mysql(url, tables, shard, stores, progress)
        except pymysql.MySQLError as error:
            raise CannotCheckError(f"MySQL at {_shown(url)} cannot be read: {error}; does it run, and did `holdfast migrate` make its tables?") from error
    try:
        _read_redis(redis_url, stores, progress)
    except redis.RedisError as error:
        raise CannotCheckError(f"Redis at {_shown(redis_url)} cannot be read: {error}") from error
    return stores


def _shown(url: str) -> str:
    """A URL without its password."""
    parts = urlsplit(url)
    return f"{parts.hostname}:{parts.port}{parts.path}"


def _connect(url: str) -> pymysql.Connection[SSCursor]:
    parts = urlsplit(url)
    if parts.scheme != "mysql" or not parts.hostname:
        raise CannotCheckError("the database's URL must look like mysql://user:password@host:port/database")
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 3306,
        user=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
        database=unquote(parts.path.strip("/")),
        charset="utf8mb4",
        connect_timeout=TIMEOUT_S,
        cursorclass=SSCursor,
        **mysql_settings(),
    )


def _read_mysql(url: str, tables: Mapping[str, Sequence[str]], shard: int | None, stores: Stores, progress: Progress) -> None:
    with _connect(url) as connection, connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        cursor.execute("START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY")
        for table, columns in tables.items():
            cursor.execute(_select(table, columns))
            while rows := cursor.fetchmany(ROWS):
                stores.add_rows(table, rows, shard)
                progress(f"reading MySQL {table}", cursor.rownumber or 0, 0)


def _select(table: str, columns: Sequence[str]) -> str:
    wanted = (f"TIMESTAMPDIFF(MICROSECOND, '1970-01-01', {name}) DIV 1000" if name in TIME_COLUMNS else name for name in columns)
    return f"SELECT {', '.join(wanted)} FROM {table}"  # noqa: S608 (names of schemas/views.py)


def _read_redis(url: str, stores: Stores, progress: Progress) -> None:
    try:
        client = redis.Redis.from_url(url, decode_responses=True, encoding_errors="replace", socket_timeout=TIMEOUT_S * 3, socket_connect_timeout=TIMEOUT_S)
    except ValueError as error:
        raise CannotCheckError("Redis's URL must look like redis://host:port/0") from error
    with client:
        for kind in HASHES:
            seen: set[str] = set()
            for keys in _chunks(client.scan_iter(f"{kind}:*", count=KEYS)):
                fresh = [key for key in dict.fromkeys(keys) if key not in seen]  # a scan may name a key twice
                seen.update(fresh)
                _read_hashes(client, fresh, stores)
                progress(f"reading Redis {kind}", len(seen), 0)
        for key in client.scan_iter(f"{POSITIONS}*", count=KEYS):
            stores.add_position(key, _text(client, key))


def _text(client: redis.Redis, key: str) -> str | None:
    try:
        value: Any = client.get(key)
    except redis.ResponseError:
        return None
    return str(value)


def _chunks(keys: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(keys)
    while some := list(islice(remaining, KEYS)):
        yield some


def _read_hashes(client: redis.Redis, keys: Sequence[str], stores: Stores) -> None:
    with client.pipeline(transaction=False) as pipeline:
        for key in keys:
            pipeline.hgetall(key)
        answers: list[Any] = pipeline.execute(raise_on_error=False)
    for key, answer in zip(keys, answers, strict=True):
        if isinstance(answer, redis.ResponseError):
            stores.add_hash(key, None)
        elif isinstance(answer, Exception):
            raise answer
        elif answer:  # an empty hash is one that was deleted since it was scanned
            stores.add_hash(key, answer)
