"""Kafka's murmur2 and the partition of a key: the audit's own, after Apache Kafka's `Utils.murmur2` and `Utils.toPositive`."""

from __future__ import annotations

import struct
from functools import lru_cache
from typing import Final

SEED: Final = 0x9747B28C
MULTIPLIER: Final = 0x5BD1E995
WORD: Final = 2**32 - 1
"""Masks 32 bits: twice as fast as a remainder."""


def murmur2(data: bytes) -> int:
    """Return the hash of `data` as 0..2**32-1."""
    words, tail = divmod(len(data), 4)
    mixed = (SEED ^ len(data)) & WORD
    for word in struct.unpack_from(f"<{words}I", data):
        word = word * MULTIPLIER & WORD  # noqa: PLW2901 - the algorithm's own name for its own value
        word = (word ^ word >> 24) * MULTIPLIER & WORD  # noqa: PLW2901
        mixed = mixed * MULTIPLIER & WORD ^ word
    if tail:
        mixed = (mixed ^ int.from_bytes(data[-tail:], "little")) * MULTIPLIER & WORD
    mixed = (mixed ^ mixed >> 13) * MULTIPLIER & WORD
    return mixed ^ mixed >> 15


@lru_cache(maxsize=2**17)
def product_partition(product_id: str, partitions: int) -> int:
    """Return the partition that holds a product."""
    return murmur2(product_id.encode()) % 2**31 % partitions


@lru_cache(maxsize=2**15)
def order_partition(order_id: int, partitions: int) -> int:
    """Return the partition that holds an order: its key is the ID in decimal."""
    return murmur2(b"%d" % order_id) % 2**31 % partitions
