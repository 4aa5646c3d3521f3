"""The same rows from a CSV file, packed or not, an Avro and a Parquet file; and files that are none."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
from itertools import islice
from pathlib import Path
from typing import Any

import fastavro
import pyarrow
import pytest
from pyarrow import parquet

from ingest.errors import ConfigError, FileError
from ingest.history.mapping import Map, read_map
from ingest.history.orders import Counts, Orders, imported
from ingest.history.sources import open_source
from streams.domain import order as saga
from tests.ingest.history.maps import COLUMNS, MAP, history

ROWS = history(100)


@pytest.fixture
def mapped(tmp_path: Path) -> Map:
    (tmp_path / "map.toml").write_text(MAP)
    return read_map(tmp_path / "map.toml", decided=True)


def csv_bytes(rows: list[dict[str, Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS)
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def _avro(path: Path) -> None:
    schema = {"type": "record", "name": "Row", "fields": [{"name": name, "type": "string"} for name in COLUMNS]}
    with path.open("wb") as out:
        fastavro.writer(out, fastavro.parse_schema(schema), ROWS)


WRITERS: dict[str, Any] = {
    "csv": lambda path: path.write_bytes(csv_bytes(ROWS)),
    "csv with a byte-order mark": lambda path: path.write_bytes(b"\xef\xbb\xbf" + csv_bytes(ROWS)),
    "csv.gz": lambda path: path.write_bytes(gzip.compress(csv_bytes(ROWS))),
    "csv.xz": lambda path: path.write_bytes(lzma.compress(csv_bytes(ROWS))),
    "avro": _avro,
    "parquet": lambda path: parquet.write_table(pyarrow.Table.from_pylist(ROWS), path),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_every_source_gives_the_same_rows(write: Any, tmp_path: Path, mapped: Map) -> None:
    write(tmp_path / "orders")
    source = open_source(str(tmp_path / "orders"), mapped)
    assert list(source.rows()) == ROWS
    assert list(source.rows()) == ROWS, "it can be read again"
    done, total = source.progress()
    assert done == total > 0


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_file_that_is_cut_short_is_no_shorter_history(write: Any, tmp_path: Path, mapped: Map) -> None:
    """Text alone can be cut where nobody sees it."""
    path = tmp_path / "orders"
    write(path)
    path.write_bytes(path.read_bytes()[:-20])
    if path.read_bytes()[:3] in {b"ord", b"\xef\xbb\xbf"}:
        return
    with pytest.raises(FileError, match="orders"):
        list(open_source(str(path), mapped).rows())


def test_a_column_that_is_not_there_is_told(tmp_path: Path, mapped: Map) -> None:
    (tmp_path / "orders").write_bytes(csv_bytes(ROWS).replace(b"sku,", b"code,", 1))
    with pytest.raises(FileError, match="no column sku; it has order, customer"):
        list(open_source(str(tmp_path / "orders"), mapped).rows())


def test_what_cannot_be_opened_is_told(tmp_path: Path, mapped: Map, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileError, match="No such file"):
        open_source(str(tmp_path / "nothing"), mapped)
    with pytest.raises(ConfigError, match="OLD_SHOP is not set"):
        open_source("env:OLD_SHOP", mapped)
    monkeypatch.setenv("OLD_SHOP", "mysql://u:secret@127.0.0.1/shop")
    with pytest.raises(ConfigError, match=r"no .mysql. query"):
        open_source("env:OLD_SHOP", mapped)
    with pytest.raises(ConfigError, match="no argument") as error:
        open_source("mysql://u:secret@127.0.0.1/shop", mapped)
    assert "secret" not in str(error.value)


def test_the_map_in_data_takes_the_sample() -> None:
    data = Path(__file__).parents[3] / "data"
    mapped, counts = read_map(data / "online-retail.map.toml", decided=True), Counts()
    rows = islice(open_source(str(data / "online-retail-sample.csv.xz"), mapped).rows(), 5_000)
    orders = [piece.order for piece in Orders(mapped, counts, decided=True).pieces(rows) if piece.order]
    assert counts.rows == 5_000
    assert counts.lines > 4_900
    assert orders[0].header.external_id == "536365"
    assert all(saga.check_import(saga.import_of(imported(order, 7, "s", 5, "backfill"))) is None for order in orders)
