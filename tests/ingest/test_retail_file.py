"""Reading the file: compressed or not, quoted or broken, every byte of it accounted for."""

import gzip
import lzma
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.errors import FileError
from ingest.retail_file import COLUMNS, RetailFile

HEADER = (",".join(COLUMNS) + "\n").encode()
GOOD = b"536365,85123A,HEART,6,2010-12-01T08:26:00,2.55,17850,United Kingdom\n"
FIELDS = ["536365", "85123A", "HEART", "6", "2010-12-01T08:26:00", "2.55", "17850", "United Kingdom"]


def write(folder: Path, body: bytes, name: str = "f.csv") -> RetailFile:
    path = folder / name
    path.write_bytes(body)
    return RetailFile(path)


@pytest.mark.parametrize(("compress", "name"), [(bytes, "f.csv"), (gzip.compress, "f.gz"), (lzma.compress, "f.xz"), (lzma.compress, "misnamed.csv")])
def test_plain_and_compressed_files_read_the_same(tmp_path: Path, compress: Callable[[bytes], bytes], name: str) -> None:
    file = write(tmp_path, compress(HEADER + GOOD * 3), name)
    assert [(r.number, r.raw, r.fields) for r in file.rows()] == [(n, GOOD, FIELDS) for n in (1, 2, 3)]


def test_the_digest_is_of_what_the_file_says_not_of_how_it_is_stored(tmp_path: Path) -> None:
    digests = set()
    for name, compress in (("a", bytes), ("b", gzip.compress), ("c", lzma.compress)):
        file = write(tmp_path, compress(HEADER + GOOD), name)
        list(file.rows())
        digests.add(file.digest)
    changed = write(tmp_path, HEADER + GOOD + GOOD, "d")
    list(changed.rows())
    assert len(digests) == 1
    assert changed.digest not in digests


@pytest.mark.parametrize(
    ("body", "rows"),
    [
        (b'1,a,"x, y",1,d,1,c,k\n', [["1", "a", "x, y", "1", "d", "1", "c", "k"]]),
        (b'1,a,"x ""y""",1,d,1,c,k\r\n', [["1", "a", 'x "y"', "1", "d", "1", "c", "k"]]),
        (b'1,a,9" plate,1,d,1,c,k\n', [["1", "a", '9" plate', "1", "d", "1", "c", "k"]]),
        (b'1,a,"x\ny",1,d,1,c,k\n' + GOOD, [["1", "a", "x\ny", "1", "d", "1", "c", "k"], FIELDS]),
        (b'1,a,"never closed,1,d,1,c,k\n' + GOOD * 2, [[], FIELDS, FIELDS]),
        (b'1,a,"never closed,1,d,1,c,k\n' + GOOD * 40, [[], *[FIELDS] * 40]),
        (b'1,a,"never closed,1,d,1,c,k\n2,b,"closed",1,d,1,c,k\n' + GOOD, [[], ["2", "b", "closed", "1", "d", "1", "c", "k"], FIELDS]),
        ((b'1,a,"never closed,1,d,1,c,k\n' + GOOD * 3) * 3, [[], FIELDS, FIELDS, FIELDS] * 3),
        (b'1,a,"x"y,1,d,1,c,k\n' + GOOD, [[], FIELDS]),
        (b"\n\r\n" + GOOD + b"\n", [FIELDS]),
        (GOOD.rstrip(b"\n"), [FIELDS]),
        (b"caf\xe9,a\n" + GOOD, [["caf\udce9", "a"], FIELDS]),
        (b"\0,\xff\n" + GOOD, [["\0", "\udcff"], FIELDS]),
    ],
)
def test_a_broken_row_leaves_the_rows_around_it_unharmed(tmp_path: Path, body: bytes, rows: list[list[str]]) -> None:
    assert [r.fields for r in write(tmp_path, HEADER + body).rows()] == rows


@given(st.lists(st.binary(max_size=40).filter(lambda b: b"\n" not in b and b.strip(b"\r")), max_size=30))
def test_every_byte_of_every_line_is_in_exactly_one_row(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    body = b"".join(line + b"\n" for line in lines)
    rows = list(write(tmp_path_factory.mktemp("f"), HEADER + body).rows())
    assert b"".join(r.raw for r in rows) == body
    assert [r.number for r in rows] == list(range(1, len(rows) + 1))


def test_a_byte_order_mark_is_no_part_of_the_header(tmp_path: Path) -> None:
    assert len(list(write(tmp_path, b"\xef\xbb\xbf" + HEADER + GOOD).rows())) == 1


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "first line is empty"),
        (b"a,b,c\n1,2,3\n", "'a,b,c', not the header of an Online Retail CSV"),
        (b"\x89PNG\r\n\x1a\n\0\0\0", "not the header"),
        (GOOD, "not the header"),
        (lzma.compress(HEADER + GOOD * 5_000)[:-200], "cut short or damaged"),
        (gzip.compress(HEADER + GOOD * 5_000)[:-20], "cut short or damaged"),
        (b"\x1f\x8bnonsense", "cut short or damaged"),
        (lzma.compress(HEADER + GOOD) + b"more", "cut short or damaged"),
    ],
)
def test_a_file_that_cannot_be_loaded_says_why(tmp_path: Path, body: bytes, text: str) -> None:
    with pytest.raises(FileError, match=text):
        list(write(tmp_path, body).rows())


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    with pytest.raises(FileError, match=r"nowhere\.csv: No such file"):
        list(RetailFile(tmp_path / "nowhere.csv").rows())
    with pytest.raises(FileError, match="Is a directory"):
        list(RetailFile(tmp_path).rows())
