"""Look-ups of an order and of a product's stock: Redis first, MySQL when Redis does not have it or does not answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, TypeAlias

import msgspec
import pymysql
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest.config import connect, reason
from ingest.errors import ConfigError, InvalidRequestError, StoreError
from schemas import views
from schemas.outcomes import MAX_ID_LENGTH, MAX_ORDER_ID, Refusal

Fields: TypeAlias = dict[str, Any]
Store: TypeAlias = Literal["redis", "mysql"]

REDIS_TIMEOUT_S: Final = 2.0
LINE_FIELDS: Final = ("line", "product_id", "quantity", "unit_price", "status", "refusal", "returned")
TEXT_FIELDS: Final = frozenset({"product_id", "user_id", "status", "refusal", "currency"})
FLAG_FIELDS: Final = frozenset({"tracked", "frozen"})
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)

_STOCK = f"SELECT {', '.join(views.PRODUCT_COLUMNS)} FROM {views.PRODUCTS} WHERE product_id = %s"  # noqa: S608 (names of schemas/views.py)
_ORDER = f"SELECT {', '.join(views.ORDER_COLUMNS)} FROM {views.ORDERS} WHERE order_id = %s"  # noqa: S608
_LINES = f"SELECT {', '.join(LINE_FIELDS)} FROM {views.ORDER_LINES} WHERE order_id = %s ORDER BY line"  # noqa: S608


@dataclass(frozen=True)
class Found:
    """What a store holds, and which one. IDs are strings, counts ints, money ints in minor units, times ms since 1970 UTC."""

    store: Store
    fields: Fields


class Lookups:
    """Answers from what the sinks wrote: a moment behind the log, the same fields whichever store answers.

    Connections are opened when first needed and again after an error. Not for several threads at once.
    """

    def __init__(self, redis_url: str, mysql_url: str) -> None:
        self._mysql_url = mysql_url
        self._mysql: pymysql.connections.Connection[pymysql.cursors.Cursor] | None = None
        try:
            self._redis = redis.Redis.from_url(
                redis_url, socket_timeout=REDIS_TIMEOUT_S, socket_connect_timeout=REDIS_TIMEOUT_S, retry=Retry(NoBackoff(), 0), decode_responses=True
            )
        except ValueError as error:
            raise ConfigError(f"HOLDFAST_REDIS must look like redis://host:port/0: {error}") from None

    def order(self, order_id: int) -> Found | None:
        """Return an order: views.ORDER_COLUMNS and `lines`, each with LINE_FIELDS; None if it is unknown, or not decided yet.

        Raises StoreError when Redis does not have it and MySQL does not answer.
        """
        return self._found(views.order_key(order_id), order_of_hash, lambda: self._order_in_mysql(order_id))

    def stock(self, product_id: str) -> Found | None:
        """Return a product's stock: views.PRODUCT_COLUMNS; None for one that never had any. Raises StoreError like order()."""
        return self._found(views.stock_key(product_id), stock_of_hash, lambda: self._stock_in_mysql(product_id))

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
        self._drop_mysql()

    def _found(self, key: str, of_hash: Callable[[Mapping[str, str]], Fields | None], in_mysql: Callable[[], Fields | None]) -> Found | None:
        fields, why_not_redis = None, ""
        try:
            held: Any = self._redis.hgetall(key)
            fields = of_hash(held)
        except (redis.RedisError, OSError) as error:
            why_not_redis = str(error) or type(error).__name__
        if fields is not None:
            return Found("redis", fields)
        try:
            fields = in_mysql()
        except StoreError as error:
            raise StoreError(f"{error}; and Redis: {why_not_redis or 'does not have it'}") from error
        return None if fields is None else Found("mysql", fields)

    def _stock_in_mysql(self, product_id: str) -> Fields | None:
        rows = self._select((_STOCK, product_id))[0]
        return fields_of_row(views.PRODUCT_COLUMNS, rows[0]) if rows else None

    def _order_in_mysql(self, order_id: int) -> Fields | None:
        orders, lines = self._select((_ORDER, order_id), (_LINES, order_id))
        if not orders:
            return None
        return fields_of_row(views.ORDER_COLUMNS, orders[0]) | {"lines": [fields_of_row(LINE_FIELDS, line) for line in lines]}

    def _select(self, *queries: tuple[str, int | str]) -> list[Sequence[Sequence[Any]]]:
        """Run the queries in one transaction, so that an order and its lines are of the same version."""
        fresh = self._mysql is None
        try:
            return self._select_once(queries)
        except pymysql.MySQLError as error:
            self._drop_mysql()
            if fresh:
                raise StoreError(f"MySQL does not answer: {reason(error)}") from error
        # A connection that lay idle may be dead without being at fault: once more on a new one.
        return self._select(*queries)

    def _select_once(self, queries: Iterable[tuple[str, int | str]]) -> list[Sequence[Sequence[Any]]]:
        connection = self._mysql = self._mysql or connect(self._mysql_url)
        with connection.cursor() as cursor:
            answers: list[Sequence[Sequence[Any]]] = []
            for query, key in queries:
                cursor.execute(query, (key,))
                answers.append(cursor.fetchall())
        connection.rollback()
        return answers

    def _drop_mysql(self) -> None:
        connection, self._mysql = self._mysql, None
        if connection is not None:
            with suppress(pymysql.MySQLError, OSError):
                connection.close()


