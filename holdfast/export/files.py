"""CSV and Parquet files that appear under their name once they are whole."""

from __future__ import annotations

import csv
import glob
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from holdfast.export.table import TEXTS, TIMES
from holdfast.stack.errors import StackError
from holdfast.times import shown


class ExportError(StackError):
    """A file that cannot be written; the text says why."""


class Rows(Protocol):
    """Takes rows, values in the order of the columns; times in ms."""

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None: ...

    def close(self) -> None: ...


class CsvRows:
    """A header, then a line for each row; times are RFC 3339, nothing is empty."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        self._out = path.open("w", newline="", encoding="utf-8")
        self._writer = csv.writer(self._out)
        self._writer.writerow(columns)
        self._times = [i for i, name in enumerate(columns) if name in TIMES]

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows."""
        for row in rows:
            values = list(row)
            for i in self._times:
                values[i] = shown(values[i])
            self._writer.writerow(values)

    def close(self) -> None:
        """Write what is left, down to the disk."""
        self._out.flush()
        os.fsync(self._out.fileno())
        self._out.close()


class ParquetRows:
    """Row groups of what each call brings; times are timestamps in ms, UTC."""

    def __init__(self, path: Path, columns: Sequence[str]) -> None:
        try:
            import pyarrow
            from pyarrow import parquet
        except ImportError as error:
            raise ExportError("Parquet needs pyarrow: pip install 'holdfast[parquet]'") from error
        kinds = {"imported": pyarrow.bool_(), **dict.fromkeys(TIMES, pyarrow.timestamp("ms", "UTC")), **dict.fromkeys(TEXTS, pyarrow.string())}
        self._schema = pyarrow.schema([(name, kinds.get(name, pyarrow.int64())) for name in columns])
        self._pyarrow: Any = pyarrow
        self._writer = parquet.ParquetWriter(path, self._schema, compression="zstd")

    def write(self, rows: Sequence[tuple[Any, ...]]) -> None:
        """Write rows as one row group."""
        if rows:
            arrays = [self._pyarrow.array(column, field.type) for column, field in zip(zip(*rows, strict=True), self._schema, strict=True)]
            self._writer.write_batch(self._pyarrow.record_batch(arrays, schema=self._schema))

    def close(self) -> None:
        """Write the footer."""
        self._writer.close()


FORMATS: dict[str, Callable[[Path, Sequence[str]], Rows]] = {"csv": CsvRows, "parquet": ParquetRows}


def _tidy(path: Path) -> None:
    """Remove what runs that were killed left beside a file; one that is still at work keeps its part."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        pid = left.name.split(".")[-2]
        if pid.isdecimal() and not Path(f"/proc/{pid}").exists() and Path("/proc").exists():
            left.unlink(missing_ok=True)


@contextmanager
def written(path: Path, kind: str, columns: Sequence[str]) -> Iterator[Rows]:
    """Give a file to write rows into; it takes its name when all went well, replacing what was there. Raises ExportError."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        _tidy(path)
        rows = FORMATS[kind](part, columns)
        try:
            yield rows
        finally:
            rows.close()
        part.replace(path)
    except OSError as error:
        raise ExportError(f"{path} cannot be written: {error.strerror or error}") from error
    finally:
        part.unlink(missing_ok=True)
