"""Rows by key. Those recovered from a changelog stay bytes until they are first touched: a million open in seconds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Generic, TypeVar

from schemas import codec
from streams.runtime.records import BrokenRowError

K = TypeVar("K")
V = TypeVar("V")


class Rows(dict[K, V], Generic[K, V]):
    """A dict of the rows touched so far; `find` brings in one that was recovered."""

    def __init__(self, key_bytes: Callable[[K], bytes], key_of: Callable[[bytes], K], decode: Callable[[bytes], V]) -> None:
        super().__init__()
        self._key_bytes = key_bytes
        self._key_of = key_of
        self._decode = decode
        self.cold: dict[bytes, bytes] = {}
        """Rows that are bytes; whoever decides on bytes alone changes them here."""
        self._unchecked: list[bytes] = []
        self._written: dict[K, bytes] = {}

    def recover(self, rows: dict[bytes, bytes]) -> None:
        """Take a changelog's rows (key bytes -> last value) as they are."""
        self.cold = rows
        self._unchecked = list(rows)

    def check_some(self, most: int = 500) -> None:
        """Decode so many rows that nobody has touched yet, to be called when there is nothing else to do. Raises BrokenRowError."""
        for key in self._unchecked[-most:]:
            value = self.cold.get(key)
            if value is not None:
                self._made_of(key, value)
        del self._unchecked[-most:]

    def find(self, key: K) -> V | None:
        """Return the row, decoding it if this is the first touch since recovery; None where there is none. Raises BrokenRowError."""
        row = self.get(key)
        if row is None and self.cold:
            value = self.cold.pop(self._key_bytes(key), None)
            if value is not None:
                row = self[key] = self._made_of(self._key_bytes(key), value)
        return row

    def _made_of(self, key: bytes, value: bytes) -> V:
        try:
            return self._decode(value)
        except Exception as error:  # whatever a row is made of may be wrong, in its bytes or in what they say
            raise BrokenRowError(key, f"{error!r:.300}") from error

    def written(self, key: K, encode: Callable[[V], bytes]) -> bytes | None:
        """Return the row as the changelog is to hold it, None where there is none: to be called whenever it was changed, for `cool` goes by it."""
        row = self.get(key)
        if row is None:
            self._written.pop(key, None)
            return None
        value = self._written[key] = encode(row)
        return value

    def cool(self, keep: int, encode: Callable[[V], bytes]) -> None:
        """Turn the rows first touched longest ago into bytes again where far more than `keep` are not: an object is several times as large."""
        if len(self) > keep + keep // 4:
            for key in list(islice(self, len(self) - keep)):
                row, value = self.pop(key), self._written.pop(key, None)
                self.cold[self._key_bytes(key)] = encode(row) if value is None else value

    def keys_all(self) -> Iterator[K]:
        """Yield every key, touched or not."""
        yield from self
        yield from map(self._key_of, self.cold)

    def count_all(self) -> int:
        """Return how many rows there are, touched or not."""
        return len(self) + len(self.cold)


def second_field(value: bytes) -> int:
    """Return the second field, an int from 0 to 63, of a record whose first is a long: of a row, without decoding it.

    Of a larger int it returns some number over 0, of bytes that end before it 0.
    """
    at = codec.HEADER_BYTES
    try:
        while value[at] & 0x80:
            at += 1
        zigzag = value[at + 1]
    except IndexError:
        return 0
    return zigzag >> 1
