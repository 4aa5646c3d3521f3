"""Reads an Online Retail CSV file (plain, .gz or .xz, told apart by their first bytes) row by row, each with its bytes."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import lzma
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

from ingest.errors import FileError

COLUMNS: Final = ("InvoiceNo", "StockCode", "Description", "Quantity", "InvoiceDate", "UnitPrice", "CustomerID", "Country")
MAX_ROW_LINES: Final = 20
"""Lines that one row's quoted fields may run over; beyond that the quote is taken for a mistake in the first line."""
_XZ = b"\xfd7zXZ\x00"
_GZIP = b"\x1f\x8b"
_BOM = b"\xef\xbb\xbf"


class Row(NamedTuple):
    """One row: its number (1 is the first after the header), its bytes in the file, its fields ([] where they are no CSV)."""

    number: int
    raw: bytes
    fields: list[str]


class RetailFile:
    """A file that can be read more than once. `digest` and `read` (share of the file behind us) are of the latest reading."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.digest = ""
        self._bytes = 0
        self._position: Callable[[], int] = lambda: 0

    @property
    def name(self) -> str:
        """The file's name without its folder."""
        return self.path.name

    def progress(self) -> tuple[int, int]:
        """Return how many bytes of how many (both as stored, compressed or not) have been read."""
        return self._position(), self._bytes

    def rows(self) -> Iterator[Row]:
        """Yield every row but empty lines; raises FileError, also in mid-file where the compressed data end too soon."""
        try:
            with self.path.open("rb") as stored:
                self._bytes, self._position = self.path.stat().st_size, _teller(stored)
                yield from self._rows(plain(stored))
        except (EOFError, lzma.LZMAError, gzip.BadGzipFile, zlib.error) as error:
            raise FileError(f"{self.path}: the compressed data are cut short or damaged ({error}): get the file again") from error
        except OSError as error:
            raise FileError(f"{self.path}: {error.strerror or error}") from error

    def _rows(self, plain: BinaryIO) -> Iterator[Row]:
        digest = hashlib.sha256()
        lines = _Lines(plain, digest.update)
        _check_header(self.path, next(iter(lines), b""))
        number = 0
        for line in lines:
            fields = line.decode("utf-8", "surrogateescape").rstrip("\r\n").split(",") if b'"' not in line else None
            if fields == [""]:
                continue
            number += 1
            yield Row(number, line, fields) if fields else _quoted(number, line, lines)
        self.digest = digest.hexdigest()


class _Lines:
    """Lines of a file, of which some may be given back; `read` hears of each once."""

    def __init__(self, lines: BinaryIO, read: Callable[[bytes], None]) -> None:
        self._lines = lines
        self._read = read
        self._back: list[bytes] = []

    def __iter__(self) -> Iterator[bytes]:
        while True:
            while self._back:
                yield self._back.pop()
            line = next(self._lines, None)
            if line is None:
                return
            self._read(line)
            yield line

    def give_back(self, lines: list[bytes]) -> None:
        self._back.extend(reversed(lines))


def plain(stored: BinaryIO) -> BinaryIO:
    """Return what is in a file, unpacked where it is .xz or .gz by its first bytes."""
    magic = stored.read(len(_XZ))
    stored.seek(0)
    if magic == _XZ:
        return _buffered(lzma.open(stored))
    return _buffered(gzip.open(stored)) if magic.startswith(_GZIP) else stored


def _buffered(unpacked: Any) -> BinaryIO:
    """Their own reading line by line is Python's and takes a microsecond each."""
    return io.BufferedReader(unpacked, 1 << 18)


def _teller(stored: BinaryIO) -> Callable[[], int]:
    return lambda: 0 if stored.closed else stored.tell()


def _check_header(path: Path, line: bytes) -> None:
    header = line.removeprefix(_BOM).decode("utf-8", "replace").strip()
    if tuple(name.strip().strip('"') for name in header.split(",")) != COLUMNS:
        shown = repr(header[:100]) if header else "empty"
        raise FileError(f"{path}: the first line is {shown}, not the header of an Online Retail CSV file: {','.join(COLUMNS)}")


def _quoted(number: int, first: bytes, lines: _Lines) -> Row:
    """Read a row with quotes, which may run over several lines; an unclosed quote spoils the first line alone."""
    taken, fields = [first], _parse(first)
    following = iter(lines)
    while fields is None and len(taken) < MAX_ROW_LINES:
        line = next(following, None)
        if line is None:
            break
        taken.append(line)
        fields = _parse(b"".join(taken))
    if len(taken) == 1 or (fields and len(fields) == len(COLUMNS)):
        return Row(number, b"".join(taken), fields or [])
    lines.give_back(taken[1:])
    return Row(number, first, [])


def _parse(raw: bytes) -> list[str] | None:
    """Return the fields of one row, [] where they are no CSV, None where a quote is still open at the end."""
    text = raw.decode("utf-8", "surrogateescape").rstrip("\r\n")
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as error:
        return None if "unexpected end" in str(error) else []
    return rows[0] if len(rows) == 1 else []
