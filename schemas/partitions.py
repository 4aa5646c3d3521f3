"""Which partition a key belongs to: Kafka's murmur2, as Java's and aiokafka's producers use it.

librdkafka's default partitioner is another one; with that, one product would live on two partitions and be sold
twice. Every producer of ours either names the partition by this function or sets `partitioner=murmur2_random`.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from functools import lru_cache
from typing import Final

_M: Final = 0x5BD1E995
_MASK: Final = 0xFFFFFFFF
_SEED: Final = 0x9747B28C


def murmur2(data: bytes) -> int:
    """Return Kafka's 32-bit murmur2 hash of `data`, unsigned."""
    length = len(data)
    h = _SEED ^ length
    # Hot: an order ID is hashed per line, so no slicing and no masking that does not change the low 32 bits.
    for word in _WORDS[length >> 2](data):
        k = word * _M & _MASK
        h = h * _M & _MASK ^ (k ^ k >> 24) * _M & _MASK
    if length & 3:
        h = (h ^ int.from_bytes(data[length & ~3 :], "little")) * _M & _MASK
    h = (h ^ h >> 13) * _M & _MASK
    return h ^ h >> 15


class _Words(dict[int, Callable[[bytes], tuple[int, ...]]]):
    """Functions that read the first n little-endian 32-bit words of some bytes, by n."""

    def __missing__(self, words: int) -> Callable[[bytes], tuple[int, ...]]:
        self[words] = struct.Struct(f"<{words}I").unpack_from
        return self[words]


_WORDS: Final = _Words()


def partition_of(key: bytes, partitions: int) -> int:
    """Return the partition, 0..partitions-1, of a record with this key."""
    return (murmur2(key) & 0x7FFFFFFF) % partitions


@lru_cache(maxsize=65_536)
def product_partition(product_id: str, partitions: int) -> int:
    """Return the partition that holds a product's stock."""
    return partition_of(product_id.encode(), partitions)


@lru_cache(maxsize=65_536)
def order_partition(order_id: int, partitions: int) -> int:
    """Return the partition that holds an order; its key is the ID in decimal."""
    return partition_of(b"%d" % order_id, partitions)
