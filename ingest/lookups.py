"""Look-ups of an order and of a product's stock: Redis first, MySQL when Redis does not have it or does not answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ingest.errors import ConfigError, InvalidRequestError, StoreError
from ingest.reads.fields import LINE_FIELDS, ORDER_FIELDS, PRODUCT_FIELDS, Fields, order_of_values, stock_of_values
from ingest.reads.tables import Tables
from schemas import views
from schemas.outcomes import MAX_ID_LENGTH, MAX_ORDER_ID, Refusal

__all__ = ["LINE_FIELDS", "Found", "Lookups", "parse_order_id", "parse_product_id"]

Store: TypeAlias = Literal["redis", "mysql"]

REDIS_TIMEOUT_S: Final = 2.0
MYSQL_TIMEOUT_S: Final = 10.0


@dataclass(frozen=True)
class Found:
    """What a store holds, and which one. IDs are strings, counts ints, money ints in minor units, times ms since 1970 UTC."""

    store: Store
    fields: Fields


class Lookups:
    """Answers from what the sinks wrote: a moment behind the log, the same fields whichever store answers.

    `shards` as in HOLDFAST_MYSQL_SHARDS. Connections are opened when first needed and again after an error. Not for several threads at once.
    """

    def __init__(self, redis_url: str, mysql_url: str, shards: str = "") -> None:
        self.tables = Tables(mysql_url, shards, MYSQL_TIMEOUT_S)
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
        return self._found(views.order_key(order_id), ORDER_FIELDS, order_of_values, lambda: self.tables.orders([order_id]).get(order_id))

    def stock(self, product_id: str) -> Found | None:
        """Return a product's stock: views.PRODUCT_COLUMNS; None for one that never had any. Raises StoreError like order()."""
        return self._found(views.stock_key(product_id), PRODUCT_FIELDS, stock_of_values, lambda: self.tables.products([product_id]).get(product_id))

    def close(self) -> None:
        """Let go of the connections."""
        self._redis.close()
        self.tables.close()

    def _found(
        self, key: str, names: Sequence[str], of_values: Callable[[Sequence[str | None]], Fields | None], in_mysql: Callable[[], Fields | None]
    ) -> Found | None:
        fields, why_not_redis = None, ""
        try:
            held: Any = self._redis.hmget(key, names)
            fields = of_values(held)
        except (redis.RedisError, OSError) as error:
            why_not_redis = str(error) or type(error).__name__
        if fields is not None:
            return Found("redis", fields)
        try:
            fields = in_mysql()
        except StoreError as error:
            raise StoreError(f"{error}; and Redis: {why_not_redis or 'does not have it'}") from error
        return None if fields is None else Found("mysql", fields)


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
