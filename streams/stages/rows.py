"""Rows by key. Those recovered from a changelog stay bytes until they are first touched: a million open in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Rows(dict[K, V], Generic[K, V]):
    """A dict of the rows touched so far; `find` brings in one that was recovered."""

    def __init__(self, key_bytes: Callable[[K], bytes], key_of: Callable[[bytes], K], decode: Callable[[bytes], V]) -> None:
        super().__init__()
        self._key_bytes = key_bytes
        self._key_of = key_of
        self._decode = decode
        self._cold: dict[bytes, bytes] = {}

    def recover(self, rows: dict[bytes, bytes]) -> None:
        """Take a changelog's rows (key bytes -> last value) as they are."""
        self._cold = rows

    def find(self, key: K) -> V | None:
        """Return the row, decoding it if this is the first touch since recovery; None where there is none."""
        row = self.get(key)
        if row is None and self._cold:
            value = self._cold.pop(self._key_bytes(key), None)
            if value is not None:
                row = self[key] = self._decode(value)
        return row

    def keys_all(self) -> Iterator[K]:
        """Yield every key, touched or not."""
        yield from self
        yield from map(self._key_of, self._cold)

    def count_all(self) -> int:
        """Return how many rows there are, touched or not."""
        return len(self) + len(self._cold)