def parse_order_id(text: str) -> int:
    """Return the order ID that a person or program gave as text; raises InvalidRequestError."""
    # By length first: Python refuses to turn thousands of digits into an int.
    if text.isascii() and text.isdigit() and len(text) <= len(str(MAX_ORDER_ID)) and 1 <= int(text) <= MAX_ORDER_ID:
        return int(text)
    raise InvalidRequestError("order_id", text, f"an order ID is a whole number from 1 to {MAX_ORDER_ID}", Refusal.INVALID_ORDER_ID)


def parse_product_id(text: str) -> str:
    """Return the product ID if it can be one; raises InvalidRequestError."""
    # Bytes of a command line that are no UTF-8 come as lone surrogates, which no product ID can hold.
    if 1 <= len(text) <= MAX_ID_LENGTH and not any(c == "\0" or "\ud800" <= c <= "\udfff" for c in text):
        return text
    raise InvalidRequestError("product_id", text, f"a product ID has 1 to {MAX_ID_LENGTH} characters of UTF-8, none of them zero", Refusal.INVALID_PRODUCT)


def stock_of_hash(held: Mapping[str, str]) -> Fields | None:
    """Return a product's fields from its Redis hash; None if the hash is not there or lacks some, so that MySQL is asked."""
    if not held.keys() >= set(views.PRODUCT_COLUMNS):
        return None
    return {name: _value(name, held[name]) for name in views.PRODUCT_COLUMNS}


def order_of_hash(held: Mapping[str, str]) -> Fields | None:
    """Return an order's fields, its lines among them, from its Redis hash; None like stock_of_hash."""
    if not held.keys() >= {*views.ORDER_COLUMNS, "lines"}:
        return None
    return {name: _value(name, held[name]) for name in views.ORDER_COLUMNS} | {"lines": msgspec.json.decode(held["lines"])}


def fields_of_row(names: Sequence[str], row: Sequence[Any]) -> Fields:
    """Return a MySQL row's fields by name."""
    return {name: _value(name, value) for name, value in zip(names, row, strict=True)}


def _value(name: str, stored: str | int | datetime) -> int | str | bool:
    """One field in the one form that both stores' answers have."""
    if name == "order_id" or name in TEXT_FIELDS:
        return str(stored)
    if isinstance(stored, datetime):
        return (stored.replace(tzinfo=UTC) - _EPOCH) // _MS
    return bool(int(stored)) if name in FLAG_FIELDS else int(stored)
