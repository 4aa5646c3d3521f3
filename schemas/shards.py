"""Which database holds an order line: `order_lines` may be spread over several by product ID (HOLDFAST_MYSQL_SHARDS)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from schemas.partitions import murmur2

VARIABLE: Final = "HOLDFAST_MYSQL_SHARDS"


@lru_cache(maxsize=65_536)
def shard_of(product_id: str, shards: int) -> int:
    """Return the shard, 0..shards-1, that holds a product's order lines: Kafka's murmur2 of the ID in UTF-8."""
    return (murmur2(product_id.encode()) & 0x7FFFFFFF) % shards


def shard_urls(text: str) -> tuple[str, ...]:
    """Return the databases of the variable's text, in the order that numbers them; none: lines are in the one database of HOLDFAST_MYSQL.

    Commas stand between them (in a password: %2C). Raises ValueError, without the text, which may hold passwords.
    """
    urls = tuple(url.strip() for url in text.split(",")) if text.strip() else ()
    if not all(url.startswith("mysql://") for url in urls):
        raise ValueError(f"{VARIABLE} must be URLs like mysql://user:password@host:port/database, with commas between")
    if len(set(urls)) != len(urls):
        raise ValueError(f"{VARIABLE} names a database twice")
    return urls


def shard_sink(number: int, shards: int) -> str:
    """Return the name under which a shard's own positions are in its `sink_positions`. Another number of shards is another name: it starts at 0."""
    return f"lines-{number}of{shards}"
